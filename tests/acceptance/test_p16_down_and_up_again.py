"""P16: down and up again is the same schema, for every revision, and it is the schema the models declare."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.migrations.autogenerate import is_partitioned
from gal_friday.dal.migrations.revisions import default_script_location
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    Account,
    AccountLease,
    AuditEntry,
    AuditSeal,
    Base,
    Configuration,
    SchemaRevision,
)
from gal_friday.dal.models.server_side import triggers_of, triggers_of_partition
from gal_friday.dal.models.types import ClosedSet
from tests.migration.catalog import catalog
from tests.migration.synthetic import OWN_REVISIONS, Scratch, SyntheticRevisions, scratch_database
from tests.servers import PostgresServer
from tests.valid_rows import a_row_of

FUNCTIONS = """
    SELECT json_object_agg(proname, prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
TRIGGERS = """
    SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0
    ORDER BY tgrelid::regclass::text COLLATE "C"
"""
DEFAULT_PARTITIONS = """
    SELECT inhparent::regclass, inhrelid::regclass FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE relkind = 'r' AND pg_get_expr(relpartbound, pg_class.oid) = 'DEFAULT'
    ORDER BY inhparent::regclass::text COLLATE "C"
"""
CHECK_CONSTRAINTS = """
    SELECT json_object_agg(conname, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE contype = 'c' AND conparentid = 0
"""

#: What tables ask of their rows beyond the types of their columns.
DEMANDS: Mapping[type[Base], Mapping[str, Any]] = {
    AuditEntry: {"after": {"quantity": "1"}},
    AuditSeal: {"root_hash": "0" * 64},
    Configuration: {"config_hash": "0" * 64},
}

CLOSED_SETS = [
    pytest.param(f"ck_{table.name}_{column.name}", column.type.enum, id=f"{table.name}.{column.name}")
    for table in Base.metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, ClosedSet)
]


@pytest.mark.parametrize("revision", OWN_REVISIONS)
async def test_each_revision_undone_and_applied_again_gives_the_same_dump(
    revision: str, any_postgres_server: PostgresServer
) -> None:
    before = ["base", *OWN_REVISIONS][OWN_REVISIONS.index(revision)]
    with scratch_database(any_postgres_server) as scratch:
        manager = scratch.manager()
        await manager.run_migrations(before)
        without, dumps = schema(scratch), []
        for _ in range(2):
            await manager.run_migrations(revision)
            dumps.append(schema(scratch))
            await manager.rollback(before)
            assert schema(scratch) == without
        assert dumps[0] == dumps[1] != without


async def test_the_schema_goes_down_to_nothing_and_up_again_with_rows_in_every_table(
    any_postgres_server: PostgresServer,
) -> None:
    with scratch_database(any_postgres_server) as scratch:
        empty = schema(scratch)
        await scratch.manager().run_migrations()
        full = schema(scratch)
        await fill_every_table(scratch)
        await scratch.manager().rollback("base")
        assert schema(scratch) == empty
        await scratch.manager().run_migrations()
        assert schema(scratch) == full


async def test_rows_in_every_table_survive_a_revision_and_its_undoing(
    any_postgres_server: PostgresServer, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add(
        "expand",
        "op.add_column('orders', sa.Column('venue', sa.Text(), server_default='?', nullable=False))\n"
        'op.execute("UPDATE orders SET venue = exchange")',
        "op.drop_column('orders', 'venue')",
    )
    with scratch_database(any_postgres_server) as scratch:
        await scratch.manager().run_migrations()
        await fill_every_table(scratch)
        tables = set(scratch.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split())
        before = rows(scratch)
        await newer.manager(scratch.url).run_migrations()
        assert scratch.psql("SELECT bool_and(venue = exchange) FROM orders") == "t"
        await newer.manager(scratch.url).rollback("-1")
        after = rows(scratch)
        assert tables >= set(Base.metadata.tables)
        # The update went through the triggers, as every update does.
        assert after.keys() == before.keys()
        assert {name for name in after if after[name] != before[name]} == {
            "orders",
            "audit_log",
            "audit_log_default",
        }


async def test_the_database_is_what_the_models_declare(any_scratch: Scratch) -> None:
    manager = any_scratch.manager()
    await manager.run_migrations()
    assert await manager.check() == []


async def test_every_table_column_constraint_index_and_comment_is_what_the_models_declare(
    any_postgres_server: PostgresServer,
) -> None:
    with scratch_database(any_postgres_server) as migrated, scratch_database(any_postgres_server) as declared:
        await migrated.manager().run_migrations()
        engine = create_async_engine(declared.url)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await engine.dispose()
        assert catalog(migrated) == catalog(declared)


@pytest.mark.parametrize(("constraint", "closed_set"), CLOSED_SETS)
def test_each_closed_set_has_the_same_members_in_python_and_in_the_database(
    constraint: str, closed_set: type[StrEnum], migrated: Scratch
) -> None:
    definition = json.loads(migrated.psql(CHECK_CONSTRAINTS))[constraint]
    assert set(re.findall(r"'([^']*)'", definition)) == set(closed_set)


def test_the_functions_are_the_ones_in_the_sql_files(migrated: Scratch) -> None:
    files = {path.stem: path.read_text() for path in (default_script_location() / "sql").glob("*.sql")}
    bodies = json.loads(migrated.psql(FUNCTIONS))
    assert bodies.keys() == files.keys()
    assert {name: text.split("$$")[1] for name, text in files.items()} == bodies


def test_the_triggers_are_the_declared_ones_and_no_others(migrated: Scratch) -> None:
    tables = Base.metadata.tables.values()
    declared = [trigger for table in tables for trigger in triggers_of(table)]
    for table in filter(is_partitioned, tables):
        declared += triggers_of_partition(table, f"{table.name}_default")
    assert sorted(migrated.psql(TRIGGERS).splitlines()) == sorted(
        f"CREATE {'CONSTRAINT ' * each.deferred}TRIGGER {each.name} {each.events} ON public.{each.table}"
        f" {'DEFERRABLE INITIALLY DEFERRED ' * each.deferred}FOR EACH {each.per}"
        f" EXECUTE FUNCTION {each.function}({', '.join(map(repr, each.arguments))})"
        for each in declared
    )


def test_every_versioned_table_has_its_version_raised(migrated: Scratch) -> None:
    versioned = {name for name, table in Base.metadata.tables.items() if "row_version" in table.columns}
    raising = re.compile(r"raise_row_version BEFORE UPDATE ON public\.(\w+) FOR EACH ROW")
    assert set(raising.findall(migrated.psql(TRIGGERS))) == versioned


def test_every_partitioned_table_has_a_default_partition(migrated: Scratch) -> None:
    partitioned = sorted(name for name, table in Base.metadata.tables.items() if is_partitioned(table))
    assert migrated.psql(DEFAULT_PARTITIONS).splitlines() == [
        f"{name}|{name}_default" for name in partitioned
    ]


def test_an_update_in_raw_sql_raises_the_row_version(migrated: Scratch) -> None:
    migrated.psql("INSERT INTO accounts (account_id) VALUES ('raw')")
    version = "SELECT row_version, updated_at > created_at FROM accounts WHERE account_id = 'raw'"
    assert migrated.psql(version) == "1|f"
    migrated.psql("UPDATE accounts SET exchange = 'kraken', row_version = 99 WHERE account_id = 'raw'")
    assert migrated.psql(version) == "2|t"


@pytest.fixture(scope="module")
async def migrated(any_postgres_server: PostgresServer) -> AsyncIterator[Scratch]:
    """A database at the head, for tests that only look."""
    with scratch_database(any_postgres_server) as scratch:
        await scratch.manager().run_migrations()
        yield scratch


@pytest.fixture
def any_scratch(any_postgres_server: PostgresServer) -> Iterator[Scratch]:
    with scratch_database(any_postgres_server) as scratch:
        yield scratch


async def fill_every_table(scratch: Scratch) -> None:
    """At least one row in each."""
    settings = DatabaseSettings()
    async with DatabaseConnectionPool(settings, url=scratch.url) as pool, pool.transaction() as uow:
        await uow.accounts.open_account(DEFAULT_ACCOUNT_ID)
        for mapper in Base.registry.mappers:
            if mapper.class_ not in {Account, AccountLease, SchemaRevision}:  # these have theirs
                uow.session.add(await a_row_of(mapper.class_, uow, **DEMANDS.get(mapper.class_, {})))
                await uow.flush()


def schema(scratch: Scratch) -> str:
    # Alembic keeps its own table, empty, when everything else is undone.
    return scratch.dump("--schema-only", "--exclude-table=alembic_version")


def rows(scratch: Scratch) -> dict[str, str]:
    """The rows of each table, as text."""
    tables = scratch.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split()
    return {table: scratch.psql(f'TABLE "{table}"') for table in tables}
