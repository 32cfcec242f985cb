"""The time-series tables are handed over to TimescaleDB with every row, all of them or none."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.role_manager import RoleManager
from gal_friday.errors import (
    DatabaseError,
    DatabaseUnavailable,
    LockTimeout,
    MigrationFailed,
    PermissionDenied,
    UpkeepInProgress,
)
from gal_friday.upkeep.connecting import as_owner, be_alone
from tests.commands import gal_friday
from tests.factories import EXCHANGE, MINUTE, NOON, PAIR, a_candle
from tests.timescale.place import FILL, MANY, Place
from tests.waiting import until

pytestmark = pytest.mark.timescaledb

_LEFT = "SELECT relname FROM pg_class WHERE relkind = 'p' ORDER BY 1"
_PRIVILEGES = """
    SELECT relname, relowner::regrole, acl::text FROM pg_class, unnest(relacl) AS acl
    WHERE relname IN ('market_data', 'market_trades', 'series_points') ORDER BY 1, 2, 3
"""
_OF_COLUMNS = """
    SELECT attname, attacl FROM pg_attribute
    WHERE attrelid = 'market_trades'::regclass AND attacl IS NOT NULL ORDER BY 1
"""


async def test_every_row_is_taken_along_from_whichever_partition(place: Place) -> None:
    place.sql(*FILL)
    await place.upkeep().run()
    place.sql(*(statement.replace("2026", "2019") for statement in FILL))  # these lie in the defaults
    before = place.contents()
    done = await place.timescale().enable()
    assert done.converted == {"market_data": 12_000, "market_trades": 4_000, "series_points": 4_000}
    assert place.contents() == before
    assert place.kinds() == ["r", "r", "r"]
    assert "market" not in place.sql(_LEFT)


async def test_the_second_time_there_is_nothing_to_do(place: Place) -> None:
    place.sql(*FILL)
    first = await place.timescale().enable()
    state = "SELECT row_version, value FROM system_config", "SELECT 'market_data'::regclass::oid"
    before = place.sql(*state)
    second = await place.timescale().enable()
    assert (second.version, second.converted, second.is_new) == (first.version, {}, False)
    assert place.sql(*state) == before


async def test_check_roles_and_migrations_find_nothing_to_do(converted: Place) -> None:
    assert await converted.differences() == []
    assert (await MigrationManager(converted.url, converted.settings).run_migrations()).revisions == ()


async def test_a_trigger_that_is_missing_is_noticed(converted: Place) -> None:
    converted.sql(
        "DROP TRIGGER refuse_change ON market_trades", "ALTER TABLE market_data DROP COLUMN vwap CASCADE"
    )
    assert await converted.differences() == [
        "add_column market_data market_data.vwap",
        "create_trigger refuse_change market_trades",
    ]


async def test_privileges_are_as_before_others_too(place: Place) -> None:
    place.sql(
        "GRANT SELECT ON market_data TO the_bot WITH GRANT OPTION",
        "GRANT SELECT (price, traded_at) ON market_trades TO PUBLIC",
    )
    before = place.sql(_PRIVILEGES, _OF_COLUMNS)
    await place.timescale().enable()
    assert place.sql(_PRIVILEGES, _OF_COLUMNS) == before
    assert place.sql("SELECT has_table_privilege('the_bot', 'market_data_hours', 'SELECT')") == "t"


async def test_roles_are_put_right_afterwards_as_well(place: Place) -> None:
    await place.timescale().enable()
    place.sql(
        "ALTER TABLE market_data OWNER TO postgres",
        "ALTER MATERIALIZED VIEW market_data_hours OWNER TO postgres",
        "REVOKE SELECT ON market_data_hours FROM the_trader",
        "GRANT DELETE ON market_trades TO the_trader",
    )
    roles = RoleManager(place.url, place.settings)
    assert [each.replace(place.prefix, "the_") for each in await roles.check()] == [
        "view market_data_hours must belong to the_migrator, not to postgres",
        "the_trader needs SELECT on view market_data_hours",
        "table market_data must belong to the_migrator, not to postgres",
        "the_trader must not have DELETE on table market_trades",
        "the_bot must not have DELETE on table market_trades",
    ]
    await roles.apply()
    assert await roles.check() == []
    owners = "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relname LIKE '_materialized_hypertable%'"
    assert place.sql(owners) == place.sql("SELECT 'the_migrator'::regrole")
    await place.upkeep().run()


async def test_a_restored_database_may_store_again_what_is_compressed(converted: Place) -> None:
    limit = "SHOW timescaledb.max_tuples_decompressed_per_dml_transaction"
    converted.sql(f"ALTER DATABASE {converted.name} RESET ALL")  # a dump does not bring it along
    assert converted.sql(limit) != "0"
    await converted.timescale().enable()
    assert converted.sql(limit) == "0"


async def test_what_was_done_is_on_record(place: Place) -> None:
    place.sql(*FILL)
    done = await place.timescale().enable()
    recorded = "SELECT value -> 'tables' ->> 'market_data', value ->> 'version' FROM system_config"
    assert place.sql(recorded) == f"6000|{done.version}"
    audited = "SELECT operation, actor FROM audit_log WHERE table_name = 'system_config'"
    assert place.sql(audited) == "INSERT|postgres"


async def test_what_depends_on_a_table_leaves_everything_as_it_was(place: Place) -> None:
    place.sql(*FILL, "CREATE VIEW mine AS SELECT price FROM market_trades")
    before = place.contents()
    with pytest.raises(DatabaseError, match="market_trades"):
        await place.timescale().enable()
    assert (place.kinds(), place.contents()) == (["p", "p", "p"], before)
    assert place.sql("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == "0"
    assert await place.differences() == []


async def test_who_reads_a_table_all_the_time_is_not_pushed_aside(place: Place) -> None:
    place.sql(*FILL)
    async with place.open("bot") as bot, bot.transaction() as uow:
        await uow.market_data.get_latest_candles(EXCHANGE, PAIR, "1m")
        with pytest.raises(LockTimeout):
            await place.timescale().enable(patience_seconds=0.3)
    assert place.kinds() == ["p", "p", "p"]


async def test_broken_off_in_the_middle_it_has_done_nothing(place: Place) -> None:
    place.sql(*FILL, MANY)
    before = place.contents()
    converting = asyncio.create_task(place.timescale().enable())

    async def is_broken_off() -> bool:
        return "t" in place.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'active' AND query LIKE 'INSERT INTO market_data%'"
        )

    await until(is_broken_off, "rows are taken along")
    with pytest.raises(DatabaseUnavailable):
        await converting
    assert (place.kinds(), place.contents()) == (["p", "p", "p"], before)
    assert await place.differences() == []
    assert (await place.timescale().enable()).converted["market_data"] == 156_000


async def test_the_schema_is_not_undone_below_hypertables(converted: Place) -> None:
    converted.sql(*FILL)
    before = converted.contents()
    with pytest.raises(MigrationFailed, match="market_trades_default"):
        await MigrationManager(converted.url, converted.settings).rollback("base")
    assert converted.contents() == before


async def test_one_process_at_a_time_does_it(place: Place) -> None:
    async with as_owner(place.url, place.settings) as connection:
        await be_alone(connection)
        with pytest.raises(UpkeepInProgress):
            await place.timescale().enable()


@pytest.mark.parametrize("login", ["bot", "boss"])
async def test_a_login_without_the_rights_is_refused(login: str, place: Place) -> None:
    with pytest.raises(PermissionDenied):
        await place.timescale(login).enable()
    assert place.kinds() == ["p", "p", "p"]


async def test_whoever_owns_the_database_needs_be_no_superuser(place: Place) -> None:
    place.sql(*FILL, f"ALTER DATABASE {place.name} OWNER TO the_boss")
    assert (await place.timescale("boss").enable()).converted["market_data"] == 6_000
    assert await place.differences() == []


async def test_a_bot_that_writes_meanwhile_loses_nothing(place: Place) -> None:
    acknowledged = []
    done = asyncio.Event()

    async def write() -> None:
        async with place.open("bot") as bot:
            for number in count():
                at = NOON + number * MINUTE
                async with bot.transaction() as uow:
                    await uow.market_data.store_candles(
                        [a_candle(timestamp=at, close=Decimal(100 + number % 3))]
                    )
                acknowledged.append(at)
                if done.is_set() and len(acknowledged) > 20:
                    return

    async def convert() -> None:
        try:
            await place.timescale().enable()
        finally:
            done.set()

    await asyncio.gather(write(), convert())
    async with place.open("bot") as bot:
        found = await bot.market_data.get_historical_data(
            EXCHANGE, PAIR, "1m", NOON, datetime.now(UTC) + timedelta(days=999)
        )
    assert [candle.timestamp for candle in found] == acknowledged
    assert place.kinds() == ["r", "r", "r"]


def test_a_person_is_told_what_was_done(place: Place, tmp_path: Path) -> None:
    place.sql(*FILL)
    asked = gal_friday(place.url, tmp_path, "db", "timescale", "enable")
    assert (asked.returncode, place.kinds()) == (1, ["p", "p", "p"]), asked.stderr
    done = gal_friday(place.url, tmp_path, "db", "timescale", "enable", "--yes")
    assert "market_data is a hypertable; rows taken along: 6,000" in done.stdout, done.stderr
    again = gal_friday(place.url, tmp_path, "db", "timescale", "enable", "--yes")
    assert again.stdout.strip().endswith("was enabled already.")
    status = gal_friday(place.url, tmp_path, "db", "timescale", "status")
    assert status.stdout.count("hypertable") == 3
