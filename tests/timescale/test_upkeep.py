"""Upkeep leaves it to TimescaleDB to make chunks; what leaves and when follows from the same settings."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import text

from gal_friday.dal.models import Candle
from gal_friday.database import Database
from tests.commands import gal_friday
from tests.factories import EXCHANGE, MINUTE, NOON, PAIR, a_candle, a_market_trade, a_series_point
from tests.timescale.place import MANY, Place

pytestmark = pytest.mark.timescaledb

DAY = timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
LATER = NOON + 200 * DAY
_HOURS = text('SELECT "timestamp", volume, candles FROM market_data_hours ORDER BY 1')


async def trades(bot: Database, *days: int) -> None:
    async with bot.transaction() as uow:
        uow.session.add_all(a_market_trade(traded_at=NOON - day * DAY) for day in days)


async def minutes(bot: Database, count: int, *, first: int = 0) -> None:
    async with bot.transaction() as uow:
        await uow.market_data.store_candles(
            a_candle(timestamp=MIDNIGHT + n * MINUTE, volume=Decimal(1 + n % 3), vwap=Decimal(100 + n))
            for n in range(first, first + count)
        )


async def stored(bot: Database, timeframe: str) -> list[Candle]:
    return list(await bot.market_data.get_latest_candles(EXCHANGE, PAIR, timeframe, limit=10_000))


async def hours(bot: Database) -> list[tuple[object, ...]]:
    async with bot.transaction() as uow:
        return [tuple(row) for row in await uow.session.execute(_HOURS)]


async def test_what_is_a_week_old_is_compressed_once(converted: Place, bot: Database) -> None:
    await trades(bot, 0, 1, 14, 21, 400)
    async with bot.transaction() as uow:
        uow.session.add_all(a_series_point(timestamp=NOON - day * DAY) for day in (0, 100))
    before = converted.contents()
    planned = await converted.upkeep().run(now=NOON, dry_run=True)
    done = await converted.upkeep().run(now=NOON)
    assert len(done.compressed) == 4
    assert (planned.compressed, done.left) == (done.compressed, [])
    assert converted.chunks("market_trades")[:3] == ["0+", "0+", "0+"]
    assert set(converted.chunks("market_trades")[3:]) <= {"1", "2"}
    assert converted.chunks("series_points") == ["0+", "1"]
    assert converted.contents() == before
    again = await converted.upkeep().run(now=NOON)
    assert (again.compressed, again.made, again.dropped) == ([], {}, [])


async def test_no_job_of_timescaledb_does_it_a_second_time(converted: Place) -> None:
    jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL"
    assert converted.sql(jobs) == "0"


async def test_chunks_leave_as_partitions_do(converted: Place, bot: Database) -> None:
    await trades(bot, 0, 31, 400)
    await converted.upkeep().run(now=NOON)
    kept = {"retention_days": {"market_trades": 90}}
    planned = await converted.upkeep(**kept).run(now=NOON, dry_run=True)
    assert len(converted.chunks("market_trades")) == 3
    done = await converted.upkeep(**kept).run(now=NOON)
    assert (planned.dropped, done.left) == (done.dropped, [])
    assert len(done.dropped) == 1
    assert converted.sql("SELECT count(*) FROM market_trades") == "2"
    assert await converted.differences() == []


async def test_what_leaves_may_become_a_table_of_its_own(converted: Place, bot: Database) -> None:
    await trades(bot, 0, 400)
    kept = {"retention_days": {"market_trades": 90}}
    done = await converted.upkeep(**kept).run(now=NOON, keep_detached=True)
    assert (len(done.detached), done.dropped, done.left) == (1, [], [])
    (detached,) = converted.sql("SELECT relname FROM pg_class WHERE relname LIKE '%detached'").split()
    assert detached.startswith("market_trades_p2025_10_")
    assert converted.sql(f"SELECT count(*) FROM {detached}", "SELECT count(*) FROM market_trades") == "1\n1"
    assert await converted.differences() == []


async def test_minutes_leave_compressed_chunks_for_hours(converted: Place, bot: Database) -> None:
    await minutes(bot, 1440 + 30)
    await converted.upkeep().run(now=LATER)
    expected = await hours(bot)
    assert [candles for *_, candles in expected] == [60] * 24 + [30]
    done = await converted.upkeep(minutes_retention_days=30).run(now=LATER)
    assert (done.downsampled, sum(done.minutes_removed.values()), done.left) == (27, 1470, [])
    assert [len(await stored(bot, timeframe)) for timeframe in ("1m", "1h", "1d")] == [0, 25, 2]
    assert await hours(bot) == expected
    again = await converted.upkeep(minutes_retention_days=30).run(now=LATER)
    assert (again.downsampled, sum(again.minutes_removed.values())) == (0, 0)
    assert await hours(bot) == expected
    assert all(chunk == "0+" for chunk in converted.chunks())


async def test_a_late_minute_is_in_its_hour_after_the_next_run(converted: Place, bot: Database) -> None:
    await minutes(bot, 57)
    await converted.upkeep().run(now=LATER)
    await minutes(bot, 6, first=57)
    assert [candles for *_, candles in await hours(bot)] == [57, 3]  # what is stored, and what is made now
    await converted.upkeep().run(now=LATER)
    assert [candles for *_, candles in await hours(bot)] == [60, 3]


async def test_what_is_in_use_is_left_for_the_next_run(converted: Place, bot: Database) -> None:
    await trades(bot, 0, 400)
    kept = converted.upkeep(retention_days={"market_trades": 90})
    async with bot.transaction() as uow:
        await uow.market_trades.find_all()
        done = await kept.run(now=NOON, patience_seconds=0.3)
    assert (done.dropped, done.compressed) == ([], [])
    assert len({left.partition(":")[0] for left in done.left}) == 1  # to drop, and to compress
    assert (await kept.run(now=NOON)).left == []
    assert converted.sql("SELECT count(*) FROM market_trades") == "1"


async def test_a_person_sees_chunks_as_partitions(converted: Place, bot: Database, tmp_path: Path) -> None:
    await trades(bot, 0, 400)
    status = gal_friday(converted.url, tmp_path, "upkeep", "status")
    assert status.stdout.count("chunks") == 3
    assert status.returncode == 1
    run = gal_friday(converted.url, tmp_path, "upkeep", "run")
    assert "compressed _hyper_" in run.stdout, run.stderr
    listed = gal_friday(converted.url, tmp_path, "partitions", "list")
    assert listed.stdout.count("_hyper_") == 2
    assert gal_friday(converted.url, tmp_path, "upkeep", "status").returncode == 0


async def test_whoever_writes_to_a_chunk_while_it_is_compressed_loses_nothing(
    converted: Place, bot: Database
) -> None:
    converted.sql(MANY)
    done = asyncio.Event()
    acknowledged = []

    async def write() -> None:
        for number in count():
            late = a_candle(timeframe="5m", timestamp=MIDNIGHT - 300 * DAY + 5 * number * MINUTE)
            async with bot.transaction() as uow:
                await uow.market_data.store_candles([late])
            acknowledged.append(late.timestamp)
            if done.is_set() and len(acknowledged) > 100:
                return

    async def compress() -> None:
        try:
            await converted.upkeep().run(now=LATER, patience_seconds=1)
        finally:
            done.set()

    await asyncio.gather(write(), compress())
    assert (await converted.upkeep().run(now=LATER)).left == []
    assert set(converted.chunks()) == {"0+"}
    found = await bot.market_data.get_latest_candles(EXCHANGE, PAIR, "5m", limit=100_000)
    assert [candle.timestamp for candle in found] == acknowledged
    assert await bot.market_data.count() == 150_000 + len(acknowledged)
