"""`gal-friday verify` and `gal-friday rebuild`."""

import io
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console
from sqlalchemy import URL, text

from gal_friday.cli.progress import progress
from gal_friday.dal.models import Side
from gal_friday.database import Database
from tests.commands import gal_friday
from tests.factories import MINUTE, NOON, a_fill, a_strategy, an_order


@pytest.fixture
async def position_id(database: Database) -> UUID:
    """A position whose second entry happened after its exit and was applied before it."""
    async with database.transaction() as uow:
        strategy = await uow.strategies.add(a_strategy())
        buy = await uow.orders.add(an_order(strategy))
        sell = await uow.orders.add(an_order(strategy, side=Side.SELL))
        outcomes = await uow.execution.apply_fills(
            [
                a_fill(buy, fill_price=Decimal(100), filled_at=NOON, commission=Decimal(1)),
                a_fill(buy, fill_price=Decimal(110), filled_at=NOON + 2 * MINUTE, commission=Decimal(1)),
                a_fill(sell, fill_price=Decimal(120), filled_at=NOON + MINUTE, commission=Decimal(1)),
            ]
        )
    (position,) = {outcome.position_id for outcome in outcomes}
    assert position is not None
    return position


@pytest.mark.usefixtures("position_id")
async def test_balanced_books_are_told_and_exit_with_0(database_url: URL, tmp_path: Path) -> None:
    for options in ((), ("--account", "default")):
        done = gal_friday(database_url, tmp_path, "verify", *options)
        assert done.returncode == 0, done.stderr
        assert done.stdout == (
            "The books balance (positions: 1, trades: 1, orders: 2; fills: 3, cash flows: 1).\n"
        )
        assert "verifying: 3 of 3 fills\n" in done.stderr


async def test_every_difference_is_printed_whole_and_the_exit_code_is_1(
    position_id: UUID, database: Database, database_url: URL, tmp_path: Path
) -> None:
    async with database.transaction() as uow:
        await uow.session.execute(
            text("UPDATE positions SET cost = cost + 0.000000000000000000000000000000000001")
        )
        await uow.session.execute(text("UPDATE orders SET commission_by_asset = '{}' WHERE side = 'BUY'"))
    done = gal_friday(database_url, tmp_path, "verify")
    assert done.returncode == 1
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines()]
    rows = [line for line in lines if line]
    assert rows[0] == [
        *("positions", str(position_id), "cost"),
        *("105.000000000000000000000000000000000001", "105"),
    ]
    assert (rows[1][0], *rows[1][2:]) == ("orders", "commission_by_asset", "{}", '{"USD": "2"}')
    assert len(rows) == 2
    assert "do not balance: differences: 2 (positions: 1" in done.stdout


async def test_an_unknown_account_is_an_error(database_url: URL, tmp_path: Path) -> None:
    done = gal_friday(database_url, tmp_path, "verify", "--account", "nobody")
    assert done.returncode == 1
    assert "No such row" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_rebuilt_position_is_told_with_what_was_booked(
    position_id: UUID, database: Database, database_url: URL, tmp_path: Path
) -> None:
    done = gal_friday(database_url, tmp_path, "rebuild", str(position_id), "--actor", "alice")
    assert done.returncode == 0, done.stderr
    (adjustment,) = await database.cash_flows.of_position(position_id)
    assert done.stdout == (
        "3 fills in the order they happened in.\n"
        "Realised so far: 15 USD\n"
        "In that order:   20 USD\n"
        f"Booked +5 USD as adjustment {adjustment.id}, number 4 of the position.\n"
    )
    entries = (await database.audit.search(table="positions", key=position_id)).items
    assert entries[-1].actor == "alice"
    again = gal_friday(database_url, tmp_path, "rebuild", str(position_id))
    assert again.stdout.splitlines()[1:] == [
        "Realised so far: 20 USD",
        "In that order it is the same; nothing was booked.",
    ]
    assert gal_friday(database_url, tmp_path, "verify").returncode == 0


async def test_a_position_that_does_not_balance_is_not_rebuilt(
    position_id: UUID, database: Database, database_url: URL, tmp_path: Path
) -> None:
    async with database.transaction() as uow:
        await uow.session.execute(text("UPDATE positions SET realized_pnl = 7"))
    done = gal_friday(database_url, tmp_path, "rebuild", str(position_id))
    assert done.returncode == 1
    assert "positions.realized_pnl" in done.stderr
    assert "Try: gal-friday verify" in done.stderr
    assert await database.cash_flows.of_position(position_id) == []


@pytest.mark.parametrize(("position", "code"), [(str(UUID(int=7)), 1), ("first", 2)])
async def test_a_position_that_is_not_there_is_an_error(
    database_url: URL, tmp_path: Path, position: str, code: int
) -> None:
    done = gal_friday(database_url, tmp_path, "rebuild", position)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_is_a_bar_for_a_person_and_lines_for_a_log(is_terminal: bool) -> None:
    out = io.StringIO()
    with progress(Console(file=out, force_terminal=is_terminal), "verifying", 40, "fills") as report:
        for done in range(41):
            report(done)
    if is_terminal:
        assert "━" in out.getvalue()
        assert "40/40" in out.getvalue()
    else:
        lines = out.getvalue().splitlines()
        assert (lines[0], lines[-1], len(lines)) == (
            "verifying: 0 of 40 fills",
            "verifying: 40 of 40 fills",
            11,
        )


def test_nothing_to_do_is_no_error() -> None:
    out = io.StringIO()
    with progress(Console(file=out), "verifying", 0, "fills") as report:
        report(0)
    assert out.getvalue() == "verifying: 0 of 0 fills\n"
