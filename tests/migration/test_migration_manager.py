"""MigrationManager: what it reports, and which revisions its targets mean."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.errors import ConfigurationError, DatabaseUnavailable, MigrationFailed, NotFound
from tests.migration.synthetic import HEAD, OWN_REVISIONS, Scratch, SyntheticRevisions, scratch_database
from tests.servers import PostgresServer, a_port_nobody_listens_at


@pytest.fixture
def three(tmp_path: Path) -> SyntheticRevisions:
    """Three revisions without an effect, from an empty database."""
    revisions = SyntheticRevisions(tmp_path / "versions", after=None)
    for name in ("first", "second", "third"):
        revisions.add(name, "pass")
    return revisions


async def test_a_report_says_what_was_applied(scratch: Scratch) -> None:
    report = await scratch.manager().run_migrations()
    assert (report.from_revision, report.to_revision) == (None, HEAD)
    assert report.revisions == tuple(OWN_REVISIONS)
    assert 0 <= report.waited_seconds <= report.seconds
    again = await scratch.manager().run_migrations()
    assert (again.from_revision, again.to_revision, again.revisions) == (HEAD, HEAD, ())


@pytest.mark.parametrize(
    ("target", "applied"),
    [
        ("head", ["first", "second", "third"]),
        ("second", ["first", "second"]),
        ("sec", ["first", "second"]),
        ("+1", ["first"]),
        ("+3", ["first", "second", "third"]),
        ("base", []),
    ],
)
async def test_upgrading_to(
    target: str, applied: list[str], scratch: Scratch, three: SyntheticRevisions
) -> None:
    report = await three.manager(scratch.url).run_migrations(target)
    assert list(report.revisions) == applied


@pytest.mark.parametrize(
    ("target", "undone"),
    [
        ("base", ["third", "second", "first"]),
        ("first", ["third", "second"]),
        ("-1", ["third"]),
        ("third", []),
    ],
)
async def test_rolling_back_to(
    target: str, undone: list[str], scratch: Scratch, three: SyntheticRevisions
) -> None:
    manager = three.manager(scratch.url)
    await manager.run_migrations()
    report = await manager.rollback(target)
    assert list(report.revisions) == undone
    assert await manager.current() == report.to_revision
    assert [each.id for each in await manager.pending()] == undone[::-1]


@pytest.mark.parametrize("target", ["nowhere", "", "+4", "-1", "; DROP TABLE orders"])
async def test_an_unknown_target_is_an_error_that_lists_the_known_ones(
    target: str, scratch: Scratch, three: SyntheticRevisions
) -> None:
    with pytest.raises(NotFound) as caught:
        await three.manager(scratch.url).run_migrations(target)
    assert caught.value.facts["known"] == ["first", "second", "third"]


async def test_the_history_says_what_is_applied(scratch: Scratch, three: SyntheticRevisions) -> None:
    manager = three.manager(scratch.url)
    await manager.run_migrations("second")
    history = await manager.history()
    assert [(each.id, each.previous, each.is_applied) for each in history] == [
        ("first", None, True),
        ("second", "first", True),
        ("third", "second", False),
    ]
    assert {each.oldest_code for each in history} == {"0.1.0"}


async def test_two_revisions_after_the_same_one_are_an_error(
    scratch: Scratch, three: SyntheticRevisions
) -> None:
    SyntheticRevisions(three.directory, after="second").add("fourth", "pass")
    with pytest.raises(MigrationFailed, match="branches"):
        await three.manager(scratch.url).run_migrations()


async def test_a_database_at_two_revisions_at_once_is_an_error(migrated: Scratch) -> None:
    migrated.psql("INSERT INTO alembic_version VALUES ('another')")
    with pytest.raises(MigrationFailed, match="several revisions") as caught:
        await migrated.manager().run_migrations()
    assert caught.value.facts["database_revisions"] == (HEAD, "another")


async def test_a_stamp_records_a_revision_without_running_it(scratch: Scratch) -> None:
    manager = scratch.manager()
    await manager.stamp_db()
    assert await manager.current() == HEAD
    assert scratch.psql("SELECT to_regclass('orders')") == ""
    await manager.stamp_db("base")
    assert await manager.current() is None


async def test_a_stamp_replaces_a_revision_nobody_knows_and_its_record(migrated: Scratch) -> None:
    migrated.psql("UPDATE alembic_version SET version_num = 'who_knows'")
    migrated.psql("INSERT INTO schema_revisions VALUES ('who_knows', '9.0.0', now(), '9.0.0')")
    await migrated.manager().stamp_db()
    assert await migrated.manager().current() == HEAD
    assert migrated.psql("SELECT string_agg(revision, ' ') FROM schema_revisions") == " ".join(OWN_REVISIONS)


async def test_managers_of_one_process_do_not_get_in_each_others_way(postgres_server: PostgresServer) -> None:
    with scratch_database(postgres_server) as one, scratch_database(postgres_server) as other:
        reports = await asyncio.gather(
            *(scratch.manager().run_migrations() for scratch in (one, other, one, other))
        )
        assert [len(report.revisions) for report in reports].count(0) == 2
        assert one.dump("--schema-only") == other.dump("--schema-only")


async def test_a_server_that_is_not_there_is_an_error_naming_where_it_was_looked_for() -> None:
    with a_port_nobody_listens_at() as port:
        url = URL.create("postgresql", "postgres", host="127.0.0.1", port=port, database="x")
        manager = MigrationManager(url, DatabaseSettings(retry_timeout_seconds=0.1))
        with pytest.raises(DatabaseUnavailable) as caught:
            await manager.run_migrations()
    assert caught.value.facts["port"] == port


async def test_a_server_that_is_still_starting_is_waited_for(breakable_server: PostgresServer) -> None:
    breakable_server.create_database("late")
    scratch = Scratch(breakable_server, "late")
    breakable_server.stop()
    waiting = asyncio.create_task(scratch.manager().run_migrations())
    await asyncio.to_thread(breakable_server.start)
    report = await waiting
    assert report.to_revision == HEAD


async def test_migrating_through_pgbouncer_is_refused_with_the_setting_to_change(scratch: Scratch) -> None:
    manager = MigrationManager(scratch.url, DatabaseSettings(pgbouncer=True))
    with pytest.raises(ConfigurationError) as caught:
        await manager.run_migrations()
    assert caught.value.facts["variable"] == "GAL_FRIDAY_DATABASE__MIGRATION_URL"
