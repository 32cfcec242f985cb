"""What we send, on a server that is not of our making: every point there, after restarts too."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gal_friday.config import InfluxSettings, SpoolSettings
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.timeseries.measurements import Ohlcv
from gal_friday.timeseries.points import Point
from gal_friday.timeseries.writer import TimeSeriesWriter
from tests.victoria import VictoriaMetrics
from tests.waiting import until

START_MS = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1_000
HOSTILE = 'kra"ken, or =x\\y é'


@pytest.fixture
async def victoria(tmp_path: Path) -> AsyncIterator[VictoriaMetrics]:
    async with VictoriaMetrics(tmp_path / "victoria") as server:
        yield server


def settings_of(server: VictoriaMetrics) -> InfluxSettings:
    return InfluxSettings(url=server.url, token="unused", org="any", write_timeout_seconds=2)


def a_point(number: int, exchange: str = "kraken") -> Point:
    fields = {"f": number + 0.25, "i": -number, "t": True}
    return Point("m", {"exchange": exchange}, fields, (START_MS + number) * 1_000_000)


async def test_points_of_every_type_and_with_any_tag_arrive(victoria: VictoriaMetrics) -> None:
    async with TimeSeriesDB(settings_of(victoria)) as db:
        await db.write_points([a_point(1), a_point(2, HOSTILE)])
        price = Decimal("0.00001234")
        candle = Ohlcv(
            "kraken", "XBT/USD", "1m", START_MS * 1_000_000, price, price, price, price, Decimal(7)
        )
        await db.write_market_data(candle)
    assert victoria.points("m") == {
        ("f", "kraken", START_MS + 1): [1.25],
        ("i", "kraken", START_MS + 1): [-1],
        ("t", "kraken", START_MS + 1): [1],
        ("f", HOSTILE, START_MS + 2): [2.25],
        ("i", HOSTILE, START_MS + 2): [-2],
        ("t", HOSTILE, START_MS + 2): [1],
    }
    candles = victoria.points("market_data_ohlcv")
    assert candles["close", "kraken", START_MS] == [float(price)]
    assert candles["volume", "kraken", START_MS] == [7]


async def test_batches_get_there_also_while_the_server_is_stopped_and_started_again(
    victoria: VictoriaMetrics, tmp_path: Path
) -> None:
    spool = SpoolSettings(batch_size=500, patience_seconds=1)
    async with (
        TimeSeriesDB(settings_of(victoria)) as db,
        await TimeSeriesWriter.open(db, tmp_path / "spool", spool) as writer,
    ):
        for number in range(10_000):
            writer.write(a_point(number))
            if number == 3_000:
                await writer.flush()
                victoria.stop()
            if number == 6_000:
                await writer.flush()
                assert writer.stats().pending
                await victoria.start()
            if number % 500 == 0:
                await writer.flush()

        async def is_empty() -> bool:
            return writer.stats().delivered == 10_000

        await until(is_empty, "every point is delivered", seconds=60)
    found = victoria.points("m")
    # The server keeps a point twice that was sent twice, as its answer was lost: the same value each time.
    assert {(at, *set(values)) for (field, _, at), values in found.items() if field == "f"} == {
        (START_MS + number, number + 0.25) for number in range(10_000)
    }
    assert len(found) == 30_000
