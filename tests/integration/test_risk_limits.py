"""Each limit alone, in each scope."""

from datetime import timedelta
from decimal import Decimal

import pytest

from gal_friday.dal.models import (
    Account,
    CashFlowKind,
    OrderStatus,
    PortfolioState,
    RiskScope,
    RiskVerdict,
    Side,
    SignalStatus,
    Strategy,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.factories import (
    NOON,
    PAIR,
    a_cash_flow,
    a_fill,
    a_strategy,
    an_instrument,
)
from tests.risk import check_of, decided, hold, limit, work

APPROVED, REJECTED = RiskVerdict.APPROVED, RiskVerdict.REJECTED
RESIZED, HALTED = RiskVerdict.RESIZED, RiskVerdict.HALTED


@pytest.fixture
async def strategy(uow: UnitOfWork) -> Strategy:
    return await uow.strategies.add(a_strategy())


# --- each limit alone ----------------------------------------------------------------------------------


async def test_a_position_is_resized_to_its_largest_quantity(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="3")
    await hold(uow, strategy, "1.5")
    decision = await decided(uow, strategy, 2)
    assert (decision.decision, decision.approved_quantity) == (RESIZED, Decimal("1.5"))
    assert decision.rule == "max_position_quantity"
    assert decision.reason == "max_position_quantity of ACCOUNT default is 3, it would be 3.5"
    assert (await uow.signals.one(decision.signal_id)).status is SignalStatus.APPROVED


async def test_quantities_of_different_pairs_are_not_added(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="3")
    await hold(uow, strategy, 3, trading_pair="ETH/USD")
    assert (await decided(uow, strategy, 3)).decision is APPROVED


async def test_notional_is_resized_to_what_the_price_leaves_room_for(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await limit(uow, max_notional="1000")
    await hold(uow, strategy, 1, 500, trading_pair="ETH/USD")
    decision = await decided(uow, strategy, 4, 300)
    assert (decision.decision, decision.approved_quantity) == (RESIZED, Decimal("1.66666666"))
    assert check_of(decision, "max_notional")["value"] == "1700"


async def test_a_resized_quantity_is_a_whole_number_of_steps(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.instruments.add(an_instrument(quantity_step=Decimal("0.25")))
    await limit(uow, max_notional="1000")
    assert (await decided(uow, strategy, 4, 300)).approved_quantity == Decimal("3.25")


async def test_what_is_left_after_resizing_has_to_be_worth_an_order(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await uow.instruments.add(an_instrument(min_notional=Decimal(10)))
    await limit(uow, max_notional="1005")
    await hold(uow, strategy, 10)
    decision = await decided(uow, strategy, 1)
    assert (decision.decision, decision.rule) == (REJECTED, "min_notional")
    assert decision.approved_quantity == 0
    assert decision.reason == "kraken takes orders from 10 USD on, this is 5"
    assert check_of(decision, "min_notional", "PAIR")["value"] == "5"
    # An exit may be as small as what is held.
    exit_ = await decided(uow, strategy, "0.01", side=Side.SELL)
    assert exit_.decision is APPROVED


async def test_an_entry_has_to_be_worth_an_order(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.instruments.add(an_instrument(min_notional=Decimal(10)))
    enough = await decided(uow, strategy, "0.1")
    assert (enough.decision, check_of(enough, "min_notional", "PAIR")["passed"]) == (APPROVED, True)
    too_little = await decided(uow, strategy, "0.09")
    assert (too_little.decision, too_little.rule) == (REJECTED, "min_notional")


async def test_leverage_is_exposure_over_equity(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.accounts.open_account("small", initial_capital=Decimal(1_000))
    await limit(uow, key="small", account_id="small", max_leverage="2")
    await hold(uow, strategy, 5, 100, mark=120, account_id="small", trading_pair="ETH/USD")

    decision = await decided(uow, strategy, 20, account_id="small")

    # equity 1,000 + 5 × (120 - 100) = 1,100; twice that, less 5 × 120 held, buys 16 at 100
    assert (decision.decision, decision.approved_quantity) == (RESIZED, Decimal(16))
    assert check_of(decision, "max_leverage")["value"] == "2.36363636"
    assert decision.portfolio["equity"] == "1100"


async def test_without_equity_there_is_no_leverage(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_leverage="2")
    decision = await decided(uow, strategy, trading_pair="BTC/EUR")
    assert (decision.decision, decision.reason) == (REJECTED, "there is no equity in EUR to lever")
    assert check_of(decision, "max_leverage")["value"] is None


async def test_no_more_positions_are_opened_than_the_limit(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_open_positions=2)
    await hold(uow, strategy, 1, trading_pair="ETH/USD")
    await work(uow, strategy, 1, 100, trading_pair="SOL/USD")
    decision = await decided(uow, strategy)
    assert (decision.decision, decision.rule) == (REJECTED, "max_open_positions")
    assert check_of(decision, "max_open_positions")["value"] == 3
    # One that is open already may grow.
    assert (await decided(uow, strategy, trading_pair="ETH/USD")).decision is APPROVED


async def test_the_day_may_lose_what_it_may_lose(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_daily_loss="100")
    order = await work(uow, strategy, 1, 100, status=OrderStatus.FILLED, filled_quantity=Decimal(1))
    lost = {"realized_pnl": Decimal(-60), "commission_quote": Decimal(5)}
    midnight = NOON.replace(hour=0)
    await uow.fills.add_many(
        [
            a_fill(order, filled_at=midnight, **lost),
            a_fill(order, filled_at=midnight - timedelta(microseconds=1), **lost),
            a_fill(order, filled_at=midnight + timedelta(days=1), **lost),
            a_fill(order, filled_at=NOON),  # no rate is known for its commission, and nothing was closed
        ]
    )
    await uow.cash_flows.add_many(
        [
            a_cash_flow(kind=CashFlowKind.FUNDING, amount=Decimal(-3)),
            a_cash_flow(kind=CashFlowKind.FUNDING, amount=Decimal(-1_000), currency="EUR"),
            a_cash_flow(kind=CashFlowKind.WITHDRAWAL, amount=Decimal(-1_000)),
            a_cash_flow(kind=CashFlowKind.FEE, amount=Decimal(-1_000), occurred_at=NOON - timedelta(days=1)),
        ]
    )
    held = await hold(uow, strategy, 2, 100, mark=84, trading_pair="ETH/USD")
    await hold(uow, strategy, -2, 100, mark=100, trading_pair="LTC/USD")

    decision = await decided(uow, strategy)
    assert decision.decision is APPROVED
    assert check_of(decision, "max_daily_loss")["value"] == "100"  # 60 + 5 + 3 + 2 × 16

    await uow.positions.update_position_price(held.id, Decimal("83.99"), marked_at=NOON)
    decision = await decided(uow, strategy)
    assert (decision.decision, decision.rule) == (REJECTED, "max_daily_loss")
    assert check_of(decision, "max_daily_loss")["value"] == "100.02"


async def test_losses_count_towards_the_strategy_and_pair_they_were_made_in(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    other = await uow.strategies.add(a_strategy())
    for scope, key in [(RiskScope.STRATEGY, strategy.strategy_id), (RiskScope.PAIR, PAIR)]:
        await limit(uow, scope, key, max_daily_loss="1000")
    mine = await work(uow, strategy, 1, 100, trading_pair="ETH/USD")
    theirs = await work(uow, other, 1, 100)
    await uow.fills.add(a_fill(mine, realized_pnl=Decimal(-20), commission_quote=Decimal(0)))
    await uow.fills.add(a_fill(theirs, realized_pnl=Decimal(-300), commission_quote=Decimal(0)))
    held = await hold(uow, strategy, 1, 100, mark=99)
    flow = {"kind": CashFlowKind.FUNDING, "position_id": held.id, "amount": Decimal(-4_000)}
    await uow.cash_flows.add(a_cash_flow(**{**flow, "amount": Decimal("-0.5")}))
    await uow.cash_flows.add(a_cash_flow(**{**flow, "position_id": None}))  # nobody's, the account's

    decision = await decided(uow, strategy)

    assert check_of(decision, "max_daily_loss", "STRATEGY")["value"] == "21.5"
    assert check_of(decision, "max_daily_loss", "PAIR")["value"] == "301.5"


async def test_below_its_peak_by_more_than_the_drawdown_nothing_is_opened(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await uow.accounts.open_account("small", initial_capital=Decimal(1_000))
    await limit(uow, key="small", account_id="small", max_drawdown="0.1")
    held = await hold(uow, strategy, 1, 200, mark=100, account_id="small", trading_pair="ETH/USD")
    decision = await decided(uow, strategy, account_id="small")
    assert (decision.decision, check_of(decision, "max_drawdown")["value"]) == (APPROVED, "0.1")

    await uow.positions.update_position_price(held.id, Decimal("99.99"), marked_at=NOON)
    decision = await decided(uow, strategy, account_id="small")
    assert (decision.decision, decision.rule) == (REJECTED, "max_drawdown")
    assert check_of(decision, "max_drawdown")["value"] == "0.10001"


async def test_a_debt_without_a_peak_is_below_it(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_drawdown="0.1")
    decision = await decided(uow, strategy, trading_pair="BTC/EUR")
    assert (decision.decision, check_of(decision, "max_drawdown")["value"]) == (APPROVED, "0")

    debt = PortfolioState(currency="EUR", initial_capital=Decimal(0), closed_equity=Decimal(-1))
    await uow.portfolio_states.add(debt)
    decision = await decided(uow, strategy, trading_pair="BTC/EUR")
    assert (decision.decision, check_of(decision, "max_drawdown")["value"]) == (REJECTED, None)
    assert decision.reason == "max_drawdown of ACCOUNT default is 0.1, it cannot be told"


# --- scopes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "value"), [(RiskScope.ACCOUNT, "1600"), (RiskScope.STRATEGY, "1100"), (RiskScope.PAIR, "400")]
)
async def test_a_limit_counts_what_its_scope_covers(
    uow: UnitOfWork, strategy: Strategy, scope: RiskScope, value: str
) -> None:
    keys = {RiskScope.ACCOUNT: "default", RiskScope.STRATEGY: strategy.strategy_id, RiskScope.PAIR: PAIR}
    other = await uow.strategies.add(a_strategy())
    await uow.accounts.add(Account(account_id="another"))
    await limit(uow, scope, keys[scope], max_notional="10000")
    await hold(uow, strategy, 1, 1_000, trading_pair="ETH/USD")
    await hold(uow, other, 2)
    await hold(uow, None, -1, exchange="binance")
    await hold(uow, other, 1, 200, trading_pair="SOL/USD")
    await hold(uow, strategy, 1, 7_000, account_id="another")
    await hold(uow, strategy, 1, 9_000, trading_pair="LTC/USD", quantity=Decimal(0), closed_at=NOON)
    decision = await decided(uow, strategy, 1)
    assert check_of(decision, "max_notional", scope)["value"] == value


async def test_the_strictest_of_several_limits_decides(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_notional="500")
    await limit(uow, RiskScope.STRATEGY, strategy.strategy_id, max_position_quantity="3")
    await limit(uow, RiskScope.PAIR, PAIR, max_notional="400", max_leverage="100")
    decision = await decided(uow, strategy, 6)
    assert (decision.decision, decision.approved_quantity) == (RESIZED, Decimal(3))
    assert decision.rule == "max_position_quantity"
    assert [each["passed"] for each in decision.checks] == [True, False, False, True, False]


async def test_positions_of_different_sides_are_not_netted(uow: UnitOfWork, strategy: Strategy) -> None:
    other = await uow.strategies.add(a_strategy())
    await limit(uow, max_position_quantity="3")
    await hold(uow, other, -2)
    assert (await decided(uow, strategy, 2)).approved_quantity == 1


async def test_amounts_of_different_currencies_are_never_added(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_notional="1000", max_daily_loss="50", max_leverage="1")
    await hold(uow, strategy, 1, 990, mark=900, trading_pair="ETH/EUR", quote_currency="EUR")
    await work(uow, strategy, 1, 900, trading_pair="SOL/EUR")
    decision = await decided(uow, strategy)
    assert decision.decision is APPROVED
    assert check_of(decision, "max_notional")["value"] == "100"
    assert check_of(decision, "max_daily_loss")["value"] == "0"
    decision = await decided(uow, strategy, trading_pair="BTC/EUR")
    assert check_of(decision, "max_notional")["value"] == "1900"
    assert check_of(decision, "max_daily_loss")["value"] == "90"


async def test_a_pair_without_a_slash_is_in_its_instruments_currency_or_the_accounts(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    unknown = await decided(uow, strategy, trading_pair="GOLD_MINI")
    assert unknown.portfolio["currency"] == "USD"
    await uow.instruments.add(an_instrument(trading_pair="GOLD_MINI", quote_currency="INR"))
    listed = await decided(uow, strategy, trading_pair="GOLD_MINI")
    assert listed.portfolio["currency"] == "INR"


async def test_a_contract_counts_for_the_units_it_stands_for(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.instruments.add(an_instrument(contract_multiplier=Decimal(100), quantity_step=Decimal(1)))
    await limit(uow, max_position_quantity="1000", max_notional="20000")
    await hold(uow, strategy, 3, 1_000, mark=12)  # 3 contracts of 100 units bought at 10
    await work(uow, strategy, 2, 11)
    decision = await decided(uow, strategy, 10, 13)
    assert check_of(decision, "max_position_quantity")["value"] == "1500"
    assert check_of(decision, "max_notional")["value"] == "18800"  # 300 × 12 + 200 × 11 + 1,000 × 13
    assert decision.portfolio["unrealized_pnl"] == "600"
    assert (decision.decision, decision.approved_quantity) == (RESIZED, Decimal(5))
