"""A boot at the head: one question, without Alembic; and the command that only asks it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.connections import asking_connection
from gal_friday.dal.migrations.head_check import INDIFFERENT, head_if_there
from gal_friday.errors import ConnectionLost, ConnectionRejected, DatabaseError, SchemaOutdated
from tests.migration.synthetic import HEAD, Scratch, SyntheticRevisions
from tests.servers import a_port_nobody_listens_at

ROOT = Path(__file__).parents[2]
#: Settings that change how a connection is opened: with one of them the full command asks.
TELLING = {
    "URL",
    "MIGRATION_URL",
    "CONNECT_TIMEOUT_SECONDS",
    "SSL_MODE",
    "SSL_ROOT_CERTIFICATE",
    "SSL_CERTIFICATE",
    "SSL_KEY",
    "SERVER_SETTINGS",
    "PGBOUNCER",
}
BOOT = """
import asyncio, sys
from gal_friday import open_database

async def boot():
    async with open_database() as db:
        assert await db.accounts.get("default")

asyncio.run(boot())
print("alembic" in sys.modules)
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(scratch: Scratch, tmp_path: Path) -> Run:
    """Runs Python in an empty directory, with settings that name the scratch database."""

    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        named = {"GAL_FRIDAY_DATABASE__URL": scratch.server.url(scratch.name), **settings}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                **{name: text for name, text in named.items() if text},
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Sets variables of the environment, in a directory without an .env."""
    monkeypatch.chdir(tmp_path)

    def configure(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"GAL_FRIDAY_DATABASE__{name}", value)

    return configure


@pytest.mark.usefixtures("migrated")
def test_opening_a_database_at_the_head_does_not_import_alembic(run: Run) -> None:
    booted = run("-c", BOOT)
    assert (booted.stdout, booted.returncode) == ("False\n", 0), booted.stderr


@pytest.mark.usefixtures("migrated")
def test_at_the_head_the_command_answers_with_a_driver_alone(run: Run) -> None:
    answered = run("-X", "importtime", "-m", "gal_friday", "db", "check", "--at-head")
    assert (answered.stdout, answered.returncode) == (f"The database is at {HEAD}.\n", 0)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in answered.stderr.splitlines()}
    assert "asyncpg" in imported
    assert imported.isdisjoint({"sqlalchemy", "alembic", "pydantic", "typer", "rich", "dotenv"})


def test_elsewhere_it_says_why_and_exits_with_1(run: Run) -> None:
    answered = run("-m", "gal_friday", "db", "check", "--at-head")
    assert (answered.stdout, answered.returncode) == ("", 1)
    assert HEAD in answered.stderr
    assert "gal-friday db upgrade" in answered.stderr


@pytest.mark.usefixtures("migrated")
def test_settings_that_take_more_reading_lead_to_the_same_answer(run: Run) -> None:
    command = ("-m", "gal_friday", "db", "check", "--at-head")
    answered = run(*command, GAL_FRIDAY_DATABASE__SSL_MODE="disable")
    assert (answered.stdout, answered.returncode) == (f"The database is at {HEAD}.\n", 0)


def test_every_setting_of_the_database_is_known_to_matter_or_not() -> None:
    assert not INDIFFERENT & TELLING
    assert {name.upper() for name in DatabaseSettings.model_fields} == INDIFFERENT | TELLING


def test_the_url_to_migrate_with_is_the_one_asked(migrated: Scratch, configured: Callable[..., None]) -> None:
    with a_port_nobody_listens_at() as port:
        nowhere = f"postgresql://me@127.0.0.1:{port}/trading"
        configured(URL=nowhere, MIGRATION_URL=migrated.server.url(migrated.name), POOL_SIZE="3")
        assert head_if_there() == HEAD


def test_settings_may_be_in_a_file_and_in_the_environment_which_wins(
    migrated: Scratch, configured: Callable[..., None]
) -> None:
    url = migrated.server.url(migrated.name)
    Path(".env").write_text(f"OTHERS=1\ngal_friday_database__url={url}?sslmode=disable\n")
    assert head_if_there() == HEAD
    Path(".env").write_text("GAL_FRIDAY_DATABASE__URL=postgresql+asyncpg://me@127.0.0.1/nowhere\n")
    configured(URL=url.replace("postgresql:", "postgresql+asyncpg:"))
    assert head_if_there() == HEAD


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = 'older'",
        "INSERT INTO alembic_version VALUES ('another')",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
    ],
)
def test_nothing_but_the_newest_revision_is_at_the_head(
    change: str, migrated: Scratch, configured: Callable[..., None]
) -> None:
    configured(URL=migrated.server.url(migrated.name))
    migrated.psql(change)
    assert head_if_there() is None


def test_nothing_is_surely_at_the_head_without_a_url(configured: Callable[..., None]) -> None:
    configured(POOL_SIZE="3")
    assert head_if_there() is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://me@127.0.0.1/trading",
        "postgresql://me@127.0.0.1",
        "postgresql://me@[127.0.0.1/trading",
        "postgresql://me@127.0.0.1:port/trading",
        "postgresql://me@127.0.0.1/trading#part",
        "postgresql://me@127.0.0.1/trading?sslmode=perhaps",
    ],
)
def test_nothing_is_surely_at_the_head_of_what_is_no_plain_url(
    url: str, configured: Callable[..., None]
) -> None:
    configured(URL=url)
    assert head_if_there() is None


def test_nothing_is_surely_at_the_head_of_a_server_that_is_not_there(configured: Callable[..., None]) -> None:
    with a_port_nobody_listens_at() as port:
        configured(URL=f"postgresql://me@127.0.0.1:{port}/trading")
        assert head_if_there() is None


async def ask_after_hanging_up(scratch: Scratch) -> None:
    async with asking_connection(scratch.url, DatabaseSettings()) as connection:
        connection.terminate()
        await connection.fetch("SELECT 1")


async def test_what_goes_wrong_on_the_asking_connection_has_a_name_of_ours(scratch: Scratch) -> None:
    with pytest.raises(DatabaseError):
        async with asking_connection(scratch.url, DatabaseSettings()) as connection:
            await connection.fetch("SELECT no_such_column")
    with pytest.raises(ConnectionLost):
        async with asking_connection(scratch.url, DatabaseSettings()) as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(ConnectionLost):
        await ask_after_hanging_up(scratch)
    with pytest.raises(ConnectionRejected) as caught:
        async with asking_connection(scratch.url.set(database="nowhere"), DatabaseSettings()):
            pass
    assert (caught.value.facts["database"], caught.value.facts["port"]) == ("nowhere", scratch.server.port)


async def test_a_history_that_only_alembic_understands_is_migrated_like_any_other(
    migrated: Scratch, tmp_path: Path
) -> None:
    newer = SyntheticRevisions(tmp_path / "versions")
    revision = newer.add("computed", "pass")
    file = newer.directory / f"{revision}.py"
    file.write_text(file.read_text().replace("oldest_code = '0.1.0'", "oldest_code = '.'.join('010')"))
    manager = newer.manager(migrated.url)
    with pytest.raises(SchemaOutdated):
        await manager.check_compatibility()
    report = await manager.run_migrations()
    assert report.revisions == ("computed",)
    await manager.check_compatibility()
    assert [each.oldest_code for each in await manager.history()][-1] == "0.1.0"
