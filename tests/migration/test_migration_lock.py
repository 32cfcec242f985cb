"""The lock: who waits, for how long, and what happens when its holder goes away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.connections import exclusive_connection, migration_engine
from gal_friday.dal.migrations.migration_lock import LOCK_KEY, migration_lock
from gal_friday.errors import ConnectionLost, MigrationLockTimeout
from tests.migration.synthetic import HEAD, Scratch, SyntheticRevisions
from tests.waiting import until

ASKS_FOR_THE_HOLDER = """
    SELECT true FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'gal_friday'
    AND query LIKE '%pg_stat_activity AS activity USING (pid)%'
"""


@asynccontextmanager
async def another_process_migrates(scratch: Scratch) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(
        scratch.server.url(scratch.name), server_settings={"application_name": "the other bot"}
    )
    try:
        assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY)
        yield connection
    finally:
        await connection.close()


async def test_waiting_too_long_is_an_error_that_names_the_holder(scratch: Scratch) -> None:
    async with another_process_migrates(scratch) as holder:
        with pytest.raises(MigrationLockTimeout) as caught:
            await scratch.manager(migration_wait_seconds=0.3).run_migrations()
        assert caught.value.facts["pid"] == holder.get_server_pid()
        assert caught.value.facts["application_name"] == "the other bot"


async def test_the_lock_is_taken_as_soon_as_it_is_free(scratch: Scratch) -> None:
    async with another_process_migrates(scratch):
        waiting = asyncio.create_task(scratch.manager().run_migrations())
        await until(lambda: holds(scratch, ASKS_FOR_THE_HOLDER), "the manager to ask for the holder")
    report = await waiting
    assert report.to_revision == HEAD
    assert report.waited_seconds > 0


async def test_a_waiting_process_holds_no_snapshot(scratch: Scratch) -> None:
    async with another_process_migrates(scratch):
        waiting = asyncio.create_task(scratch.manager().run_migrations())
        await until(lambda: holds(scratch, ASKS_FOR_THE_HOLDER), "the manager to ask for the holder")
        # Seen at rest between two polls, not in a transaction.
        idle = """
            SELECT true FROM pg_stat_activity WHERE state = 'idle' AND backend_xmin IS NULL
            AND datname = current_database() AND application_name = 'gal_friday'
        """
        await until(lambda: holds(scratch, idle), "the manager to be idle")
    await waiting


async def test_a_schema_up_to_date_needs_no_lock(migrated: Scratch) -> None:
    async with another_process_migrates(migrated):
        report = await migrated.manager(migration_wait_seconds=0.1).run_migrations()
        assert report.waited_seconds == 0
        assert await migrated.manager().check() == []


async def test_a_revision_is_broken_off_when_the_lock_is_lost(migrated: Scratch, tmp_path: Path) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add(
        "slow", "op.add_column('orders', sa.Column('note', sa.Text()))\nop.execute('SELECT pg_sleep(60)')"
    )
    before = migrated.dump()
    migration = asyncio.create_task(newer.manager(migrated.url).run_migrations())
    sleeps = "SELECT true FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    await until(lambda: holds(migrated, sleeps), "the revision to run")

    migrated.psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

    with pytest.raises(ConnectionLost, match="migration lock"):
        await migration
    assert migrated.dump() == before


async def test_the_lock_is_free_after_a_failure(scratch: Scratch) -> None:
    engine = migration_engine(scratch.url, DatabaseSettings())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with migration_lock(engine, wait_seconds=5):
                raise ZeroDivisionError


async def test_cancelling_a_migration_undoes_its_revision_and_frees_the_lock(
    migrated: Scratch, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add(
        "slow", "op.add_column('orders', sa.Column('note', sa.Text()))\nop.execute('SELECT pg_sleep(60)')"
    )
    before = migrated.dump()
    migration = asyncio.create_task(newer.manager(migrated.url).run_migrations())
    sleeps = "SELECT true FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    await until(lambda: holds(migrated, sleeps), "the revision to run")

    migration.cancel()

    with pytest.raises(asyncio.CancelledError):
        await migration
    await until(
        lambda: holds(migrated, "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'"), "freed"
    )
    assert migrated.dump() == before


async def test_a_connection_for_migrations_is_never_timed_out_and_never_queues_long(scratch: Scratch) -> None:
    settings = DatabaseSettings(server_settings={"search_path": "public", "lock_timeout": "9min"})
    async with exclusive_connection(scratch.url, settings) as (connection, _):
        shown = await connection.exec_driver_sql(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
            " current_setting('idle_in_transaction_session_timeout'), current_setting('search_path')"
        )
        assert shown.one() == ("0", "2s", "0", "public")


async def holds(scratch: Scratch, question: str) -> bool:
    return (await asyncio.to_thread(scratch.psql, question)) == "t"
