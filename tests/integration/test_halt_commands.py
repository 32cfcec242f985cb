"""`gal-friday halt`, `resume` and `halts`."""

import getpass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from gal_friday.dal.models import Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import InvalidReference, InvalidValue, NotFound, TradingHalted
from gal_friday.state.halts import Halt, halt, in_force, resume
from tests.commands import gal_friday
from tests.factories import a_strategy, an_order


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    stored: Strategy = await database.strategies.add(a_strategy())
    return stored


async def test_an_account_is_halted_and_goes_on_with_who_and_why_on_record(
    database: Database, database_url: URL, strategy: Strategy, tmp_path: Path
) -> None:
    done = gal_friday(database_url, tmp_path, "halt", "--reason", "the exchange is down", "--by", "alice")
    assert done.returncode == 0, done.stderr
    account: Any = await database.accounts.one("default")
    sentence = f"halted since {account.halted_at.isoformat()} by alice: the exchange is down\n"
    assert done.stdout == f"default is {sentence}"
    with pytest.raises(TradingHalted):
        await database.orders.add(an_order(strategy))
    listed = gal_friday(database_url, tmp_path, "halts")
    assert (listed.returncode, listed.stdout) == (1, f"default is {sentence}")
    done = gal_friday(database_url, tmp_path, "resume", "--reason", "it is back")
    assert done.stdout == f"default goes on. It was {sentence}"
    await database.orders.add(an_order(strategy))
    assert gal_friday(database_url, tmp_path, "halts").stdout == "Nothing is halted in default.\n"
    entries = (await database.logs.search(category="RISK")).items
    assert [(entry.message, entry.user_id) for entry in entries] == [
        ("resumed: it is back", getpass.getuser()),
        ("halted: the exchange is down", "alice"),
    ]
    assert entries[0].context["halted_by"] == "alice"
    changes: Any = (await database.audit.search(table="accounts", actor="alice")).items
    assert changes[-1].after["halt_reason"] == "the exchange is down"


async def test_a_strategy_is_halted_alone_and_what_is_left_in_force_is_told(
    database: Database, database_url: URL, strategy: Strategy, tmp_path: Path
) -> None:
    name = strategy.strategy_id
    done = gal_friday(database_url, tmp_path, "halt", "--strategy", name, "--reason", "it lost too much")
    assert done.stdout.startswith(f"{name} in default is halted since ")
    await database.halts.halt(reason="enough", by="bob")
    done = gal_friday(database_url, tmp_path, "resume", "--reason", "checked", "--strategy", name)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{name} in default goes on. It was halted since ")
    assert second.startswith("default is halted since ")
    assert [each.strategy_id for each in await _in_force(database)] == [None]
    again = gal_friday(database_url, tmp_path, "resume", "--reason", "checked", "--strategy", name)
    assert again.stdout.startswith(f"{name} in default was not halted.\n")


async def test_what_cannot_be_halted_is_an_error(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    done = gal_friday(database_url, tmp_path, "resume", "--reason", "x", "--account", "nobody's")
    assert done.returncode == 1
    assert "No such row" in done.stderr
    assert "Traceback" not in done.stderr
    cases: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"reason": " "}, InvalidValue),
        ({"reason": "x", "account_id": "nobody's"}, NotFound),
        ({"reason": "x", "strategy_id": "nothing"}, InvalidReference),
    ]
    for given, error in cases:
        with pytest.raises(error):
            await database.retrying(partial(halt, by="alice", **given))


async def test_what_is_undone_is_not_on_record(database: Database) -> None:
    async def no_reason(uow: UnitOfWork) -> None:
        await halt(uow, reason="enough", by="alice")
        await resume(uow, reason="", by="alice")

    with pytest.raises(InvalidValue):
        await database.retrying(no_reason)
    assert await _in_force(database) == []
    assert await database.logs.count() == 0


async def _in_force(database: Database) -> list[Halt]:
    async with database.transaction() as uow:
        return list(await in_force(uow))
