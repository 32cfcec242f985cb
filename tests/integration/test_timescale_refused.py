"""A server without TimescaleDB is left as it is, and a table put in another's place is as that was."""

from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from gal_friday.config import DatabaseSettings, UpkeepSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.database import Database
from gal_friday.errors import ExtensionUnavailable, PermissionDenied, SchemaOutdated, UpkeepInProgress
from gal_friday.upkeep.catalog import look_at
from gal_friday.upkeep.connecting import as_owner, be_alone
from gal_friday.upkeep.conversion import become_hypertable
from gal_friday.upkeep.hypertables import to_compress
from gal_friday.upkeep.policies import Interval
from gal_friday.upkeep.timescale import Timescale
from tests.commands import gal_friday
from tests.factories import MINUTE, NOON, a_candle, a_market_trade
from tests.upkeep import Owner, upkeep

# In the place of TimescaleDB's: the table stays an ordinary one.
CREATE_HYPERTABLE = """
    CREATE FUNCTION create_hypertable(
        relation regclass, time_column_name name, chunk_time_interval interval, create_default_indexes boolean
    ) RETURNS integer LANGUAGE sql AS 'SELECT 1'
"""
PRIVILEGES = "SELECT relacl::text || relowner::regrole FROM pg_class WHERE oid = 'market_trades'::regclass"
OF_COLUMNS = """
    SELECT string_agg(attname || attacl::text, ' ' ORDER BY attname) FROM pg_attribute
    WHERE attrelid = 'market_trades'::regclass
"""


def timescale(url: URL) -> Timescale:
    return Timescale(url, DatabaseSettings(), UpkeepSettings())


async def test_a_server_that_does_not_offer_it_is_told_and_left_as_it_is(
    database: Database, owner_url: URL
) -> None:
    await database.market_data.add(a_candle())
    with pytest.raises(ExtensionUnavailable, match="timescaledb"):
        await timescale(owner_url).enable()
    standing = await timescale(owner_url).status()
    assert standing.installed is None
    assert [table is not None and table.is_hypertable for table in standing.tables.values()] == [False] * 3
    assert await MigrationManager(owner_url, DatabaseSettings()).check() == []
    assert await database.market_data.count() == 1


async def test_a_trader_may_not(database_url: URL) -> None:
    with pytest.raises(PermissionDenied):
        await timescale(database_url).enable()


async def test_a_database_without_the_tables_is_to_be_migrated_first(empty_database_url: str) -> None:
    with pytest.raises(SchemaOutdated):
        await timescale(make_url(empty_database_url)).enable()


async def test_whoever_does_upkeep_is_not_disturbed(owner_url: URL) -> None:
    async with as_owner(owner_url, DatabaseSettings()) as connection:
        await be_alone(connection)
        with pytest.raises(UpkeepInProgress):
            await timescale(owner_url).enable()


def test_a_person_is_asked_and_told(owner_url: URL, tmp_path: Path) -> None:
    asked = gal_friday(owner_url, tmp_path, "db", "timescale", "enable")
    assert asked.returncode == 1
    assert "Go on?" in asked.stdout
    refused = gal_friday(owner_url, tmp_path, "db", "timescale", "enable", "--yes")
    assert refused.returncode == 1
    assert "does not offer" in refused.stderr
    status = gal_friday(owner_url, tmp_path, "db", "timescale", "status")
    assert (status.returncode, status.stdout.count("partitions")) == (0, 3), status.stderr
    assert "not enabled" in status.stdout


async def test_the_table_in_its_place_has_the_rows_rules_and_privileges(
    database: Database, owner_url: URL, owner: Owner
) -> None:
    async with database.transaction() as uow:
        trades = [a_market_trade(traded_at=NOON + n * 10_000 * MINUTE, trade_id=f"t{n}") for n in range(5)]
        uow.session.add_all(trades)
    await upkeep(owner_url).run(now=NOON)
    await owner.connection.execute(CREATE_HYPERTABLE)
    await owner.connection.execute("GRANT SELECT (price, quantity) ON market_trades TO PUBLIC")
    await owner.connection.execute("GRANT INSERT ON market_trades TO gal_friday_monitor WITH GRANT OPTION")
    privileges = [await owner.connection.fetchval(PRIVILEGES), await owner.connection.fetchval(OF_COLUMNS)]
    before = await owner.connection.fetch("SELECT * FROM market_trades ORDER BY trade_id")

    async with as_owner(owner_url, DatabaseSettings()) as connection, connection.begin():
        old = await look_at(connection, "market_trades")
        assert old is not None
        assert to_compress(old, now=NOON) == []
        assert await become_hypertable(connection, old, Interval.WEEK) == 5

    assert await owner.connection.fetch("SELECT * FROM market_trades ORDER BY trade_id") == before
    after = [await owner.connection.fetchval(PRIVILEGES), await owner.connection.fetchval(OF_COLUMNS)]
    assert after == privileges
    # What is missing is what TimescaleDB would have: all else is as the models declare it.
    assert await MigrationManager(owner_url, DatabaseSettings()).check() == [
        "create_default_partition market_trades",
        "create_trigger refuse_truncate market_trades_default",
    ]
    assert await owner.tables("market_trades%") == ["market_trades"]


async def test_a_table_of_another_version_is_not_put_aside(owner_url: URL, owner: Owner) -> None:
    await owner.connection.execute("ALTER TABLE series_points ADD COLUMN newer int")
    async with as_owner(owner_url, DatabaseSettings()) as connection:
        old = await look_at(connection, "series_points")
        assert old is not None
        with pytest.raises(SchemaOutdated, match="series_points"):
            await become_hypertable(connection, old, Interval.WEEK)
