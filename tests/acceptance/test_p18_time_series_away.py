"""P18 The time-series server being away never stops or slows the trading path, and loses no point."""

import asyncio
from decimal import Decimal
from pathlib import Path

from gal_friday.config import InfluxSettings, SpoolSettings
from gal_friday.dal.execution import FillResult
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.database import Database
from gal_friday.timeseries.points import Point
from gal_friday.timeseries.writer import TimeSeriesWriter
from tests.factories import a_fill, a_strategy, an_order
from tests.influx.endpoint import InfluxEndpoint
from tests.waiting import until

FILLS = 40


def measured(number: int) -> Point:
    return Point("fills", {"exchange": "kraken"}, {"number": number}, number + 1)


async def trade(database: Database, writer: TimeSeriesWriter) -> None:
    """The trading path: a fill takes effect, and what was measured on the way is handed over."""
    order = await database.orders.add(
        an_order(await database.strategies.add(a_strategy()), quantity=Decimal(FILLS))
    )
    for number in range(FILLS):
        outcome = await database.execution.apply_fill(
            a_fill(order, fill_id=str(number), quantity_filled=Decimal(1))
        )
        assert outcome.result is FillResult.APPLIED
        writer.write(measured(number))


async def test_with_the_server_away_all_fills_apply_and_no_point_is_lost_or_doubled(
    database: Database, tmp_path: Path
) -> None:
    async with InfluxEndpoint() as endpoint:
        server = InfluxSettings(**endpoint.settings)
        await endpoint.stop()
        async with TimeSeriesDB(server) as db:
            async with await TimeSeriesWriter.open(db, tmp_path, SpoolSettings()) as writer:
                await trade(database, writer)
                await writer.flush()
                assert writer.stats().pending == FILLS
                assert endpoint.points == {}
            await endpoint.start()
            async with await TimeSeriesWriter.open(db, tmp_path, SpoolSettings()) as writer:
                await writer.drain()
                assert writer.stats().delivered == FILLS
        assert sorted(at - 1 for _, _, at in endpoint.points) == list(range(FILLS))
        assert set(endpoint.times.values()) == {1}


async def test_the_trading_path_awaits_nothing_of_a_server_that_takes_points_and_never_answers(
    database: Database, tmp_path: Path
) -> None:
    """While it trades, nothing of the store comes to an end; so nothing it does can have waited for that."""
    async with InfluxEndpoint() as endpoint:
        endpoint.fall_silent()
        patient = SpoolSettings(patience_seconds=3_600, batch_size=1)
        server = InfluxSettings(**endpoint.settings, write_timeout_seconds=3_600)
        async with (
            TimeSeriesDB(server) as db,
            await TimeSeriesWriter.open(db, tmp_path, patient) as writer,
        ):

            async def is_asked() -> bool:
                return endpoint.waiting == 1

            writer.write(measured(FILLS))
            await until(is_asked, "the server has a request to answer")
            await trade(database, writer)
            stats = writer.stats()
            assert (stats.buffered, stats.delivered, stats.spooled) == (FILLS + 1, 0, 0)
            assert endpoint.waiting == 1
            endpoint.answer()
            await asyncio.wait_for(writer.drain(), 60)
        assert sorted(at - 1 for _, _, at in endpoint.points) == list(range(FILLS + 1))
