"""The `alembic` command, SQL for a database administrator, and migrations out of an installed wheel."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from alembic import command

import gal_friday
from gal_friday.dal.migrations.alembic_configuration import alembic_config
from gal_friday.dal.migrations.revisions import default_script_location
from tests.embedded_servers import a_data_directory
from tests.migration.synthetic import HEAD, Scratch, SyntheticRevisions, scratch_database
from tests.servers import PostgresServer

CHECKOUT = Path(__file__).parents[2]


def alembic(*arguments: str, cwd: Path, **environment: str) -> str:
    """Output of `alembic` in another directory than the checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "--config", CHECKOUT / "alembic.ini", *arguments],
        cwd=cwd,
        env={**without_settings(), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GAL_FRIDAY_")}


def test_alembic_upgrades_checks_and_downgrades_the_configured_database(
    scratch: Scratch, tmp_path: Path
) -> None:
    setting = {"GAL_FRIDAY_DATABASE__URL": scratch.server.url(scratch.name)}
    alembic("upgrade", "head", cwd=tmp_path, **setting)
    assert HEAD in alembic("current", cwd=tmp_path, **setting)
    assert "No new upgrade operations" in alembic("check", cwd=tmp_path, **setting)
    alembic("downgrade", "base", cwd=tmp_path, **setting)
    assert scratch.psql("SELECT to_regclass('orders')") == ""


def test_alembic_without_a_url_starts_a_server_of_its_own(tmp_path: Path) -> None:
    with a_data_directory() as directory:
        setting = {"GAL_FRIDAY_EMBEDDED__DATA_DIRECTORY": str(directory)}
        alembic("upgrade", "head", cwd=tmp_path, **setting)
        assert HEAD in alembic("current", cwd=tmp_path, **setting)


async def test_the_sql_it_prints_makes_the_same_schema(
    scratch: Scratch, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    up, down = tmp_path / "up.sql", tmp_path / "down.sql"
    up.write_text(alembic("upgrade", "head", "--sql", cwd=tmp_path))
    with scratch_database(postgres_server) as migrated:
        await migrated.manager().run_migrations()
        scratch.psql(up)
        assert scratch.dump("--schema-only") == migrated.dump("--schema-only")
    assert await scratch.manager().current() == HEAD
    recorded = scratch.psql("SELECT revision, applied_by FROM schema_revisions")
    assert recorded.splitlines()[-1] == f"{HEAD}|{gal_friday.__version__}"
    await scratch.manager().check_compatibility()

    down.write_text(alembic("downgrade", f"{HEAD}:base", "--sql", cwd=tmp_path))
    scratch.psql(down)
    left = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert set(scratch.psql(left).split()) <= {"alembic_version", "alembic_version_pkc"}


def test_the_sql_it_prints_builds_indexes_concurrently(migrated: Scratch, tmp_path: Path) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    newer.add(
        "note_index",
        "operations.create_index_concurrently('ix_note', 'accounts', ['halt_reason'])",
        "operations.drop_index_concurrently('ix_note', 'accounts')",
    )
    for script in (
        sql_of(command.upgrade, f"{HEAD}:head", newer),
        sql_of(command.downgrade, "head:-1", newer),
    ):
        statements = tmp_path / "script.sql"
        statements.write_text(script)
        migrated.server.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", statements, migrated.name)
        built = migrated.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_note')")
        recorded = migrated.psql("SELECT true FROM schema_revisions WHERE revision = 'note_index'")
        assert (built, recorded) == (("t", "t") if "CREATE INDEX" in script else ("", ""))


def sql_of(run: Callable[..., None], revisions: str, newer: SyntheticRevisions) -> str:
    config = alembic_config(default_script_location(), newer.version_locations)
    config.output_buffer = output = io.StringIO()
    run(config, revisions, sql=True)
    return output.getvalue()


def test_migrations_are_found_in_an_installed_package(scratch: Scratch, tmp_path: Path) -> None:
    site = tmp_path / "site packages 100%"
    package = Path(gal_friday.__file__).parent
    skipped = shutil.ignore_patterns("__pycache__", "_alembic")
    shutil.copytree(package, site / "gal_friday", ignore=skipped)
    shutil.copytree(default_script_location(), site / "gal_friday" / "_alembic", ignore=skipped)
    program = """
import asyncio, sys
from sqlalchemy.engine import make_url
from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager
async def main():
    manager = MigrationManager(make_url(sys.argv[1]), DatabaseSettings())
    report = await manager.run_migrations()
    print(report.to_revision, await manager.check(), (await manager.history())[-1].path)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, scratch.server.url(scratch.name)],
        cwd=tmp_path,
        env={**without_settings(), "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    revision, differences, path = done.stdout.strip().split(" ", 2)
    assert (revision, differences) == (HEAD, "[]")
    assert path.startswith(str(site / "gal_friday" / "_alembic"))
