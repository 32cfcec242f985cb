"""Money that moves for another reason than a fill moves equity once."""

from decimal import Decimal
from typing import Any

import pytest

from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, CashFlow, CashFlowKind, PortfolioState
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, AppendOnlyViolated, InvalidReference, InvalidValue
from tests.concurrency import at_once
from tests.factories import NOON, a_cash_flow, a_position, a_strategy

D = Decimal
TASKS = 16
OTHER = "other"
AMOUNTS = {
    CashFlowKind.DEPOSIT: D("250.000000000000000001"),
    CashFlowKind.WITHDRAWAL: D("-99.5"),
    CashFlowKind.FUNDING: D("-0.000000000000000000000000000000000001"),
    CashFlowKind.INTEREST: D("0.07"),
    CashFlowKind.FEE: D("-15"),
    CashFlowKind.TRANSFER: D("-20"),
    CashFlowKind.OPENING: D("1"),
    CashFlowKind.ADJUSTMENT: D("3"),
}


async def equity(uow: UnitOfWork, currency: str = "USD", account_id: str = DEFAULT_ACCOUNT_ID) -> Decimal:
    state = await uow.portfolio_states.get((account_id, currency))
    return D(0) if state is None else state.closed_equity


async def equity_of(database: Database, currency: str, account_id: str = DEFAULT_ACCOUNT_ID) -> Decimal:
    async with database.transaction() as uow:
        return await equity(uow, currency, account_id)


@pytest.fixture
async def other_account(database: Database) -> str:
    async with database.transaction() as uow:
        await uow.accounts.open_account(OTHER, initial_capital=D(1000))
    return OTHER


def test_every_kind_is_tried() -> None:
    assert AMOUNTS.keys() == set(CashFlowKind)


@pytest.mark.parametrize("kind", CashFlowKind)
async def test_a_movement_of_each_kind_moves_equity_once_whoever_books_it(
    database: Database, kind: CashFlowKind
) -> None:
    reason = "counted again" if kind is CashFlowKind.ADJUSTMENT else None

    async def book(number: int) -> bool:
        movement = a_cash_flow(kind=kind, amount=AMOUNTS[kind], currency="EUR", venue_id="L1", reason=reason)
        if number % 2:
            return await database.cash_flows.add_once(movement) is not None
        return await database.retrying(lambda uow: uow.cash_flows.add_once(movement)) is not None

    assert sum(await at_once(book, TASKS)) == 1
    assert await equity_of(database, "EUR") == AMOUNTS[kind]


async def test_the_ledgers_id_tells_movements_apart_by_account_and_kind(
    database: Database, other_account: str
) -> None:
    for values in (
        {"kind": CashFlowKind.DEPOSIT},
        {"kind": CashFlowKind.INTEREST},
        {"kind": CashFlowKind.DEPOSIT, "account_id": other_account},
    ):
        assert await database.cash_flows.add_once(a_cash_flow(venue_id="L1", currency="EUR", **values))
    assert await equity_of(database, "EUR") == 200
    assert await equity_of(database, "EUR", other_account) == 100


@pytest.mark.parametrize(
    ("changed", "given"),
    [
        ({"amount": D("100.1")}, "100.1 USD"),
        ({"currency": "EUR"}, "100 EUR"),
        ({"account_id": DEFAULT_ACCOUNT_ID, "amount": D(1)}, "1 USD"),
    ],
)
async def test_another_movement_under_a_known_id_is_told(
    uow: UnitOfWork, changed: dict[str, Any], given: str
) -> None:
    await uow.cash_flows.add_once(a_cash_flow(venue_id="L1"))
    before = await equity(uow)
    with pytest.raises(AlreadyExists) as caught:
        await uow.cash_flows.add_once(a_cash_flow(venue_id="L1", **changed))
    assert caught.value.facts == {
        "account_id": "default",
        "kind": "DEPOSIT",
        "venue_id": "L1",
        "stored": "100 USD",
        "given": given,
    }
    assert await equity(uow) == before


async def test_without_the_ledgers_id_nothing_can_be_booked_once(uow: UnitOfWork) -> None:
    with pytest.raises(InvalidValue, match="use add"):
        await uow.cash_flows.add_once(a_cash_flow(venue_id=None))
    for _ in range(2):
        await uow.cash_flows.add(a_cash_flow(venue_id=None, currency="EUR"))
    assert await equity(uow, "EUR") == 200


async def test_what_a_unit_of_work_knows_of_equity_is_read_anew(uow: UnitOfWork) -> None:
    state: PortfolioState = await uow.portfolio_states.one((DEFAULT_ACCOUNT_ID, "USD"))
    before = state.closed_equity
    await uow.cash_flows.add(a_cash_flow())
    assert state.closed_equity == before + 100
    await uow.cash_flows.add_once(a_cash_flow())
    assert state.closed_equity == before + 200
    state.peak_equity = D(7)
    await uow.portfolio_states.update(state)


async def test_a_movement_is_never_changed(owner_uow: UnitOfWork) -> None:
    movement = await owner_uow.cash_flows.add(a_cash_flow())
    movement.amount = D(1)
    with pytest.raises(AppendOnlyViolated):
        await owner_uow.cash_flows.update(movement)


# --- funding -----------------------------------------------------------------------------------------------


async def test_funding_is_found_by_its_position_and_leaves_it_as_it_is(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position(await uow.strategies.add(a_strategy())))
    version, before = position.row_version, await equity(uow)
    for number, amount in enumerate(("-1.25", "0.5")):
        await uow.cash_flows.add_once(
            a_cash_flow(
                kind=CashFlowKind.FUNDING, amount=D(amount), position_id=position.id, venue_id=f"F{number}"
            )
        )
    await uow.cash_flows.add(a_cash_flow(kind=CashFlowKind.FUNDING))
    funding = await uow.cash_flows.of_position(position.id)
    assert {each.amount for each in funding} == {D("-1.25"), D("0.5")}
    assert await equity(uow) == before + D("99.25")
    await uow.session.refresh(position)
    assert position.row_version == version


# --- transfers ---------------------------------------------------------------------------------------------


async def test_a_transfer_leaves_one_account_and_reaches_the_other(
    database: Database, other_account: str
) -> None:
    before = await equity_of(database, "USD")
    amount = D("12345678901234567890.123456789012345678")
    moved = await database.cash_flows.transfer(
        amount, "USD", source="default", target=other_account, occurred_at=NOON, reason="to the other bot"
    )
    assert [(each.account_id, each.amount) for each in moved] == [
        ("default", amount.copy_negate()),
        (other_account, amount),
    ]
    assert {(each.kind, each.reason) for each in moved} == {(CashFlowKind.TRANSFER, "to the other bot")}
    assert await equity_of(database, "USD") == D("-12345678901229567890.123456789012345678")
    assert before == 5_000_000
    assert await equity_of(database, "USD", other_account) == D("12345678901234568890.123456789012345678")


async def test_a_transfer_is_booked_once_whoever_books_it(database: Database, other_account: str) -> None:
    async def move(_: int) -> int:
        moved = await database.retrying(
            lambda uow: uow.cash_flows.transfer(
                D(5), "EUR", source="default", target=other_account, occurred_at=NOON, venue_id="T1"
            )
        )
        return len(moved)

    assert sum(await at_once(move, TASKS)) == 2
    assert await equity_of(database, "EUR") == -5
    assert await equity_of(database, "EUR", other_account) == 5


@pytest.mark.parametrize("currency", ["USD", "EUR"])
async def test_transfers_there_and_back_at_once_do_not_wait_for_each_other(
    database: Database, other_account: str, currency: str
) -> None:
    async def move(number: int) -> None:
        source, target = ("default", other_account) if number % 2 else (other_account, "default")
        # Not retried: a deadlock would be raised.
        await database.cash_flows.transfer(D(1), currency, source=source, target=target, occurred_at=NOON)

    before = [await equity_of(database, currency, account) for account in ("default", other_account)]
    await at_once(move, TASKS)
    after = [await equity_of(database, currency, account) for account in ("default", other_account)]
    assert after == before
    assert await database.cash_flows.count(CashFlow.kind == CashFlowKind.TRANSFER) == 2 * TASKS


async def test_the_half_that_was_reported_before_is_not_booked_again(
    database: Database, other_account: str
) -> None:
    await database.cash_flows.add_once(
        a_cash_flow(
            account_id=other_account, kind=CashFlowKind.TRANSFER, amount=D(5), currency="EUR", venue_id="T1"
        )
    )
    moved = await database.cash_flows.transfer(
        D(5), "EUR", source="default", target=other_account, occurred_at=NOON, venue_id="T1"
    )
    assert [each.account_id for each in moved] == ["default"]
    assert await equity_of(database, "EUR", other_account) == 5


async def test_a_transfer_to_nobody_does_not_leave(database: Database) -> None:
    with pytest.raises(InvalidReference) as caught:
        await database.cash_flows.transfer(D(5), "USD", source="default", target="nobody", occurred_at=NOON)
    assert caught.value.facts["table"] == "cash_flows"
    assert await equity_of(database, "USD") == 5_000_000


@pytest.mark.parametrize(
    ("amount", "target"), [(D(0), OTHER), (D(-1), OTHER), (D("NaN"), OTHER), (D(1), "default")]
)
async def test_a_transfer_that_makes_no_sense_is_told(uow: UnitOfWork, amount: Decimal, target: str) -> None:
    with pytest.raises(InvalidValue):
        await uow.cash_flows.transfer(amount, "USD", source="default", target=target, occurred_at=NOON)


# --- opening holdings --------------------------------------------------------------------------------------

HOLDINGS = {"BTC": D("0.5"), "ETH": D("12.000000000000000001"), "USD": D(77)}


async def test_holdings_are_opened_once_whoever_opens_them(database: Database) -> None:
    async def open_holdings(_: int) -> list[str]:
        opened = await database.retrying(lambda uow: uow.cash_flows.open_holdings(HOLDINGS, occurred_at=NOON))
        return [each.currency for each in opened]

    opened = await at_once(open_holdings, TASKS)
    assert sorted(currency for each in opened for currency in each) == ["BTC", "ETH"]
    assert await equity_of(database, "BTC") == HOLDINGS["BTC"]
    assert await equity_of(database, "ETH") == HOLDINGS["ETH"]
    assert await equity_of(database, "USD") == 5_000_000, "opened with the account"


async def test_holdings_that_changed_meanwhile_are_not_opened_again(database: Database) -> None:
    await database.cash_flows.open_holdings({"BTC": D(1)}, occurred_at=NOON)
    assert await database.cash_flows.open_holdings({"BTC": D(2)}, occurred_at=NOON) == []
    (added,) = await database.cash_flows.open_holdings({"BTC": D(2), "EUR": D(0)}, occurred_at=NOON)
    assert (added.currency, added.kind) == ("EUR", CashFlowKind.OPENING)
    assert await database.cash_flows.totals() == {"USD": 5_000_000, "BTC": 1, "EUR": 0}
