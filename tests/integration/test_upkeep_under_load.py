"""Upkeep while others write and read: nobody is held up, refused, or shown a row twice or not at all."""

import asyncio
import itertools
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from sqlalchemy import URL, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.models import Candle, MarketTrade
from gal_friday.database import Database
from gal_friday.upkeep.steps import give_way
from tests.factories import NOON, a_candle, a_market_trade, a_snapshot
from tests.upkeep import Owner, upkeep
from tests.waiting import until

DAY = timedelta(days=1)
#: Retention takes what is older than 60 days; of what is younger no row may be missing.
KEPT_FROM = NOON - 40 * DAY
MOMENTS = [NOON + days * DAY for days in range(-90, 41, 10)]
# Many times what upkeep waits for a lock, and holds one for: who waited longer than that would fail.
PATIENCE = text("SELECT set_config('lock_timeout', '2s', true)")


class Load:
    """Writers and readers; each statement that fails or misses a row ends the test."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ended = False
        #: What was acknowledged: trades by id, and candles by time, the last value counting.
        self.trades: dict[str, tuple[datetime, Decimal]] = {}
        self.candles: dict[datetime, Decimal] = {}
        self.writes: dict[int, int] = defaultdict(int)
        self.counted = 0

    async def write(self, writer: int) -> None:
        for number in itertools.count():
            if self.ended:
                return
            moment = MOMENTS[(number + writer) % len(MOMENTS)] + timedelta(seconds=number)
            price = Decimal(number + 1)
            trade = a_market_trade(traded_at=moment, price=price)
            # Each writer has minutes of its own, and comes back to them.
            minute = MOMENTS[number % len(MOMENTS)] + timedelta(minutes=writer * 100 + number // 20 % 5)
            async with self.database.transaction() as uow:
                await uow.session.execute(PATIENCE)
                uow.session.add(trade)
                await uow.market_data.store_candles([a_candle(timestamp=minute, volume=price)])
            self.trades[trade.trade_id] = (moment, price)
            self.candles[minute] = price
            self.writes[writer] += 1

    async def read(self) -> None:
        while not self.ended:
            known = sum(moment >= KEPT_FROM for moment, _ in self.trades.values())
            async with self.database.transaction(read_only=True) as uow:
                await uow.session.execute(PATIENCE)
                query = select(func.count()).where(MarketTrade.traded_at >= KEPT_FROM)
                seen = await uow.session.scalar(query) or 0
            assert seen >= known, f"{known - seen} rows could not be seen for a while"
            self.counted += 1

    async def goes_on(self) -> None:
        """Return once every writer and the readers have done something more."""
        before, counted = dict(self.writes), self.counted
        await until(
            lambda: _true(
                all(self.writes[writer] > before.get(writer, 0) + 2 for writer in range(3))
                and self.counted > counted
            ),
            "writers and readers to go on",
        )


async def _true(condition: bool) -> bool:
    return condition


async def test_while_it_makes_moves_detaches_and_drops(database: Database, owner_url: URL) -> None:
    load = Load(database)
    keeping = upkeep(owner_url, retention_days={"market_trades": 60}, ahead={"market_trades": 1})
    moved = dropped = 0
    async with asyncio.TaskGroup() as group:
        for writer in range(3):
            group.create_task(load.write(writer))
        group.create_task(load.read())
        for run in range(4):
            await load.goes_on()
            report = await keeping.run(now=NOON + run * DAY, keep_detached=run == 1)
            moved += sum(report.made.values())
            dropped += len(report.dropped) + len(report.detached)
            assert report.left == []
        load.ended = True
    assert moved
    assert dropped
    await keeping.run(now=NOON)
    async with database.transaction() as uow:
        stored = await uow.session.execute(select(MarketTrade).where(MarketTrade.traded_at >= KEPT_FROM))
        assert {each.trade_id: (each.traded_at, each.price) for each in stored.scalars()} == {
            key: value for key, value in load.trades.items() if value[0] >= KEPT_FROM
        }
        candles = await uow.session.execute(select(Candle))
        assert {each.timestamp: each.volume for each in candles.scalars()} == load.candles


async def test_while_someone_reads_for_long_nobody_queues_behind_it(
    database: Database, owner_url: URL, owner: Owner
) -> None:
    load = Load(database)
    reading = await owner.locks_out("market_trades")
    async with asyncio.TaskGroup() as group:
        for writer in range(3):
            group.create_task(load.write(writer))
        group.create_task(load.read())
        await load.goes_on()
        run = group.create_task(upkeep(owner_url).run(now=NOON))
        for _ in range(3):
            asked = partial(owner.has_someone_wait_for, "market_trades")
            await until(asked, "upkeep to ask for the table")
            await load.goes_on()
        assert not run.done()
        await reading.rollback()
        report = await run
        load.ended = True
    assert report.left == []
    assert "market_trades_p2026_w47" in report.made


async def test_a_snapshot_taken_before_rows_moved_shows_each_of_them_once(
    database: Database, owner_url: URL
) -> None:
    keeping = upkeep(owner_url, retention_days={"portfolio_snapshots": 30})
    async with database.transaction() as uow:
        uow.session.add(a_snapshot(snapshot_timestamp=NOON - 90 * DAY))
        uow.session.add_all([a_market_trade(traded_at=NOON - days * DAY) for days in range(30)])
    async with database.transaction(snapshot=True) as uow:
        await uow.session.execute(text("SELECT FROM accounts"))
        report = await keeping.run(now=NOON)
        # Neither is in the way of who refers to an account, nor the other way round.
        assert (report.dropped, report.left) == (["portfolio_snapshots_p2026_08"], [])
        assert sum(rows for name, rows in report.made.items() if name.startswith("market_trades")) == 30
        assert await uow.session.scalar(select(func.count()).select_from(MarketTrade)) == 30
    assert await database.market_trades.count() == 30


async def test_it_gives_way_to_who_waits_for_a_row_it_moves(
    database: Database,
    owner_url: URL,
    owner: Owner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    yesterday = NOON - DAY
    async with database.transaction() as uow:
        await uow.market_data.store_candles([a_candle(timestamp=yesterday)])
    moved, writer_waits = asyncio.Event(), owner.has_someone_wait_for_a_row

    async def when_someone_waits(connection: AsyncConnection) -> None:
        if not moved.is_set():
            moved.set()
            await until(writer_waits, "the writer to wait for the row")
        await give_way(connection)

    monkeypatch.setattr("gal_friday.upkeep.moving.give_way", when_someone_waits)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(upkeep(owner_url).run(now=NOON))
        await moved.wait()
        async with database.transaction() as uow:
            await uow.session.execute(PATIENCE)
            await uow.market_data.store_candles([a_candle(timestamp=yesterday, volume=Decimal(5))])
        assert (await run).left == []
    (candle,) = await database.market_data.find_all()
    assert candle.volume == Decimal(5)
    retried = [vars(record)["error"] for record in caplog.records if record.message == "retrying"]
    assert any("it gives way" in error for error in retried)
    assert await owner.places("market_data") == {"market_data_p2026_11": 1}
