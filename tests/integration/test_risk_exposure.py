"""What counts towards a limit, and what makes a position smaller."""

from decimal import Decimal

import pytest

from gal_friday.dal.models import (
    OrderStatus,
    OrderType,
    RiskVerdict,
    Side,
    SignalStatus,
    Strategy,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.factories import (
    a_risk_decision,
    a_signal,
    a_strategy,
)
from tests.risk import check_of, decided, hold, limit, work

APPROVED, REJECTED = RiskVerdict.APPROVED, RiskVerdict.REJECTED
RESIZED, HALTED = RiskVerdict.RESIZED, RiskVerdict.HALTED


@pytest.fixture
async def strategy(uow: UnitOfWork) -> Strategy:
    return await uow.strategies.add(a_strategy())


# --- what counts ---------------------------------------------------------------------------------------


async def test_working_orders_count_with_what_is_left_of_them(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="100", max_notional="100000")
    await work(uow, strategy, 4, 90, status=OrderStatus.PARTIALLY_FILLED, filled_quantity=Decimal(1))
    await work(uow, strategy, 5, 80, status=OrderStatus.PENDING_NEW)
    await work(uow, strategy, 7, 70, status=OrderStatus.CANCELED)
    await work(uow, strategy, 7, 60, status=OrderStatus.FILLED)
    await work(uow, strategy, 6, 110, side=Side.SELL)
    stop = {"order_type": OrderType.STOP_LOSS, "limit_price": None, "stop_price": Decimal(50)}
    await work(uow, strategy, 1, 0, **stop)
    decision = await decided(uow, strategy, 2)
    assert check_of(decision, "max_position_quantity")["value"] == "11"  # the six to sell would net, at best
    assert check_of(decision, "max_notional")["value"] == "920"  # 3 × 90 + 5 × 80 + 50 + 2 × 100
    assert decision.portfolio["selling_units"] == "6"


async def test_orders_that_only_protect_or_reduce_do_not_count(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="2")
    await hold(uow, strategy, 2)
    entry = await work(uow, strategy, 2, 100, status=OrderStatus.FILLED)
    await work(uow, strategy, 2, 90, side=Side.SELL, parent_order_id=entry.id)
    await work(uow, strategy, 2, 120, side=Side.SELL, reduce_only=True)
    decision = await decided(uow, strategy, 2, side=Side.SELL)
    assert (decision.decision, decision.portfolio["reduction"]) == (APPROVED, "2")


@pytest.mark.parametrize("named", ["decision", "signal", "mark", "nothing"])
async def test_a_market_order_counts_at_the_price_it_was_decided_at_or_the_next_best(
    uow: UnitOfWork, strategy: Strategy, named: str
) -> None:
    await limit(uow, max_notional="100000")
    signal = await uow.signals.add(
        a_signal(strategy, proposed_entry_price=Decimal(70) if named == "signal" else None)
    )
    await uow.signals.approve(signal.id)
    if named == "decision":
        priced = {"portfolio": {"price": Decimal(60)}, "requested_quantity": Decimal(9)}
        await uow.risk_decisions.add(a_risk_decision(signal_id=signal.id, **priced))
    market = {"order_type": OrderType.MARKET, "limit_price": None, "trading_pair": "ETH/USD"}
    await work(uow, strategy, 2, 0, signal_id=signal.id, **market)
    if named == "mark":
        await hold(uow, None, 1, 1, mark=80, trading_pair="ETH/USD")
    decision = await decided(uow, strategy)
    value = {"decision": "220", "signal": "240", "mark": "340", "nothing": None}[named]
    assert check_of(decision, "max_notional")["value"] == value
    assert decision.decision is (APPROVED if value else REJECTED), "in doubt it is refused"
    # In the pair decided on, its own price will do.
    own = await decided(uow, strategy, 1, 100, trading_pair="ETH/USD")
    assert own.decision is APPROVED


async def test_an_order_by_cost_counts_with_what_it_has_yet_to_spend(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await limit(uow, max_position_quantity="100", max_notional="100000")
    market = {"order_type": OrderType.MARKET, "quantity": None, "limit_price": None}
    partly = {"filled_quantity": Decimal(1), "cost": Decimal(100), "status": OrderStatus.PARTIALLY_FILLED}
    await work(uow, strategy, 0, 0, quote_quantity=Decimal(500), **{**market, **partly})
    decision = await decided(uow, strategy, 1, 200)
    assert check_of(decision, "max_position_quantity")["value"] == "3"
    assert check_of(decision, "max_notional")["value"] == "600"


async def test_an_order_found_at_the_exchange_counts_and_one_nobody_can_size_stops_all(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await limit(uow, max_position_quantity="10")
    found = {"origin": "EXTERNAL", "strategy_id": None, "client_order_id": None}
    await work(uow, strategy, 4, 100, **found)
    assert (await decided(uow, strategy, 9)).approved_quantity == 6
    await work(uow, strategy, 4, 100, **{**found, "quantity": None})
    decision = await decided(uow, strategy, 1)
    assert decision.reason == "max_position_quantity of ACCOUNT default is 10, it cannot be told"
    assert decision.decision is REJECTED


async def test_approved_signals_that_are_no_order_yet_count(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="5", max_notional="100000")
    first = await decided(uow, strategy, 4, 90)
    second = await decided(uow, strategy, 4, 100)
    assert (second.decision, second.approved_quantity) == (RESIZED, Decimal(1))
    third = await decided(uow, strategy, 4, 100)
    assert third.decision is REJECTED
    assert check_of(third, "max_notional")["value"] == "860"  # 4 × 90 + 1 × 100 + 4 × 100

    assert first.signal_id is not None
    assert second.signal_id is not None
    await uow.signals.decide(first.signal_id, SignalStatus.EXPIRED)
    assert (await decided(uow, strategy, 4)).decision is APPROVED
    # Its order counts in its place, whether it is marked as executed or not.
    await work(uow, strategy, 1, 100, signal_id=second.signal_id, status=OrderStatus.CANCELED)
    assert (await decided(uow, strategy, 1)).decision is APPROVED


async def test_a_signal_approved_by_hand_without_a_decision_names_no_quantity_and_counts_for_none(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await limit(uow, max_position_quantity="5")
    by_hand = await uow.signals.add(a_signal(strategy))
    await uow.signals.approve(by_hand.id)
    assert (await decided(uow, strategy, 5)).decision is APPROVED


# --- exits ---------------------------------------------------------------------------------------------


async def exhaust_every_limit(uow: UnitOfWork, strategy: Strategy, held: int) -> None:
    """A position of *held*, and every limit beyond reach."""
    await limit(
        uow,
        max_position_quantity="0",
        max_notional="0",
        max_leverage="0",
        max_open_positions=0,
        max_daily_loss="0",
        max_drawdown="0",
    )
    await hold(uow, strategy, held, 100, mark=100 - held)


@pytest.mark.parametrize(("held", "side"), [(2, Side.SELL), (-2, Side.BUY)])
async def test_an_exit_is_never_refused(uow: UnitOfWork, strategy: Strategy, held: int, side: Side) -> None:
    await exhaust_every_limit(uow, strategy, held)
    decision = await decided(uow, strategy, 2, side=side)
    assert (decision.decision, decision.approved_quantity) == (APPROVED, Decimal(2))
    assert decision.reason == "what makes a position smaller is not refused"
    assert not check_of(decision, "max_daily_loss")["passed"], "what is beyond its limit is on record as such"


@pytest.mark.parametrize(("held", "side"), [(2, Side.SELL), (-2, Side.BUY)])
async def test_of_a_flip_the_part_that_closes_is_never_refused(
    uow: UnitOfWork, strategy: Strategy, held: int, side: Side
) -> None:
    await exhaust_every_limit(uow, strategy, held)
    decision = await decided(uow, strategy, 5, side=side)
    assert (decision.decision, decision.approved_quantity) == (RESIZED, Decimal(2))


async def test_a_flip_counts_with_its_excess_only(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="3", max_notional="360")
    await hold(uow, strategy, 2, 100)
    decision = await decided(uow, strategy, 6, 120, side=Side.SELL)
    assert check_of(decision, "max_position_quantity")["value"] == "4"
    assert check_of(decision, "max_notional")["value"] == "480"
    assert (decision.decision, decision.approved_quantity) == (RESIZED, Decimal(5))


async def test_a_position_is_left_once(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="2", max_daily_loss="0")
    await hold(uow, strategy, 2, 100, mark=99)
    first = await decided(uow, strategy, "1.5", side=Side.SELL)
    assert (first.decision, first.portfolio["reduction"]) == (APPROVED, "1.5")
    second = await decided(uow, strategy, "1.5", side=Side.SELL)
    assert (second.decision, second.approved_quantity) == (RESIZED, Decimal("0.5"))
    third = await decided(uow, strategy, "1.5", side=Side.SELL)
    assert third.decision is REJECTED


async def test_another_strategys_position_is_not_ones_own_to_leave(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    other = await uow.strategies.add(a_strategy())
    await limit(uow, max_daily_loss="0")
    await hold(uow, other, 2, 100, mark=99)
    assert (await decided(uow, strategy, 2, side=Side.SELL)).decision is REJECTED
