"""Partitions made ahead and late: which, for whom, and what becomes of the rows in the default."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, func, make_url, select, text

from gal_friday.config import DatabaseSettings, Settings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.role_manager import RoleManager
from gal_friday.database import Database
from gal_friday.errors import (
    AppendOnlyViolated,
    ConfigurationError,
    PermissionDenied,
    SchemaOutdated,
    UpkeepInProgress,
)
from gal_friday.upkeep import run_upkeep
from gal_friday.upkeep.moving import Move
from gal_friday.upkeep.steps import in_a_step
from tests.commands import gal_friday
from tests.factories import MINUTE, NOON, a_candle, a_log, a_market_trade, a_series_point, a_snapshot
from tests.upkeep import Owner, upkeep

DAY = timedelta(days=1)


def audit_partition() -> str:
    """Where what the making of the template left on record belongs: the server's clock is today's."""
    return f"audit_log_p{datetime.now(UTC):%Y_%m}"


async def test_partitions_are_made_for_now_and_ahead_once(owner_url: URL) -> None:
    report = await upkeep(owner_url).run(now=NOON)
    assert list(report.made)[:3] == ["market_data_p2026_11", "market_data_p2026_12", "market_data_p2027_01"]
    assert [name for name in report.made if name.startswith("market_trades")] == [
        "market_trades_p2026_w47",
        "market_trades_p2026_w48",
        "market_trades_p2026_w49",
    ]
    assert {name for name, rows in report.made.items() if rows} <= {audit_partition()}
    assert (report.left, report.dropped) == ([], [])
    assert (await upkeep(owner_url).run(now=NOON)).made == {}
    next_month = await upkeep(owner_url).run(now=NOON + 31 * DAY)
    assert "market_data_p2027_02" in next_month.made


async def test_the_schema_and_the_roles_are_as_declared_with_any_number_of_them(
    owner_url: URL, database: Database
) -> None:
    before = await RoleManager(owner_url, DatabaseSettings()).check()
    async with database.transaction() as uow:
        uow.session.add(a_snapshot())
    await upkeep(owner_url, ahead={"audit_log": 24}).run(now=NOON)
    assert await MigrationManager(owner_url, DatabaseSettings()).check() == []
    assert await RoleManager(owner_url, DatabaseSettings()).check() == before


async def test_rows_that_waited_in_the_default_are_moved(
    database: Database, owner_url: URL, owner: Owner
) -> None:
    async with database.transaction() as uow:
        for months in range(3):
            moment = NOON - months * 31 * DAY
            await uow.market_data.store_candles(a_candle(timestamp=moment + n * MINUTE) for n in range(10))
            uow.session.add(a_market_trade(traded_at=moment))
            uow.session.add(a_series_point(timestamp=moment))
            uow.session.add(a_snapshot(snapshot_timestamp=moment))
            uow.session.add(a_log(log_timestamp=moment))
    report = await upkeep(owner_url, retention_days={"system_logs": None}).run(now=NOON)
    assert report.left == []
    assert report.made["market_data_p2026_09"] == 10
    assert await owner.places("market_data") == {
        "market_data_p2026_09": 10,
        "market_data_p2026_10": 10,
        "market_data_p2026_11": 10,
    }
    for table in ("market_trades", "series_points", "portfolio_snapshots", "system_logs"):
        assert list((await owner.places(table)).values()) == [1, 1, 1]
        assert f"{table}_default" not in await owner.places(table)
    assert (await owner.places("audit_log")).keys() == {audit_partition()}
    assert await MigrationManager(owner_url, DatabaseSettings()).check() == []


async def test_what_still_changes_is_moved_as_well(database: Database, owner_url: URL, owner: Owner) -> None:
    async with database.transaction() as uow:
        await uow.market_data.store_candles(
            [
                a_candle(timestamp=NOON),
                a_candle(timestamp=NOON - DAY),
                a_candle(timestamp=NOON - DAY, timeframe="1d", is_final=False),
            ]
        )
        uow.session.add(a_series_point(timestamp=NOON))
    report = await upkeep(owner_url).run(now=NOON)
    assert report.left == []
    assert await owner.places("market_data") == {"market_data_p2026_11": 3}
    assert report.made["series_points_p2026_w47"] == 1


async def test_a_moved_row_of_an_append_only_table_is_guarded_where_it_is(
    database: Database, owner_url: URL
) -> None:
    async with database.transaction() as uow:
        uow.session.add(a_market_trade())
    await upkeep(owner_url).run(now=NOON)
    async with DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as pool:
        for setting, statement in {
            "": "DELETE FROM market_trades",
            "market_trades_default": "DELETE FROM market_trades",
            "market_trades_p2026_w47": "DELETE FROM market_trades_p2026_w47",
            "market_trades": "TRUNCATE market_trades_p2026_w47",
        }.items():
            async with pool.transaction() as uow:
                await uow.session.execute(select(func.set_config("gal_friday.moved_from", setting, True)))
                with pytest.raises(AppendOnlyViolated):
                    async with uow.savepoint():
                        await uow.session.execute(text(statement))


async def test_a_period_cut_otherwise_before_is_made_of_what_is_free(
    database: Database, owner_url: URL, owner: Owner
) -> None:
    await upkeep(owner_url, ahead={"market_trades": 0}, intervals={"market_trades": "month"}).run(now=NOON)
    async with database.transaction() as uow:
        uow.session.add(a_market_trade(traded_at=datetime(2026, 12, 2, tzinfo=UTC)))
        uow.session.add(a_market_trade(traded_at=NOON))
    report = await upkeep(owner_url, ahead={"market_trades": 3}).run(now=NOON)
    assert [name for name in report.made if name.startswith("market_trades")] == [
        "market_trades_p2026_12_01",
        "market_trades_p2026_w50",
    ]
    assert await owner.places("market_trades") == {
        "market_trades_p2026_11": 1,
        "market_trades_p2026_12_01": 1,
    }


async def test_what_belongs_to_someone_else_is_left_alone(owner_url: URL, owner: Owner) -> None:
    await owner.connection.execute("CREATE TABLE market_data_p2026_12 AS SELECT 'mine' AS whose")
    report = await upkeep(owner_url).run(now=NOON)
    assert "market_data_p2026_11" in report.made
    assert [reason.partition(":")[0] for reason in report.left] == ["market_data_p2026_12"]
    assert await owner.connection.fetchval("SELECT whose FROM market_data_p2026_12") == "mine"


async def test_a_run_broken_off_is_taken_up_by_the_next(
    owner_url: URL, owner: Owner, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    async with database.transaction() as uow:
        await uow.market_data.store_candles([a_candle()])

    async def killed(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr("gal_friday.upkeep.partitions._fill_and_attach", killed)
        with pytest.raises(asyncio.CancelledError):
            await upkeep(owner_url).run(now=NOON)
    assert await owner.tables("market_data_p%") == []
    assert await owner.places("market_data") == {"market_data_default": 1}
    assert await MigrationManager(owner_url, DatabaseSettings()).check() == []
    await upkeep(owner_url).run(now=NOON)
    assert await owner.places("market_data") == {"market_data_p2026_11": 1}


async def test_one_process_at_a_time_does_it(owner_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def held_up(*arguments: object, **options: object) -> object:
        begun.set()
        await may_go_on.wait()
        return await in_a_step(*arguments, **options)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr("gal_friday.upkeep.partitions.in_a_step", held_up)
    first = asyncio.create_task(upkeep(owner_url).run(now=NOON))
    await begun.wait()
    with pytest.raises(UpkeepInProgress):
        await upkeep(owner_url).run(now=NOON)
    may_go_on.set()
    assert (await first).left == []


async def test_while_others_use_the_table_all_the_time_it_is_left_for_the_next_run(
    owner_url: URL, owner: Owner
) -> None:
    reading = await owner.locks_out("market_data")
    report = await upkeep(owner_url).run(now=NOON, patience_seconds=0.3)
    await reading.rollback()
    assert [reason.partition(":")[0] for reason in report.left] == [
        "market_data_p2026_11",
        "market_data_p2026_12",
        "market_data_p2027_01",
    ]
    assert "market_trades_p2026_w47" in report.made
    assert (await upkeep(owner_url).run(now=NOON)).made.keys() == {
        reason.partition(":")[0] for reason in report.left
    }


async def test_a_trader_may_not_and_is_told_so(database_url: URL) -> None:
    with pytest.raises(PermissionDenied):
        await upkeep(database_url).run(now=NOON)


async def test_there_has_to_be_something_to_keep(empty_database_url: str) -> None:
    with pytest.raises(SchemaOutdated):
        await upkeep(make_url(empty_database_url)).run(now=NOON)


async def test_a_program_that_has_a_database_open_can_do_it(database: Database, owner_url: URL) -> None:
    url = owner_url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = Settings(database={"url": url})
    planned = await run_upkeep(database, settings, now=NOON, dry_run=True)
    assert (await run_upkeep(database, settings, now=NOON)).made == planned.made


@pytest.mark.parametrize(
    "settings",
    [
        {"intervals": {"orders": "day"}},
        {"ahead": {"oders": 3}},
        {"retention_days": {"audit_log": 30}},
    ],
)
def test_a_policy_for_what_has_none_is_refused(settings: dict[str, dict[str, object]]) -> None:
    with pytest.raises(ConfigurationError, match="GAL_FRIDAY_UPKEEP__"):
        upkeep(URL.create("postgresql"), **settings)


async def test_a_person_runs_it_and_sees_how_things_stand(
    owner_url: URL, database: Database, tmp_path: Path
) -> None:
    async with database.transaction() as uow:
        await uow.market_data.store_candles([a_candle(timestamp=datetime.now(UTC))])
    planned = gal_friday(owner_url, tmp_path, "upkeep", "run", "--dry-run")
    assert "taken from the default: 1" in planned.stdout, planned.stderr
    assert gal_friday(owner_url, tmp_path, "upkeep", "status").returncode == 1
    done = gal_friday(owner_url, tmp_path, "upkeep", "run")
    assert (done.returncode, done.stdout) == (0, planned.stdout)
    assert gal_friday(owner_url, tmp_path, "upkeep", "run").stdout == "There is nothing to do.\n"
    listed = gal_friday(owner_url, tmp_path, "partitions", "list").stdout
    assert f"market_data_p{datetime.now(UTC):%Y_%m}" in listed


async def test_a_row_that_came_in_where_none_was_expected_is_moved_at_the_next_try(
    database: Database, owner_url: URL, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.transaction() as uow:
        await uow.market_data.store_candles([a_candle(is_final=False)])
    tries: list[bool] = []
    locked = Move.locked

    async def overlooking(move: Move, *, everywhere: bool) -> None:
        tries.append(everywhere)
        if everywhere or len(tries) > 1:
            await locked(move, everywhere=everywhere)

    monkeypatch.setattr(Move, "locked", overlooking)
    assert (await upkeep(owner_url).run(now=NOON)).left == []
    assert tries[:2] == [False, True]
    assert await owner.places("market_data") == {"market_data_p2026_11": 1}
