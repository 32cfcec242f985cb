"""New revision files: their names, their words, and that they work."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from sqlalchemy.engine import URL, make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.alembic_configuration import alembic_config
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.revisions import MAX_ID_LENGTH, default_script_location
from gal_friday.errors import ConfigurationError, SchemaOutdated
from tests.migration.catalog import catalog
from tests.migration.synthetic import HEAD, OWN_REVISIONS, VERSIONS, Scratch, scratch_database
from tests.servers import PostgresServer

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    directory = tmp_path / "versions"
    directory.mkdir()
    return directory


def generating(scratch: Scratch, *versions: Path) -> MigrationManager:
    return MigrationManager(scratch.url, DatabaseSettings(), version_locations=versions)


def ruff(command: str, *options: str | Path) -> None:
    config = CHECKOUT / "pyproject.toml"
    subprocess.run([sys.executable, "-m", "ruff", command, "--config", config, *options], check=True)


async def test_the_whole_schema_is_generated_from_the_models(
    scratch: Scratch, versions: Path, postgres_server: PostgresServer
) -> None:
    manager = generating(scratch, versions)
    path = await manager.generate_revision("initial schema")
    await manager.run_migrations()
    with scratch_database(postgres_server) as own:
        await own.manager().run_migrations()
        assert catalog(scratch) == catalog(own)
    assert "gal_friday.dal.models" not in path.read_text()
    await manager.rollback("base")
    left = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    assert scratch.psql(left) == "1"  # alembic_version
    assert scratch.psql("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == "0"


async def test_a_revision_file_is_dated_named_and_fit_for_ruff(migrated: Scratch, versions: Path) -> None:
    migrated.psql("ALTER TABLE orders DROP COLUMN quantity CASCADE")
    path = await generating(migrated, VERSIONS, versions).generate_revision("Put the quantity back!")
    assert path.parent == versions
    assert re.fullmatch(r"\d{4}_\d\d_\d\d_\d{4}_put_the_quantity_back\.py", path.name)
    content = path.read_text()
    assert re.search(r'^revision = "\d{4}_put_the_quantity_back"$', content, re.MULTILINE)
    assert f'down_revision = "{HEAD}"' in content
    assert "sa.Numeric(precision=38, scale=18)" in content
    assert 'oldest_code = "' in content
    await asyncio.to_thread(ruff, "check", "--per-file-ignores", "*:D", path)  # as alembic_env/ is
    await asyncio.to_thread(ruff, "format", "--check", path)


async def test_an_empty_revision_needs_no_database(versions: Path) -> None:
    nowhere = MigrationManager(
        URL.create("postgresql", host="nowhere.invalid", database="x"),
        DatabaseSettings(),
        version_locations=[VERSIONS, versions],
    )
    path = await nowhere.generate_revision("by hand", autogenerate=False)
    assert "    pass" in path.read_text()


async def test_generating_from_an_old_database_is_refused(scratch: Scratch, versions: Path) -> None:
    with pytest.raises(SchemaOutdated):
        await generating(scratch, VERSIONS, versions).generate_revision("too early")
    assert await asyncio.to_thread(lambda: list(versions.iterdir())) == []


async def test_a_long_message_makes_an_id_that_fits_its_column(migrated: Scratch, versions: Path) -> None:
    manager = generating(migrated, VERSIONS, versions)
    await manager.generate_revision("a message much longer than any revision id may be", autogenerate=False)
    await manager.run_migrations()
    assert len(str(await manager.current())) <= MAX_ID_LENGTH


def test_all_revision_ids_fit_their_column() -> None:
    assert [revision for revision in OWN_REVISIONS if len(revision) > MAX_ID_LENGTH] == []


def test_alembic_ini_says_what_the_manager_says() -> None:
    from_file = Config(CHECKOUT / "alembic.ini").file_config
    from_code = alembic_config(default_script_location()).file_config
    for name in ("file_template", "timezone", "path_separator"):
        assert from_file.get("alembic", name) == from_code.get("alembic", name)
    assert dict(from_file["post_write_hooks"]) == dict(from_code["post_write_hooks"]) | {
        "here": str(CHECKOUT)
    }


async def test_no_revision_is_written_into_an_installed_package(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    installed = tmp_path / "gal_friday" / "_alembic"
    shutil.copytree(default_script_location(), installed)
    before = sorted(installed.rglob("*.py"))
    manager = MigrationManager(make_url(postgres_server.url()), DatabaseSettings(), script_location=installed)
    with pytest.raises(ConfigurationError, match="checkout"):
        await manager.generate_revision("lost with the next version")
    assert sorted(installed.rglob("*.py")) == before
