"""What leaves with time and what stays: partitions past retention, minutes that have become hours."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.models import Candle
from gal_friday.database import Database
from gal_friday.errors import LockTimeout
from gal_friday.upkeep.downsampling import SOURCE
from tests.commands import gal_friday
from tests.factories import EXCHANGE, MINUTE, NOON, PAIR, a_candle, a_log, a_market_trade, a_snapshot
from tests.upkeep import Owner, upkeep

DAY = timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
LATER = NOON + 200 * DAY


async def minutes(database: Database, count: int, *, first: int = 0, **values: Any) -> None:
    """*count* candles of a minute from MIDNIGHT on, each another price and volume."""
    async with database.transaction() as uow:
        await uow.market_data.store_candles(
            a_candle(
                timestamp=MIDNIGHT + n * MINUTE,
                open=Decimal(100 + n % 7),
                high=Decimal(200 + n),
                low=Decimal(50) - Decimal(n) / 100,
                close=Decimal(101 + n % 11),
                volume=Decimal(1 + n % 3),
                vwap=Decimal(100) + Decimal(n) / 8,
                trades_count=n,
                **values,
            )
            for n in range(first, first + count)
        )


async def stored(database: Database, timeframe: str) -> list[Candle]:
    found = await database.market_data.get_historical_data(
        EXCHANGE, PAIR, timeframe, MIDNIGHT - DAY, MIDNIGHT + 2 * DAY
    )
    return list(found)


async def test_a_partition_leaves_when_its_last_row_is_too_old(
    database: Database, owner_url: URL, owner: Owner
) -> None:
    async with database.transaction() as uow:
        uow.session.add_all([a_log(log_timestamp=NOON - days * DAY) for days in (0, 31, 60, 400)])
        uow.session.add(a_market_trade(traded_at=NOON - 400 * DAY))
        uow.session.add(a_snapshot(snapshot_timestamp=NOON - 400 * DAY))
    report = await upkeep(owner_url, ahead={"audit_log": 0}).run(now=NOON)
    # The week of the log of 31 days ago ended 26 days ago.
    assert await owner.places("system_logs") == {"system_logs_p2026_w43": 1, "system_logs_p2026_w47": 1}
    assert report.dropped == ["system_logs_p2025_w42", "system_logs_p2026_w39"]
    assert sum((await owner.places("market_trades")).values()) == 1
    assert sum((await owner.places("portfolio_snapshots")).values()) == 1


async def test_the_audit_record_stays_however_old_it_is(owner_url: URL, owner: Owner) -> None:
    before = sum((await owner.places("audit_log")).values())
    assert before
    every = dict.fromkeys(["market_data", "market_trades", "portfolio_snapshots", "system_logs"], 1)
    await upkeep(owner_url, retention_days=every).run(now=NOON + 4000 * DAY)
    assert sum((await owner.places("audit_log")).values()) == before


async def test_a_partition_is_kept_as_a_table_of_its_own_where_that_is_wanted(
    database: Database, owner_url: URL, owner: Owner
) -> None:
    settings = {"retention_days": {"portfolio_snapshots": 30}}
    async with database.transaction() as uow:
        uow.session.add(a_snapshot(snapshot_timestamp=NOON - 100 * DAY))
    report = await upkeep(owner_url, **settings).run(now=NOON, keep_detached=True)
    assert report.detached == ["portfolio_snapshots_p2026_08"]
    assert await owner.places("portfolio_snapshots") == {}
    kept = "portfolio_snapshots_p2026_08_detached"
    assert await owner.places(kept) == {kept: 1}
    manager = MigrationManager(owner_url, DatabaseSettings())
    assert await manager.check() == []
    async with database.transaction() as uow:  # a row that comes late
        uow.session.add(a_snapshot(snapshot_timestamp=NOON - 100 * DAY))
    report = await upkeep(owner_url, **settings).run(now=NOON, keep_detached=True)
    assert [reason.partition(":")[0] for reason in report.left] == ["portfolio_snapshots_p2026_08"]
    assert (await upkeep(owner_url, **settings).run(now=NOON)).dropped == ["portfolio_snapshots_p2026_08"]
    assert await owner.places(kept) == {kept: 1}
    await manager.rollback("base")
    assert await owner.tables("portfolio_snapshots%") == [kept]


async def test_minutes_leave_for_hours_and_a_day(database: Database, owner_url: URL) -> None:
    await minutes(database, 1440)
    before = await stored(database, "1m")
    report = await upkeep(owner_url, minutes_retention_days=90).run(now=LATER)
    assert report.minutes_removed == {"market_data_p2026_11": 1440}
    assert report.downsampled == 25
    assert await stored(database, "1m") == []
    hours = await stored(database, "1h")
    for number, hour in enumerate(hours):
        of_it = before[number * 60 : (number + 1) * 60]
        assert hour.timestamp == MIDNIGHT + number * 60 * MINUTE
        assert (hour.open, hour.close) == (of_it[0].open, of_it[-1].close)
        assert (hour.high, hour.low) == (max(x.high for x in of_it), min(x.low for x in of_it))
        assert hour.volume == sum(x.volume for x in of_it)
        assert hour.trades_count == sum(x.trades_count or 0 for x in of_it)
        weighted = sum((x.vwap or 0) * x.volume for x in of_it)
        assert hour.vwap is not None
        assert abs(hour.vwap * hour.volume - weighted) <= hour.volume * Decimal("0.5e-18")
        assert (hour.is_final, hour.data_source, hour.data_quality_score) == (True, SOURCE, 100)
    assert len(hours) == 24
    (day,) = await stored(database, "1d")
    assert (day.open, day.close, day.volume) == (
        before[0].open,
        before[-1].close,
        sum(x.volume for x in before),
    )
    again = await upkeep(owner_url, minutes_retention_days=90).run(now=LATER)
    assert (again.downsampled, again.minutes_removed) == (0, {})


async def test_minutes_stay_while_they_are_young_or_still_change(database: Database, owner_url: URL) -> None:
    await minutes(database, 60)
    await minutes(database, 60, first=60, is_final=False)
    await upkeep(owner_url, minutes_retention_days=300).run(now=LATER)
    assert len(await stored(database, "1m")) == 120
    report = await upkeep(owner_url, minutes_retention_days=90).run(now=LATER)
    assert report.minutes_removed == {"market_data_p2026_11": 60}
    left = await stored(database, "1m")
    assert [candle.is_final for candle in left] == [False] * 60
    assert len(await stored(database, "1h")) == 1


async def test_an_hour_of_the_exchange_is_not_overwritten_by_one_of_fewer_minutes(
    database: Database, owner_url: URL
) -> None:
    async with database.transaction() as uow:
        await uow.market_data.store_candles(
            [
                a_candle(timeframe="1h", timestamp=MIDNIGHT, data_source="exchange"),
                a_candle(timeframe="1h", timestamp=MIDNIGHT + 60 * MINUTE, is_final=False),
                a_candle(timeframe="1h", timestamp=MIDNIGHT + 120 * MINUTE, data_quality_score=10),
            ]
        )
    await minutes(database, 45)
    await minutes(database, 45, first=60)
    await minutes(database, 45, first=120)
    report = await upkeep(owner_url, minutes_retention_days=90).run(now=LATER)
    assert report.minutes_removed == {"market_data_p2026_11": 135}
    first, second, third = await stored(database, "1h")
    assert (first.data_source, first.data_quality_score) == ("exchange", 100)
    assert (second.data_source, second.data_quality_score) == (SOURCE, 75)
    assert (third.data_source, third.data_quality_score) == (SOURCE, 75)


async def test_minutes_that_come_late_do_not_spoil_the_hour_that_was_made_of_all(
    database: Database, owner_url: URL
) -> None:
    await minutes(database, 60)
    await upkeep(owner_url, minutes_retention_days=90).run(now=LATER)
    (hour,) = await stored(database, "1h")
    await minutes(database, 5)
    report = await upkeep(owner_url, minutes_retention_days=90).run(now=LATER)
    assert report.minutes_removed == {"market_data_p2026_11": 5}
    (same,) = await stored(database, "1h")
    assert (same.high, same.volume, same.data_quality_score) == (hour.high, hour.volume, 100)


async def test_no_volume_weighted_price_is_guessed(database: Database, owner_url: URL) -> None:
    await minutes(database, 60)
    async with database.transaction() as uow:
        await uow.market_data.store_candles([a_candle(timestamp=MIDNIGHT, vwap=None)])
    await upkeep(owner_url, minutes_retention_days=90).run(now=LATER)
    (hour,) = await stored(database, "1h")
    assert (hour.vwap, hour.trades_count) == (None, None)


async def test_a_dry_run_names_what_would_leave_and_leaves_it(
    database: Database, owner_url: URL, tmp_path: Path
) -> None:
    await minutes(database, 60)
    async with database.transaction() as uow:
        uow.session.add(a_log(log_timestamp=NOON - 60 * DAY))
    logs_stay = {"retention_days": {"system_logs": None}}
    await upkeep(owner_url, **logs_stay).run(now=NOON)
    report = await upkeep(owner_url, minutes_retention_days=90).run(now=LATER, dry_run=True)
    assert report.minutes_removed == {"market_data_p2026_11": 60}
    assert "system_logs_p2026_w39" in report.dropped
    kept = await upkeep(owner_url).run(now=LATER, dry_run=True, keep_detached=True)
    assert "system_logs_p2026_w39" in kept.detached
    assert len(await stored(database, "1m")) == 60
    assert "30 days" in gal_friday(owner_url, tmp_path, "upkeep", "status").stdout


async def test_a_partition_someone_reads_stays_until_the_next_run(
    database: Database, owner_url: URL, owner: Owner
) -> None:
    async with database.transaction() as uow:
        uow.session.add(a_log(log_timestamp=NOON - 60 * DAY))
    await upkeep(owner_url, retention_days={"system_logs": None}).run(now=NOON)
    reading = await owner.locks_out("system_logs")
    report = await upkeep(owner_url).run(now=NOON, patience_seconds=0.2)
    await reading.rollback()
    assert (report.dropped, len(report.left)) == ([], 1)
    assert str(LockTimeout()).removesuffix(".") in report.left[0]
    assert (await upkeep(owner_url).run(now=NOON)).dropped == ["system_logs_p2026_w39"]
