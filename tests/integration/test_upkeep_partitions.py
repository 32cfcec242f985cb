"""Partitions made ahead and late: which, for whom, and what becomes of the rows in the default."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings, Settings, UpkeepSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.role_manager import RoleManager
from gal_friday.database import Database
from gal_friday.errors import AppendOnlyViolated, PermissionDenied, SchemaOutdated, UpkeepInProgress
from gal_friday.upkeep import Upkeep, run_upkeep
from tests.factories import NOON, a_candle, a_log, a_market_trade, a_snapshot

PLACES = text("SELECT tableoid::regclass::text, count(*) FROM market_data GROUP BY 1 ORDER BY 1")


def upkeep(url: URL, **settings: Any) -> Upkeep:
    return Upkeep(url, DatabaseSettings(), UpkeepSettings(**settings))


def audit_partition() -> str:
    """Where what the template's making left on record belongs: the server's clock is today's."""
    return f"audit_log_p{datetime.now(UTC):%Y_%m}"


@pytest.fixture
async def owner(owner_url: URL) -> Any:
    connection = await asyncpg.connect(owner_url.set(drivername="postgresql").render_as_string(False))
    yield connection
    await connection.close()


async def places(owner: "asyncpg.Connection[Any]", table: str) -> dict[str, int]:
    rows: Sequence[Any] = await owner.fetch(
        f"SELECT tableoid::regclass::text AS place, count(*) FROM {table} GROUP BY 1 ORDER BY 1"
    )
    return {row["place"]: row["count"] for row in rows}


async def test_partitions_are_made_for_now_and_ahead_once(owner_url: URL) -> None:
    report = await upkeep(owner_url).run(now=NOON)
    assert list(report.made)[:3] == ["market_data_p2026_11", "market_data_p2026_12", "market_data_p2027_01"]
    assert [name for name in report.made if name.startswith("market_trades")] == [
        "market_trades_p2026_w47",
        "market_trades_p2026_w48",
        "market_trades_p2026_w49",
    ]
    assert (
        len({name for name in report.made if "_p2026_1" in name or "_p2027_" in name or "_w" in name}) == 21
    )
    assert {name: rows for name, rows in report.made.items() if rows}.keys() <= {audit_partition()}
    assert (report.left, report.dropped) == ([], [])
    assert (await upkeep(owner_url).run(now=NOON)).made == {}


async def test_the_schema_and_the_roles_are_as_declared_with_any_number_of_them(owner_url: URL) -> None:
    before = await RoleManager(owner_url, DatabaseSettings()).check()
    await upkeep(owner_url, ahead={"audit_log": 24}).run(now=NOON)
    assert await MigrationManager(owner_url, DatabaseSettings()).check() == []
    assert await RoleManager(owner_url, DatabaseSettings()).check() == before


async def test_rows_that_waited_in_the_default_are_moved(
    database: Database, owner_url: URL, owner: "asyncpg.Connection[Any]"
) -> None:
    async with database.transaction() as uow:
        for months in range(3):
            moment = NOON - timedelta(days=31 * months)
            await uow.market_data.store_candles(
                a_candle(timestamp=moment + timedelta(minutes=n)) for n in range(10)
            )
            await uow.market_trades.add(a_market_trade(traded_at=moment))
            uow.session.add(a_snapshot(snapshot_timestamp=moment))
            await uow.logs.add(a_log(log_timestamp=moment))
    report = await upkeep(owner_url, retention_days={"system_logs": None}).run(now=NOON)
    assert report.left == []
    assert await places(owner, "market_data") == {
        "market_data_p2026_09": 10,
        "market_data_p2026_10": 10,
        "market_data_p2026_11": 10,
    }
    assert report.made["market_data_p2026_09"] == 10
    for table in ("market_trades", "portfolio_snapshots", "system_logs"):
        assert sorted((await places(owner, table)).values()) == [1, 1, 1]
        assert f"{table}_default" not in await places(owner, table)
    assert await MigrationManager(owner_url, DatabaseSettings()).check() == []
