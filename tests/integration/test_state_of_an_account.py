"""DatabaseStateManager: portfolio state, pyramids and the ledger of signals."""

from decimal import Decimal

import pytest

from gal_friday.dal.models import (
    PortfolioState,
    ProcessingStatus,
    PyramidingState,
)
from gal_friday.database import Database
from gal_friday.errors import InvalidValue, StaleWrite
from gal_friday.state import DatabaseStateManager, signal_fingerprint
from tests.concurrency import at_once
from tests.factories import NOON, a_cash_flow, a_portfolio_position, a_signal_log
from tests.state import the_position, values_of

CAPITAL = Decimal(5_000_000)


@pytest.fixture
def manager(database: Database) -> DatabaseStateManager:
    return DatabaseStateManager(database)


async def test_get_portfolio_state_gives_what_save_portfolio_state_stored(
    manager: DatabaseStateManager,
) -> None:
    state = await manager.get_portfolio_state("USD")
    assert state is not None
    assert state.closed_equity == CAPITAL
    state.margin_used = Decimal("120000.5")
    state.peak_equity = CAPITAL + 1
    state.state = {"regime": "trend", "since": [1, 2]}
    await manager.save_portfolio_state(state)
    assert state.row_version == 3  # opened, booked, saved
    again = await manager.get_portfolio_state("USD")
    assert again is not None
    assert values_of(again) == values_of(state)
    assert await manager.get_portfolio_state("INR") is None


async def test_save_portfolio_state_does_not_overwrite_equity_with_a_stale_figure(
    manager: DatabaseStateManager, database: Database
) -> None:
    state = await manager.get_portfolio_state("USD")
    assert state is not None
    await database.cash_flows.add(a_cash_flow(amount=Decimal(100)))
    state.margin_used = Decimal(1)
    with pytest.raises(StaleWrite):
        await manager.save_portfolio_state(state)
    fresh = await manager.get_portfolio_state("USD")
    assert fresh is not None
    assert (fresh.closed_equity, fresh.margin_used) == (CAPITAL + 100, Decimal(0))


async def test_save_portfolio_state_refuses_equity_that_no_cash_flow_and_no_fill_explains(
    manager: DatabaseStateManager,
) -> None:
    state = await manager.get_portfolio_state("USD")
    assert state is not None
    state.closed_equity += 1
    with pytest.raises(InvalidValue, match="cash flow") as caught:
        await manager.save_portfolio_state(state)
    assert caught.value.facts["columns"] == ("closed_equity",)
    invented = PortfolioState(currency="INR", initial_capital=Decimal(1), closed_equity=Decimal(1))
    with pytest.raises(InvalidValue, match="cash flow"):
        await manager.save_portfolio_state(invented)
    stored = await manager.get_portfolio_state("USD")
    assert stored is not None
    assert stored.closed_equity == CAPITAL


async def test_save_portfolio_state_begins_a_currency_that_cash_flows_then_move(
    manager: DatabaseStateManager,
) -> None:
    state = PortfolioState(currency="INR", initial_capital=Decimal(0))
    async with manager.transaction() as t:
        await t.save_portfolio_state(state)
        await t.uow.cash_flows.add(a_cash_flow(currency="INR", amount=Decimal("0.01")))
        moved = await t.get_portfolio_state("INR")
        assert moved is not None
        assert moved.closed_equity == Decimal("0.01")
    with pytest.raises(StaleWrite):  # the cash flow raised the version
        await manager.save_portfolio_state(state)


async def test_get_pyramiding_state_gives_what_save_pyramiding_state_stored(
    manager: DatabaseStateManager,
) -> None:
    base = a_portfolio_position(position_id="base", is_base_position=True)
    gold = PyramidingState(
        instrument="GOLD_MINI",
        base_position_id="base",
        last_pyramid_price=Decimal("72000.5"),
        pyramid_count=1,
    )
    async with manager.transaction() as t:
        await t.save_position(base)
        await t.save_pyramiding_state(gold)
        await t.save_pyramiding_state(PyramidingState(instrument="BANK_NIFTY"))
        assert list(await t.get_pyramiding_state()) == ["BANK_NIFTY", "GOLD_MINI"]
    gold.pyramid_count = 2
    await manager.save_pyramiding_state(gold)
    stored = await manager.get_pyramiding_state()
    assert values_of(stored["GOLD_MINI"]) == values_of(gold)
    assert (stored["BANK_NIFTY"].base_position_id, stored["BANK_NIFTY"].pyramid_count) == (None, 0)


async def test_of_two_who_save_a_pyramid_the_second_is_told(manager: DatabaseStateManager) -> None:
    await manager.save_pyramiding_state(PyramidingState(instrument="GOLD_MINI"))
    first, second = [(await manager.get_pyramiding_state())["GOLD_MINI"] for _ in range(2)]
    first.pyramid_count = second.pyramid_count = 1
    await manager.save_pyramiding_state(first)
    with pytest.raises(StaleWrite):
        await manager.save_pyramiding_state(second)
    await manager.save_pyramiding_state(PyramidingState(instrument="GOLD_MINI"), overwrite=True)
    stored = (await manager.get_pyramiding_state())["GOLD_MINI"]
    assert (stored.pyramid_count, stored.row_version) == (1, 3)


async def test_log_signal_enters_a_signal_once_and_counts_its_repetitions(
    manager: DatabaseStateManager,
) -> None:
    signal = a_signal_log(fingerprint=None, price=Decimal(72_000), payload={"raw": "1"})
    first = await manager.log_signal(signal)
    assert first.is_new
    assert first.entry.fingerprint == signal_fingerprint(signal)
    assert (first.entry.price, first.entry.payload) == (Decimal(72_000), {"raw": "1"})
    assert first.entry.duplicate_count == 0
    receipts = await at_once(lambda _: manager.log_signal(signal), 5)
    assert not any(receipt.is_new for receipt in receipts)
    assert {receipt.entry.id for receipt in receipts} == {first.entry.id}
    assert sorted(receipt.entry.duplicate_count for receipt in receipts) == [1, 2, 3, 4, 5]


async def test_log_signal_knows_a_signal_that_is_spelled_differently(manager: DatabaseStateManager) -> None:
    spelled = {"price": Decimal("7.2E+4"), "signal_timestamp": NOON.astimezone()}
    first = await manager.log_signal(a_signal_log(fingerprint=None, price=Decimal("72000.00")))
    again = await manager.log_signal(a_signal_log(fingerprint=None, **spelled))
    other = await manager.log_signal(a_signal_log(fingerprint=None, price=Decimal("72000.01")))
    assert (first.is_new, again.is_new, other.is_new) == (True, False, True)


async def test_a_fingerprint_of_ones_own_is_kept(manager: DatabaseStateManager) -> None:
    await manager.log_signal(a_signal_log(fingerprint="tradingview-17"))
    assert not (await manager.log_signal(a_signal_log(fingerprint="tradingview-17", price=Decimal(2)))).is_new
    assert await manager.check_duplicate_signal("tradingview-17")


async def test_check_duplicate_signal_tells_and_counts_nothing(manager: DatabaseStateManager) -> None:
    signal = a_signal_log(fingerprint=None)
    assert not await manager.check_duplicate_signal(signal)
    receipt = await manager.log_signal(signal)
    assert await manager.check_duplicate_signal(signal)
    assert await manager.check_duplicate_signal(receipt.entry.fingerprint)
    again = await manager.log_signal(signal)
    assert again.entry.duplicate_count == 1


async def test_what_is_changed_on_an_entry_before_the_commit_is_stored(
    manager: DatabaseStateManager, database: Database
) -> None:
    async with manager.transaction() as t:
        receipt = await t.log_signal(a_signal_log())
        assert await t.check_duplicate_signal(receipt.entry.fingerprint)
        receipt.entry.processing_status = ProcessingStatus.PROCESSED
    entry = await database.signal_log.one(receipt.entry.id)
    assert entry.processing_status == ProcessingStatus.PROCESSED


async def test_a_signal_of_another_account_is_refused(manager: DatabaseStateManager) -> None:
    with pytest.raises(InvalidValue, match="another account"):
        await manager.log_signal(a_signal_log(account_id="other"))


async def test_two_accounts_never_see_each_other_s_state(
    manager: DatabaseStateManager, database: Database
) -> None:
    async with database.transaction() as uow:
        await uow.accounts.open_account("other")
    other = DatabaseStateManager(database, account_id="other")
    await manager.save_position(a_portfolio_position(position_id="P1", lots=1))
    await other.save_position(a_portfolio_position(position_id="P1", lots=2))
    await other.save_pyramiding_state(PyramidingState(instrument="GOLD_MINI"))
    mine, theirs = await the_position(manager), await the_position(other)
    assert (mine.lots, theirs.lots, theirs.account_id) == (1, 2, "other")
    assert await manager.get_pyramiding_state() == {}
    signal = a_signal_log(fingerprint=None)
    assert (await manager.log_signal(signal)).is_new
    assert (await other.log_signal(signal)).is_new
