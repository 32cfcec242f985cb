"""`gal-friday journal`."""

import json
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import URL
from typer.testing import CliRunner, Result

from gal_friday.cli import app
from gal_friday.config import DatabaseSettings, JournalSettings, Settings
from gal_friday.dal.execution import FillResult
from gal_friday.dal.journal.slots import directory_name
from gal_friday.dal.models import Order
from gal_friday.database import open_database
from tests.commands import gal_friday
from tests.factories import a_fill, a_strategy, an_order
from tests.journaling import a_log
from tests.network import Gate
from tests.replays import opened


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAL_FRIDAY_JOURNAL__DIRECTORY", str(tmp_path / "journal"))
    return tmp_path / "journal"


async def left_behind(url: URL, directory: Path) -> Order:
    """Three facts in the journal of the database at *url*, one of an unknown account; their order."""
    async with Gate(url) as gate:
        settings = Settings(
            database=DatabaseSettings(
                url=gate.url.render_as_string(hide_password=False), migrate_on_open=False
            ),
            journal=JournalSettings(directory=directory, patience_seconds=1),
        )
        async with open_database(settings) as db:
            order: Order = await db.orders.add(an_order(await db.strategies.add(a_strategy())))
            gate.shut()
            for fill in (
                a_fill(order, fill_id="first"),
                a_fill(order, fill_id="of nobody", account_id="nobody", order_id=None),
                a_fill(order, fill_id="last"),
            ):
                assert (await db.execution.apply_fill(fill)).result is FillResult.JOURNALED
        (directory / directory_name(gate.url)).rename(directory / directory_name(url))
    return order


def shown(tmp_path: Path, *arguments: str) -> Result:
    """What a command prints that needs no database."""
    (tmp_path / "nothing.toml").touch()
    return CliRunner().invoke(app, ["--db-config", str(tmp_path / "nothing.toml"), "journal", *arguments])


def drain(url: URL, tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return gal_friday(url, tmp_path, "journal", "drain", *arguments)


async def test_what_waits_is_shown_exported_and_brought_to_the_database(
    database_url: URL, directory: Path, tmp_path: Path
) -> None:
    order = await left_behind(database_url, directory)
    status = shown(tmp_path, "status")
    assert status.exit_code == 0, status.output
    assert directory_name(database_url) in status.stdout
    assert [cell.strip() for cell in status.stdout.splitlines()[-2].split("│")[1:4]] == ["0", "ended", "3"]
    exported = shown(tmp_path, "export")
    facts = [json.loads(line)["fact"] for line in exported.stdout.splitlines()]
    assert [fact["data"]["fill_id"] for fact in facts] == ["first", "of nobody", "last"]
    assert {fact["kind"] for fact in facts} == {"fill"}

    drained = drain(database_url, tmp_path)
    assert (drained.returncode, drained.stdout) == (1, "2 applied, 0 known already, 1 refused.\n")
    assert "1 refused: " in shown(tmp_path, "status").stdout
    (refused,) = shown(tmp_path, "export", "--refused").stdout.splitlines()
    assert json.loads(refused)["fact"]["data"]["fill_id"] == "of nobody"
    assert "nobody" in json.loads(refused)["reason"]

    async with opened(database_url) as db:
        assert (await db.orders.one(order.id)).filled_quantity == order.quantity
        await db.accounts.open_account("nobody")
    again = drain(database_url, tmp_path, "--refused")
    assert (again.returncode, again.stdout) == (0, "1 applied, 0 known already, 0 refused.\n")
    assert shown(tmp_path, "export").stdout == ""


async def test_facts_of_a_database_that_has_moved_are_brought_to_where_it_is(
    database_url: URL, directory: Path, tmp_path: Path
) -> None:
    await left_behind(database_url, directory)
    elsewhere = (directory / directory_name(database_url)).rename(directory / "elsewhere")
    assert drain(database_url, tmp_path).stdout == "0 applied, 0 known already, 0 refused.\n"
    moved = drain(database_url, tmp_path, "--from", str(elsewhere))
    assert moved.stdout == "2 applied, 0 known already, 1 refused.\n"
    assert drain(database_url, tmp_path, "--from", str(directory / "nowhere")).returncode == 2


async def test_damage_is_shown_and_what_lies_around_it_exported(
    database_url: URL, directory: Path, tmp_path: Path
) -> None:
    slot = directory / directory_name(database_url) / "0"
    async with a_log(slot) as log:
        for number in range(3):
            await log.append([json.dumps({"number": number}).encode()])
        (segment,) = slot.glob("*.log")
        assert str(log.pending) == "3"
        state = shown(tmp_path, "status").stdout
        assert "ended" not in state
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b'{"number": 1}', b'{"number": 7}'))
    status = shown(tmp_path, "status")
    assert status.exit_code == 1
    assert f"file={str(segment)!r}" in status.stdout
    exported = [json.loads(line)["fact"] for line in shown(tmp_path, "export").stdout.splitlines()]
    assert exported == [{"number": 0}, {"number": 2}]
    drained = drain(database_url, tmp_path)
    assert (drained.returncode, drained.stdout) == (1, "0 applied, 0 known already, 0 refused.\n")


def test_an_empty_journal_says_so(directory: Path, tmp_path: Path) -> None:
    assert shown(tmp_path, "status").stdout == "Nothing waits.\n"
    assert not directory.exists()
