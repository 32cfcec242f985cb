"""Decisions on signals: what is recorded, what may be decided, and what stops everything."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from gal_friday.dal.models import (
    EntryType,
    RiskScope,
    RiskVerdict,
    Side,
    Signal,
    SignalStatus,
    Strategy,
    new_id,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import IllegalTransition, InvalidValue, NotFound
from gal_friday.services import RiskManager
from gal_friday.services.risk.checks import CheckResult
from gal_friday.services.risk.situation import Situation
from tests.factories import (
    NOON,
    PAIR,
    a_fingerprint,
    a_signal,
    a_strategy,
    an_order,
)
from tests.risk import RISK, check_of, decided, hold, limit

NOW = select(func.clock_timestamp())

APPROVED, REJECTED = RiskVerdict.APPROVED, RiskVerdict.REJECTED
RESIZED, HALTED = RiskVerdict.RESIZED, RiskVerdict.HALTED


@pytest.fixture
async def strategy(uow: UnitOfWork) -> Strategy:
    return await uow.strategies.add(a_strategy())


# --- what is recorded ----------------------------------------------------------------------------------


async def test_without_limits_everything_is_approved_and_on_record(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    config = await uow.configurations.load({"fast": 10, "nonce": new_id().hex})
    await uow.configurations.activate(config.config_hash)
    signal = await uow.signals.add(a_signal(strategy))

    decision = await RISK.decide(
        uow, signal, requested_quantity=Decimal("0.5"), reference_price=Decimal(64_000), at=NOON
    )

    (stored,) = await uow.risk_decisions.of_signal(signal.id)
    assert stored is decision
    assert (stored.decision, stored.rule, stored.reason) == (APPROVED, None, None)
    assert stored.requested_quantity == stored.approved_quantity == Decimal("0.5")
    assert stored.config_hash == config.config_hash
    assert (stored.decided_by, stored.decided_at) == ("risk-manager", NOON)
    assert stored.limits == {}
    assert [check["check"] for check in stored.checks] == ["halt"]
    assert stored.portfolio["price"] == "64000"
    assert stored.portfolio["equity"] == "5000000"
    assert stored.portfolio["currency"] == "USD"
    assert (signal.status, signal.decided_at) == (SignalStatus.APPROVED, NOON)
    assert signal.risk_check_details == {"checks": stored.checks}


async def test_every_check_is_recorded_with_the_limits_as_they_stood(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    every: dict[str, Any] = {
        "max_position_quantity": "3",
        "max_notional": "1000.50",
        "max_daily_loss": "10",
        "max_drawdown": "0.2",
        "max_open_positions": 4,
        "max_leverage": "2",
    }
    await limit(uow, **every)
    await limit(uow, RiskScope.STRATEGY, strategy.strategy_id, max_notional="900")
    await limit(uow, RiskScope.PAIR, PAIR, max_position_quantity="7")
    await limit(uow, RiskScope.PAIR, "ETH/USD", max_position_quantity="0")
    await limit(uow, RiskScope.STRATEGY, "another", max_notional="0")
    await limit(uow, RiskScope.ACCOUNT, "switched off", max_notional="0", active=False)

    decision = await decided(uow, strategy, 2)

    assert decision.decision is APPROVED
    assert {(each["check"], each["scope"]) for each in decision.checks} == {
        ("halt", "ACCOUNT"),
        *((name, "ACCOUNT") for name in every),
        ("max_notional", "STRATEGY"),
        ("max_position_quantity", "PAIR"),
    }
    assert check_of(decision, "max_notional") == {
        "check": "max_notional",
        "scope": "ACCOUNT",
        "key": "default",
        "limit": "1000.5",
        "value": "200",
        "passed": True,
    }
    assert decision.limits["STRATEGY"] == {strategy.strategy_id: {"max_notional": "900"}}
    assert decision.limits["ACCOUNT"]["default"]["max_open_positions"] == 4
    stored = list(decision.checks)
    await uow.session.refresh(decision)
    assert decision.checks == stored, "what is stored reads as what was given back"


async def test_a_rejection_says_why_on_the_decision_and_on_the_signal(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await limit(uow, max_notional="50")
    await hold(uow, strategy, 1)
    signal = await uow.signals.add(a_signal(strategy, proposed_entry_price=Decimal(100)))

    decision = await RISK.decide(uow, signal.id, requested_quantity=Decimal(1))

    assert (decision.decision, decision.rule) == (REJECTED, "max_notional")
    assert decision.approved_quantity == 0
    assert decision.reason == "max_notional of ACCOUNT default is 50, it would be 200"
    assert (signal.status, signal.rejection_reason) == (SignalStatus.REJECTED, decision.reason)
    assert signal.risk_check_details == {"checks": decision.checks}


async def test_the_time_is_the_servers_unless_it_is_given(uow: UnitOfWork, strategy: Strategy) -> None:
    before = (await uow.session.scalars(NOW)).one()
    signal = await uow.signals.add(a_signal(strategy))
    decision = await RISK.decide(uow, signal, requested_quantity=Decimal(1), reference_price=Decimal(1))
    assert before <= decision.decided_at <= (await uow.session.scalars(NOW)).one()
    assert signal.decided_at == decision.decided_at


async def test_who_decides_and_under_which_configuration_can_be_given(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    signal = await uow.signals.add(a_signal(strategy))
    config_hash = a_fingerprint()
    decision = await RiskManager(decided_by="desk").decide(
        uow,
        signal,
        requested_quantity=Decimal(1),
        reference_price=Decimal(1),
        config_hash=config_hash,
    )
    assert (decision.decided_by, decision.config_hash) == ("desk", config_hash)


# --- halts ---------------------------------------------------------------------------------------------


async def test_in_a_halted_account_nothing_is_decided_but_halted(uow: UnitOfWork, strategy: Strategy) -> None:
    await hold(uow, strategy, 2)
    account = await uow.accounts.one("default")
    account.halted_at, account.halt_reason = datetime.now(UTC), "the exchange is down"
    for side in Side:
        decision = await decided(uow, strategy, 1, side=side)
        assert (decision.decision, decision.rule) == (HALTED, "halt")
        assert decision.approved_quantity == 0
        assert decision.reason == "the account is halted: the exchange is down"
        assert not check_of(decision, "halt")["passed"]
        assert decision.signal_id is not None
        assert (await uow.signals.one(decision.signal_id)).rejection_reason == decision.reason


# --- checks of one's own -------------------------------------------------------------------------------


def candle_volume(volume: str) -> Any:
    def check(_: Situation) -> CheckResult:
        value = Decimal(volume)
        return CheckResult("min_volume", Decimal(0), value, passed=value > 0)

    return check


async def test_checks_of_ones_own_are_recorded_alike_and_may_refuse(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    calm, busy = (RiskManager(extra_checks=[candle_volume(volume)]) for volume in ("0", "12.5"))
    decision = await decided(uow, strategy, risk=busy)
    assert decision.decision is APPROVED
    assert check_of(decision, "min_volume", "CUSTOM") == {
        "check": "min_volume",
        "scope": "CUSTOM",
        "key": None,
        "limit": "0",
        "value": "12.5",
        "passed": True,
    }
    decision = await decided(uow, strategy, risk=calm)
    assert (decision.decision, decision.rule) == (REJECTED, "min_volume")
    assert decision.reason == "min_volume is 0, it would be 0"


async def test_a_check_of_ones_own_may_resize_but_not_stop_an_exit(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    def half(situation: Situation) -> CheckResult:
        allowed = situation.quantity / 2
        return CheckResult("half", allowed, situation.quantity, passed=False, largest_quantity=allowed)

    risk = RiskManager(extra_checks=[half])
    assert (await decided(uow, strategy, 3, risk=risk)).approved_quantity == Decimal("1.5")
    await hold(uow, strategy, 3, trading_pair="ETH/USD")
    exit_ = await decided(uow, strategy, 3, risk=risk, side=Side.SELL, trading_pair="ETH/USD")
    assert (exit_.decision, exit_.approved_quantity) == (APPROVED, Decimal(3))


# --- deciding again, and what cannot be decided --------------------------------------------------------


async def test_deciding_again_gives_the_decision_back(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="5")
    approved, rejected = await decided(uow, strategy, 5), await decided(uow, strategy, 5)
    for first in (approved, rejected):
        assert first.signal_id is not None
        again = await RISK.decide(
            uow, first.signal_id, requested_quantity=Decimal(1), reference_price=Decimal(1)
        )
        assert again is first
    assert approved.signal_id is not None
    await uow.signals.mark_executed(approved.signal_id)
    assert await RISK.decide(uow, approved.signal_id, requested_quantity=Decimal(1)) is approved, (
        "its order was part of the same transaction"
    )


@pytest.mark.parametrize("status", [SignalStatus.APPROVED, SignalStatus.REJECTED, SignalStatus.EXPIRED])
async def test_a_signal_that_moved_on_without_a_decision_is_not_decided(
    uow: UnitOfWork, strategy: Strategy, status: SignalStatus
) -> None:
    signal = await uow.signals.add(a_signal(strategy))
    await uow.signals.decide(signal.id, status, reason="by hand")
    with pytest.raises(IllegalTransition) as caught:
        await RISK.decide(uow, signal, requested_quantity=Decimal(1), reference_price=Decimal(1))
    assert caught.value.facts == {"signal": signal.id, "source": status}


async def test_an_approval_that_expired_is_no_approval(uow: UnitOfWork, strategy: Strategy) -> None:
    decision = await decided(uow, strategy)
    assert decision.signal_id is not None
    await uow.signals.decide(decision.signal_id, SignalStatus.EXPIRED)
    with pytest.raises(IllegalTransition):
        await RISK.decide(uow, decision.signal_id, requested_quantity=Decimal(1))


async def test_a_signal_that_is_not_there_is_not_decided(uow: UnitOfWork) -> None:
    with pytest.raises(NotFound):
        await RISK.decide(uow, new_id(), requested_quantity=Decimal(1), reference_price=Decimal(1))


@pytest.mark.parametrize(
    ("quantity", "price"),
    [
        (Decimal(0), Decimal(1)),
        (Decimal(-1), Decimal(1)),
        (Decimal(1), Decimal(0)),
        (Decimal(1), None),
        (Decimal("NaN"), Decimal(1)),
        (0.5, Decimal(1)),
        (Decimal(1), 64_000.5),
    ],
)
async def test_a_quantity_or_price_that_is_none_is_refused_and_nothing_is_decided(
    uow: UnitOfWork, strategy: Strategy, quantity: Any, price: Any
) -> None:
    signal = await uow.signals.add(a_signal(strategy))
    with pytest.raises(InvalidValue):
        await RISK.decide(uow, signal, requested_quantity=quantity, reference_price=price)
    assert signal.status is SignalStatus.PROPOSED
    assert await uow.risk_decisions.of_signal(signal.id) == []


async def test_a_limit_signal_is_judged_at_its_own_price(uow: UnitOfWork, strategy: Strategy) -> None:
    signal: Signal = await uow.signals.add(
        a_signal(strategy, entry_type=EntryType.LIMIT, proposed_entry_price=Decimal(90))
    )
    decision = await RISK.decide(uow, signal, requested_quantity=Decimal(1))
    assert decision.portfolio["price"] == "90"


async def test_what_was_changed_but_not_sent_yet_counts(uow: UnitOfWork, strategy: Strategy) -> None:
    await limit(uow, max_position_quantity="5")
    uow.session.add(an_order(strategy, quantity=Decimal(4)))
    signal = a_signal(strategy)
    uow.session.add(signal)
    decision = await RISK.decide(uow, signal, requested_quantity=Decimal(2), reference_price=Decimal(1))
    assert decision.approved_quantity == 1


async def test_the_figures_on_record_are_exact(uow: UnitOfWork, strategy: Strategy) -> None:
    tiny = Decimal("0.000000000000000001")
    await hold(uow, strategy, "1.000000000000000001", 0, cost=Decimal(0), mark=str(100 + tiny))
    decision = await decided(uow, strategy)
    assert decision.portfolio["unrealized_pnl"] == "100.000000000000000101000000000000000001"
    assert decision.portfolio["equity"] == "5000100.000000000000000101000000000000000001"
