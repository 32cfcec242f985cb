"""`gal-friday db timescale enable`: the time-series tables handed over to TimescaleDB with all their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import URL, Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from gal_friday.config import DatabaseSettings, UpkeepSettings
from gal_friday.dal.models.privileges import CANDLE_HOURS
from gal_friday.dal.repositories.system_config_repository import SystemConfigRepository
from gal_friday.errors import ExtensionUnavailable
from gal_friday.upkeep.catalog import PartitionedTable, execute_ddl, is_there, look_at
from gal_friday.upkeep.connecting import as_owner, be_alone
from gal_friday.upkeep.conversion import become_hypertable, compress_by_series, make_hours
from gal_friday.upkeep.policies import policies
from gal_friday.upkeep.steps import PATIENCE_SECONDS, autocommitting, in_a_step, lock_out

#: Those that grow with the market, and nothing refers to; the others hold what was owned, decided or logged.
TABLES = ("market_data", "market_trades", "series_points")
#: The setting of the running system that tells what was done.
RECORD = "timescaledb"

# A server without its loader has none of its parameters; CREATE EXTENSION would end the connection there.
_OFFERED = text("""
    SELECT default_version, installed_version,
        current_setting('timescaledb.max_background_workers', true) IS NOT NULL AS is_preloaded,
        current_database() AS database, current_user AS owner
    FROM (SELECT) AS always LEFT JOIN pg_available_extensions ON name = 'timescaledb'
""")
_SETTINGS = text("""
    SELECT current_setting('timescaledb.license', true) AS license,
        current_setting('timescaledb.max_tuples_decompressed_per_dml_transaction', true) AS row_limit
""")
_COMPRESSED_BY = text("""
    SELECT compression_enabled FROM timescaledb_information.hypertables
    WHERE hypertable_schema = current_schema() AND hypertable_name = :name
""")
# As many rows as are there: to store again what is compressed is to take it out first, batch by batch.
_NO_LIMIT = "ALTER DATABASE %(database)s SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0"


@dataclass(slots=True)
class Enabled:
    """What `enable` did: nothing where all of it was done before."""

    version: str = ""
    #: The tables converted, and how many rows each took along.
    converted: dict[str, int] = field(default_factory=dict)
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How the time-series tables are kept."""

    #: The version the server would install, and the one this database has.
    offered: str | None
    installed: str | None
    #: None where there is no such table.
    tables: Mapping[str, PartitionedTable | None]


class Timescale:
    """TimescaleDB in the database at *url*, for a login that owns the database and its tables.

    *url* must not lead through PgBouncer. Both methods may raise DatabaseUnavailable, PermissionDenied and
    SchemaOutdated.
    """

    def __init__(self, url: URL, database: DatabaseSettings, settings: UpkeepSettings) -> None:
        self._url = url
        self._database = database
        self._policies = policies(settings)

    async def enable(self, *, patience_seconds: float = PATIENCE_SECONDS) -> Enabled:
        """Make hypertables of the time-series tables, and the view `market_data_hours` of the minutes.

        All of it is one transaction, which has the tables for itself; what it did is kept as the setting
        `timescaledb` of system_config. The second time there is nothing to do. Raises ExtensionUnavailable
        where the server does not offer TimescaleDB with all it brings, UpkeepInProgress, LockTimeout where
        others used a table all the time, and DatabaseError where something of one's own, such as a view,
        depends on a table.
        """
        async with as_owner(self._url, self._database) as connection:
            await be_alone(connection)
            offered = (await connection.execute(_OFFERED)).one()
            _check_offered(offered)

            async def convert() -> Enabled:
                return await self._convert(connection, offered)

            done = await in_a_step(connection, convert, patience_seconds=patience_seconds)
            async with autocommitting(connection):
                for name in done.converted:
                    await execute_ddl(connection, "ANALYZE %(table)s", table=name)
            return done

    async def status(self) -> Standing:
        """What the server offers, and how the tables are kept now."""
        async with as_owner(self._url, self._database) as connection:
            offered = (await connection.execute(_OFFERED)).one()
            tables = {name: await look_at(connection, name) for name in TABLES}
            return Standing(offered.default_version, offered.installed_version, tables)

    async def _convert(self, connection: AsyncConnection, offered: Row[Any]) -> Enabled:
        done = Enabled()
        if offered.installed_version is None:
            await _as_login(connection, offered, "CREATE EXTENSION timescaledb")
        settings = (await connection.execute(_SETTINGS)).one()
        if settings.license != "timescale":
            raise ExtensionUnavailable("under this licence it compresses nothing", license=settings.license)
        if settings.row_limit != "0":  # in a restored database, too
            await _as_login(connection, offered, _NO_LIMIT)
        tables = [table for name in TABLES if (table := await look_at(connection, name)) is not None]
        waiting = [table for table in tables if not table.is_hypertable]
        for table in waiting:
            await lock_out(connection, table)
        for table in waiting:
            interval = self._policies[table.name].interval
            done.converted[table.name] = await become_hypertable(connection, table, interval)
        for table in tables:
            if not await connection.scalar(_COMPRESSED_BY, {"name": table.name}):
                await compress_by_series(connection, table)
        done.is_new = not await is_there(connection, CANDLE_HOURS)
        if done.is_new:
            await make_hours(connection)
        done.version = str((await connection.execute(_OFFERED)).one().installed_version)
        if done.converted or done.is_new:
            await _record(connection, done)
        return done


def _check_offered(offered: Row[Any]) -> None:
    if offered.default_version is None:
        raise ExtensionUnavailable("its packages are not installed there", extension="timescaledb")
    if not offered.is_preloaded:
        version = offered.default_version
        raise ExtensionUnavailable(
            "shared_preload_libraries lacks it", extension="timescaledb", version=version
        )


async def _as_login(connection: AsyncConnection, offered: Row[Any], statement: str) -> None:
    """Execute *statement* as the login itself: to own the tables is not to own the database."""
    await execute_ddl(connection, "RESET ROLE")
    await execute_ddl(connection, statement, database=offered.database)
    await execute_ddl(connection, "SET ROLE %(owner)s", owner=offered.owner)


async def _record(connection: AsyncConnection, done: Enabled) -> None:
    async with AsyncSession(bind=connection, join_transaction_mode="rollback_only") as session:
        repository = SystemConfigRepository(session)
        before = await repository.get_value(RECORD, {"tables": {}})
        tables = {**before["tables"], **done.converted}
        await repository.set_value(
            RECORD,
            {"version": done.version, "tables": tables, "hours": CANDLE_HOURS},
            description="Tables handed over to TimescaleDB, and how many rows each had then",
            category="schema",
        )
