"""P17: migrations do not stop trading, and code of the wrong age is told so."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest

import gal_friday
from gal_friday.errors import MigrationFailed, SchemaOutdated, SchemaTooNew
from tests.migration.synthetic import HEAD, Scratch, SyntheticRevisions, scratch_database
from tests.servers import PostgresServer
from tests.waiting import until

#: A statement waits two seconds for its lock; the rest is this machine's, be it slow and busy.
LONGEST_WAIT_SECONDS = 8.0

ADD_ACCOUNT = "INSERT INTO accounts (account_id) VALUES (gen_random_uuid()::text)"
DUPLICATES = "INSERT INTO accounts (account_id, exchange) VALUES ('one', 'kraken'), ('two', 'kraken')"
UNIQUE_INDEX = "operations.create_index_concurrently('ux_exchange', 'accounts', ['exchange'], unique=True)"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ux_exchange')"


async def test_a_migration_waits_for_a_long_transaction_without_keeping_writers_waiting(
    migrated: Scratch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add("blocked", "op.add_column('accounts', sa.Column('note', sa.Text()))")
    async with connected(migrated) as holder, connected(migrated) as writer:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(ADD_ACCOUNT)
        migration = asyncio.create_task(newer.manager(migrated.url).run_migrations())
        waits = []
        while sum(record.message == "retrying" for record in caplog.records) < 2:
            start = time.monotonic()
            await writer.execute(ADD_ACCOUNT)
            waits.append(time.monotonic() - start)
            assert not migration.done()
        await transaction.commit()
        report = await migration

    assert report.revisions == ("blocked",)
    assert 1.0 < max(waits) < LONGEST_WAIT_SECONDS


async def test_a_migration_gives_up_on_a_transaction_that_never_ends(
    migrated: Scratch, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add("blocked", "op.add_column('accounts', sa.Column('note', sa.Text()))")
    before = migrated.dump()
    async with connected(migrated) as holder, holder.transaction():
        await holder.execute("LOCK TABLE accounts IN ACCESS SHARE MODE")
        with pytest.raises(MigrationFailed, match="lock timeout") as caught:
            await newer.manager(migrated.url, migration_wait_seconds=0.1).run_migrations()
    assert caught.value.facts["sqlstate"] == "55P03"
    assert migrated.dump() == before


async def test_writers_go_on_while_an_index_is_built(migrated: Scratch, tmp_path: Path) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add("index", "operations.create_index_concurrently('ix_note', 'accounts', ['halt_reason'])")
    async with connected(migrated) as holder, connected(migrated) as writer:
        # The build waits for this transaction, which wrote to the table before the build began.
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(ADD_ACCOUNT)
        migration = asyncio.create_task(newer.manager(migrated.url).run_migrations())
        waits_for_others = "SELECT true FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%'"
        await until(lambda: holds(writer, waits_for_others), "the build to wait")
        start = time.monotonic()
        for _ in range(100):
            await writer.execute(ADD_ACCOUNT)
        assert time.monotonic() - start < LONGEST_WAIT_SECONDS
        # Longer than other revisions may wait: nobody queues behind this one.
        await until(lambda: older_than(writer, "2.5 seconds"), "the build to outlast the usual lock timeout")
        assert not migration.done()
        await transaction.commit()
        await migration
        assert await holds(
            writer, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_note')"
        )


async def test_an_invalid_index_left_behind_is_dropped_first(migrated: Scratch, tmp_path: Path) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add("index", UNIQUE_INDEX, "operations.drop_index_concurrently('ux_exchange', 'accounts')")
    migrated.psql(DUPLICATES)
    manager = newer.manager(migrated.url)
    with pytest.raises(MigrationFailed, match="could not create unique index") as caught:
        await manager.run_migrations()
    assert caught.value.facts["schema_stays_at"] == HEAD
    assert migrated.psql(VALID) == "f"

    migrated.psql("UPDATE accounts SET exchange = 'elsewhere' WHERE account_id = 'two'")
    await manager.run_migrations()
    assert migrated.psql(VALID) == "t"
    await manager.rollback("-1")
    assert migrated.psql(VALID) == ""


async def test_an_index_that_was_built_before_the_connection_broke_is_kept(
    migrated: Scratch, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add("index", UNIQUE_INDEX)
    migrated.psql("CREATE UNIQUE INDEX ux_exchange ON accounts (exchange)")
    oid = migrated.psql("SELECT 'ux_exchange'::regclass::oid")
    await newer.manager(migrated.url).run_migrations()
    assert migrated.psql("SELECT 'ux_exchange'::regclass::oid") == oid


async def test_older_code_is_refused_by_a_schema_that_no_longer_serves_it(
    migrated: Scratch, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add("contract", "pass", oldest_code="0.1.0")
    newer.add("expand", "pass", oldest_code="9.10.1")
    await newer.manager(migrated.url).run_migrations()
    before = migrated.dump()

    old = migrated.manager()
    for attempt in (old.run_migrations, old.check_compatibility):
        with pytest.raises(SchemaTooNew) as caught:
            await attempt()
        assert caught.value.facts == {
            "database_revision": "expand",
            "oldest_code": "9.10.1",
            "this_version": gal_friday.__version__,
        }
    with pytest.raises(SchemaTooNew, match="can undo it"):
        await old.rollback("base")
    assert migrated.dump() == before
    assert await old.pending() == []


async def test_older_code_runs_on_a_newer_schema_that_still_serves_it_and_says_so(
    migrated: Scratch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add("expand", "op.add_column('orders', sa.Column('note', sa.Text()))", oldest_code="0.1.0")
    await newer.manager(migrated.url).run_migrations()

    report = await migrated.manager().run_migrations()

    assert (report.from_revision, report.to_revision, report.revisions) == ("expand", "expand", ())
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "newer code" in warning.message
    assert vars(warning)["database_revision"] == "expand"


async def test_a_schema_that_does_not_say_whom_it_serves_is_refused(migrated: Scratch) -> None:
    migrated.psql("UPDATE alembic_version SET version_num = 'who_knows'")
    with pytest.raises(SchemaTooNew, match="does not say"):
        await migrated.manager().run_migrations()
    migrated.psql("DROP TABLE schema_revisions")
    with pytest.raises(SchemaTooNew, match="does not say"):
        await migrated.manager().run_migrations()


async def test_undoing_a_revision_forgets_whom_it_served(migrated: Scratch, tmp_path: Path) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add("expand", "pass", oldest_code="9.0.0")
    await newer.manager(migrated.url).run_migrations()
    await newer.manager(migrated.url).rollback("-1")
    await migrated.manager().check_compatibility()


async def test_where_migrations_are_off_pending_revisions_are_an_error(
    postgres_server: PostgresServer,
) -> None:
    with scratch_database(postgres_server) as scratch, pytest.raises(SchemaOutdated) as caught:
        await scratch.manager().check_compatibility()
    assert caught.value.facts["database_revision"] is None
    assert HEAD in str(caught.value.facts["pending"])


@pytest.fixture
async def migrated(postgres_server: PostgresServer) -> AsyncIterator[Scratch]:
    with scratch_database(postgres_server) as scratch:
        await scratch.manager().run_migrations()
        yield scratch


@asynccontextmanager
async def connected(scratch: Scratch) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(scratch.server.url(scratch.name))
    try:
        yield connection
    finally:
        await connection.close()


async def holds(connection: Any, question: str) -> bool:
    return bool(await connection.fetchval(question))


async def older_than(connection: Any, age: str) -> bool:
    question = """
        SELECT true FROM pg_stat_activity
        WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND clock_timestamp() - query_start > $1::text::interval
    """
    return bool(await connection.fetchval(question, age))
