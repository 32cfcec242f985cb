"""`gal-friday db …`."""

import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from gal_friday.cli.db import app
from gal_friday.config import Settings
from gal_friday.dal.migrations.revisions import default_script_location
from gal_friday.errors import NotFound, SchemaOutdated
from tests.migration.synthetic import HEAD, Scratch


class Db:
    """The commands on one database."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self._settings = Settings(database={"url": SecretStr(scratch.server.url(scratch.name))})

    def run(self, *arguments: str, input: str | None = None) -> Result:  # noqa: A002 -- the runner's own word
        return CliRunner().invoke(app, arguments, obj=self._settings, input=input)

    def output(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def db(scratch: Scratch) -> Db:
    return Db(scratch)


def test_upgrade_says_what_it_applied_and_where_the_database_is(db: Db) -> None:
    output = db.output("upgrade")
    assert f"{HEAD} applied" in output
    assert f"The database is at {HEAD}" in output
    assert "applied" not in db.output("upgrade")


def test_current_counts_what_is_pending(db: Db) -> None:
    assert "no revision yet" in db.output("current")
    assert "pending" in db.output("current")
    db.output("upgrade")
    assert db.output("current") == f"{HEAD} (up to date)\n"


def test_history_marks_what_is_applied(db: Db) -> None:
    assert " no " in db.output("history")
    db.output("upgrade")
    assert " yes " in db.output("history")


def test_downgrade_asks_first(db: Db) -> None:
    db.output("upgrade")
    refused = db.run("downgrade", "base", input="n\n")
    assert refused.exit_code == 1
    assert HEAD in db.output("current")
    accepted = db.run("downgrade", "base", input="y\n")
    assert f"{HEAD} undone" in accepted.stdout
    db.output("upgrade")
    assert f"{HEAD} undone" in db.output("downgrade", "-1", "--yes")


def test_check_lists_differences_and_exits_1(db: Db) -> None:
    db.output("upgrade")
    assert "as the models declare it" in db.output("check")
    db.scratch.psql("DROP INDEX ix_orders_working")
    differing = db.run("check")
    assert differing.exit_code == 1
    assert "add_index orders.ix_orders_working" in differing.stdout


def test_check_says_that_revisions_are_pending(db: Db) -> None:
    assert isinstance(db.run("check").exception, SchemaOutdated)


def test_stamp_records_a_revision(db: Db) -> None:
    assert HEAD in db.output("stamp")
    assert db.output("current") == f"{HEAD} (up to date)\n"


def test_an_unknown_revision_is_an_error(db: Db) -> None:
    assert isinstance(db.run("upgrade", "nowhere").exception, NotFound)


def test_url_masks_the_password() -> None:
    settings = Settings(database={"url": SecretStr("postgresql://bot:hunter2@db.example:5433/trading")})
    result = CliRunner().invoke(app, ["url"], obj=settings)
    assert result.stdout == "postgresql://bot:***@db.example:5433/trading\n"


def test_revision_prints_the_file_it_wrote(db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "alembic_env"
    shutil.copytree(default_script_location(), copy)
    monkeypatch.setattr("gal_friday.dal.migrations.migration_manager.default_script_location", lambda: copy)
    db.output("upgrade")
    path = Path(db.output("revision", "-m", "nothing yet", "--empty").strip())
    assert path.parent == copy / "versions"
    assert path.name.endswith("_nothing_yet.py")
