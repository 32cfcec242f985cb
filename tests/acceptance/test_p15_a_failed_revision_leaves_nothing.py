"""P15: a failed revision leaves the schema as it was before that revision, and says why."""

from pathlib import Path

import pytest

from gal_friday.errors import MigrationFailed
from tests.migration.synthetic import HEAD, SyntheticRevisions, scratch_database
from tests.servers import PostgresServer

MAKES_A_TABLE = "op.create_table('half_done', sa.Column('id', sa.Integer(), primary_key=True))"


async def test_a_revision_that_fails_half_way_leaves_the_schema_of_the_one_before(
    any_postgres_server: PostgresServer, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    fine = newer.add("fine", "op.create_table('fine', sa.Column('id', sa.Integer(), primary_key=True))")
    with scratch_database(any_postgres_server) as scratch:
        await newer.manager(scratch.url).run_migrations()
        before = scratch.dump()
        failing = newer.add(
            "failing",
            f"{MAKES_A_TABLE}\nop.execute('ALTER TABLE orders DROP COLUMN side')\nop.execute('SELECT 1/0')",
        )

        with pytest.raises(MigrationFailed) as caught:
            await newer.manager(scratch.url).run_migrations()

        assert scratch.dump() == before
        assert "division by zero" in str(caught.value)
        facts = caught.value.facts
        assert (facts["revision"], facts["schema_stays_at"]) == (failing, fine)
        assert (facts["sqlstate"], facts["statement"]) == ("22012", "SELECT 1/0")


async def test_the_revisions_before_the_failing_one_stay(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    fine = newer.add("fine", "op.create_table('fine', sa.Column('id', sa.Integer(), primary_key=True))")
    newer.add("failing", f"{MAKES_A_TABLE}\nraise RuntimeError('not today')")
    newer.add("never_tried", "op.create_table('never', sa.Column('id', sa.Integer(), primary_key=True))")
    with scratch_database(postgres_server) as scratch:
        manager = newer.manager(scratch.url)
        with pytest.raises(MigrationFailed, match="RuntimeError: not today") as caught:
            await manager.run_migrations()
        assert caught.value.facts["schema_stays_at"] == fine
        assert await manager.current() == fine
        assert (
            scratch.psql("SELECT to_regclass('fine'), to_regclass('half_done'), to_regclass('never')")
            == "fine||"
        )


async def test_the_very_first_revision_failing_leaves_an_empty_database(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    first = SyntheticRevisions(tmp_path / "versions", after=None)
    first.add("failing", f"{MAKES_A_TABLE}\nop.execute('SELECT * FROM nowhere')")
    with scratch_database(postgres_server) as scratch:
        before = scratch.dump()
        with pytest.raises(MigrationFailed, match='relation "nowhere" does not exist') as caught:
            await first.manager(scratch.url).run_migrations()
        assert scratch.dump() == before
        assert caught.value.facts["schema_stays_at"] is None


async def test_a_failed_rollback_leaves_the_schema_as_it_was(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    stuck = newer.add("stuck", MAKES_A_TABLE, "op.drop_table('half_done')\nop.drop_table('half_done')")
    with scratch_database(postgres_server) as scratch:
        manager = newer.manager(scratch.url)
        await manager.run_migrations()
        before = scratch.dump()
        with pytest.raises(MigrationFailed) as caught:
            await manager.rollback(HEAD)
        assert scratch.dump() == before
        assert (caught.value.facts["revision"], caught.value.facts["schema_stays_at"]) == (stuck, stuck)


async def test_once_mended_the_revision_is_applied(postgres_server: PostgresServer, tmp_path: Path) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    with scratch_database(postgres_server) as scratch:
        failing = newer.add("mended", f"{MAKES_A_TABLE}\nop.execute('SELECT 1/0')")
        with pytest.raises(MigrationFailed):
            await newer.manager(scratch.url).run_migrations()
        mended = SyntheticRevisions(newer.directory)
        mended.add("mended", MAKES_A_TABLE)
        report = await mended.manager(scratch.url).run_migrations()
        assert report.revisions == (failing,)
