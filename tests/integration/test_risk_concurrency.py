"""Signals that each keep within a limit cannot together pass it, however many are decided at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import (
    OrderStatus,
    OrderType,
    RiskDecision,
    RiskLimit,
    RiskScope,
    RiskVerdict,
    Side,
    Signal,
    SignalStatus,
    Strategy,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import CommitUnknown
from tests.concurrency import at_once
from tests.factories import NOON, a_cash_flow, a_fill, a_signal, a_strategy, an_order
from tests.network import AnswerEater
from tests.risk import RISK, hold, limit
from tests.waiting import until

AT_ONCE = 32
PRICE = Decimal(100)
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
async def wide(database_url: URL) -> AsyncIterator[Database]:
    """A database with a connection for each of many at once."""
    settings = DatabaseSettings(pool_size=AT_ONCE + 2, max_overflow=0, retry_timeout_seconds=300)
    async with DatabaseConnectionPool(settings, url=database_url) as pool:
        yield Database(pool)
        assert pool.stats().checked_out == 0


@pytest.fixture
async def strategy(wide: Database) -> Strategy:
    return await wide.strategies.add(a_strategy())


async def signals_of(database: Database, strategy: Strategy, **overrides: Any) -> Sequence[Signal]:
    return await database.signals.add_many([a_signal(strategy, **overrides) for _ in range(AT_ONCE)])


async def set_limit(
    database: Database, scope: RiskScope = RiskScope.ACCOUNT, key: str = "default", **of: Any
) -> None:
    async with database.transaction() as uow:
        await limit(uow, scope, key, **of)


async def decide_at_once(
    database: Database, signals: Sequence[Signal], quantity: str
) -> Sequence[RiskDecision]:
    """Each in a transaction of its own."""

    async def decide(number: int) -> RiskDecision:
        return await RISK.decide_and_commit(
            database,
            signals[number],
            requested_quantity=Decimal(quantity),
            reference_price=PRICE,
            at=NOON,
        )

    return await at_once(decide, len(signals))


async def is_somebody_waiting(database: Database) -> bool:
    async with database.transaction() as uow:
        waiting: int = (await uow.session.scalars(WAITING)).one()
    return waiting > 0


@pytest.mark.parametrize("limits", [{"max_position_quantity": "10"}, {"max_notional": "1000"}], ids=str)
async def test_of_32_at_once_exactly_as_many_pass_as_fit(
    wide: Database, strategy: Strategy, limits: dict[str, Any]
) -> None:
    await set_limit(wide, **limits)
    signals = await signals_of(wide, strategy)

    decisions = await decide_at_once(wide, signals, "1")

    verdicts = [decision.decision for decision in decisions]
    assert verdicts.count(RiskVerdict.APPROVED) == 10
    assert verdicts.count(RiskVerdict.REJECTED) == AT_ONCE - 10
    stored = await wide.risk_decisions.find_all()
    assert {decision.signal_id for decision in stored} == {signal.id for signal in signals}
    assert len(stored) == AT_ONCE
    assert all(len(decision.checks) == 2 for decision in stored)
    approved = await wide.signals.find_by_status(SignalStatus.APPROVED)
    assert {signal.id for signal in approved} == {
        decision.signal_id for decision in decisions if decision.decision is RiskVerdict.APPROVED
    }


async def test_the_last_to_fit_is_resized_and_the_sum_is_the_limit_exactly(
    wide: Database, strategy: Strategy
) -> None:
    await set_limit(wide, max_position_quantity="10")
    decisions = await decide_at_once(wide, await signals_of(wide, strategy), "0.7")
    verdicts = [decision.decision for decision in decisions]
    assert verdicts.count(RiskVerdict.APPROVED) == 14
    assert verdicts.count(RiskVerdict.RESIZED) == 1
    assert sum(decision.approved_quantity or 0 for decision in decisions) == 10


async def test_what_is_ordered_in_the_deciding_transaction_counts_for_those_that_follow(
    wide: Database, strategy: Strategy
) -> None:
    await set_limit(wide, max_notional="1000")

    async def trade(_: int) -> Decimal:
        async def work(uow: UnitOfWork) -> Decimal:
            signal = await uow.signals.add(a_signal(strategy))
            decision = await RISK.decide(
                uow, signal, requested_quantity=Decimal("1.5"), reference_price=PRICE
            )
            if not decision.approved_quantity:
                return Decimal(0)
            order = an_order(
                strategy,
                signal_id=signal.id,
                order_type=OrderType.MARKET,
                quantity=decision.approved_quantity,
                limit_price=None,
            )
            await uow.orders.add(order)
            await uow.signals.mark_executed(signal.id)
            return decision.approved_quantity

        return await wide.retrying(work)

    assert sum(await at_once(trade, AT_ONCE)) == 10
    orders = await wide.orders.get_active_orders()
    assert sum(order.quantity or 0 for order in orders) == 10
    assert len(orders) == 7


async def test_no_more_positions_are_opened_at_once_than_may_be_open(
    wide: Database, strategy: Strategy
) -> None:
    await set_limit(wide, max_open_positions=5)
    signals = await wide.signals.add_many(
        [a_signal(strategy, trading_pair=f"COIN{number}/USD") for number in range(AT_ONCE)]
    )
    decisions = await decide_at_once(wide, signals, "1")
    assert [decision.decision for decision in decisions].count(RiskVerdict.APPROVED) == 5


async def test_a_position_is_left_once_however_many_want_to_leave_it(
    wide: Database, strategy: Strategy
) -> None:
    await set_limit(wide, max_daily_loss="0")
    async with wide.transaction() as uow:
        await hold(uow, strategy, 10, 100, mark=99)
    decisions = await decide_at_once(wide, await signals_of(wide, strategy, side=Side.SELL), "0.75")
    assert sum(decision.approved_quantity or 0 for decision in decisions) == 10


async def test_strategies_and_pairs_share_what_the_account_may_do(wide: Database) -> None:
    await set_limit(wide, max_notional="1700")
    strategies = await wide.strategies.add_many([a_strategy() for _ in range(4)])
    for each in strategies:
        await set_limit(wide, RiskScope.STRATEGY, each.strategy_id, max_notional="500")
    signals = await wide.signals.add_many(
        [a_signal(strategies[number % 4], trading_pair=f"COIN{number % 8}/USD") for number in range(AT_ONCE)]
    )
    decisions = await decide_at_once(wide, signals, "1")
    passed = [
        signal.strategy_id
        for signal, decision in zip(signals, decisions, strict=True)
        if decision.decision is RiskVerdict.APPROVED
    ]
    assert len(passed) == 17
    assert max(passed.count(each.strategy_id) for each in strategies) <= 5


async def test_one_signal_decided_by_many_at_once_has_one_decision(
    wide: Database, strategy: Strategy
) -> None:
    signal = await wide.signals.add(a_signal(strategy))
    decisions = await decide_at_once(wide, [signal] * AT_ONCE, "1")
    assert len({decision.id for decision in decisions}) == 1
    assert len(await wide.risk_decisions.of_signal(signal.id)) == 1


async def test_deadlocks_of_decisions_in_several_accounts_are_retried(
    wide: Database, strategy: Strategy
) -> None:
    for account_id in ("a", "b"):
        await wide.accounts.open_account(account_id)

    async def decide(number: int) -> None:
        async def work(uow: UnitOfWork) -> None:
            for account_id in ("a", "b") if number % 2 else ("b", "a"):
                signal = await uow.signals.add(a_signal(strategy, account_id=account_id))
                await RISK.decide(uow, signal, requested_quantity=Decimal(1), reference_price=PRICE)

        await wide.retrying(work, attempts=1_000)

    await at_once(decide, 4)
    assert await wide.risk_decisions.count() == 8


async def test_facts_are_stored_while_a_decision_is_being_made(wide: Database, strategy: Strategy) -> None:
    order = await wide.orders.add(an_order(strategy, status=OrderStatus.NEW))
    signal = await wide.signals.add(a_signal(strategy))
    async with wide.transaction() as deciding:
        await RISK.decide(deciding, signal, requested_quantity=Decimal(1), reference_price=PRICE)
        async with asyncio.timeout(60), wide.transaction() as uow:
            await uow.fills.add(a_fill(order))
            await uow.orders.transition(
                order.id, OrderStatus.PARTIALLY_FILLED, filled_quantity=Decimal(1), cost=Decimal(50_000)
            )
            await uow.cash_flows.add(a_cash_flow())
            await hold(uow, strategy, 1)


async def test_decisions_in_another_account_do_not_wait(wide: Database, strategy: Strategy) -> None:
    await wide.accounts.open_account("another")
    mine = await wide.signals.add(a_signal(strategy))
    theirs = await wide.signals.add(a_signal(strategy, account_id="another"))
    async with wide.transaction() as deciding:
        await RISK.decide(deciding, mine, requested_quantity=Decimal(1), reference_price=PRICE)
        async with asyncio.timeout(60):
            decisions = await decide_at_once(wide, [theirs], "1")
    assert decisions[0].decision is RiskVerdict.APPROVED


async def test_a_halt_that_comes_first_stops_the_decision_that_waits_for_it(
    wide: Database, strategy: Strategy
) -> None:
    signal = await wide.signals.add(a_signal(strategy))
    async with wide.transaction() as halting:
        account = await halting.accounts.one("default")
        account.halted_at, account.halt_reason = datetime.now(UTC), "enough"
        await halting.flush()
        waiting = asyncio.create_task(decide_at_once(wide, [signal], "1"))
        await until(lambda: is_somebody_waiting(wide), "the decision waits")
    (decision,) = await waiting
    assert (decision.decision, decision.reason) == (RiskVerdict.HALTED, "the account is halted: enough")


async def test_the_limits_that_count_are_those_in_force_when_the_waiting_is_over(
    wide: Database, strategy: Strategy
) -> None:
    await set_limit(wide, max_position_quantity="10")
    first, second = await wide.signals.add_many([a_signal(strategy), a_signal(strategy)])
    async with wide.transaction() as deciding:
        await RISK.decide(deciding, first, requested_quantity=Decimal(1), reference_price=PRICE)
        waiting = asyncio.create_task(decide_at_once(wide, [second], "9"))
        await until(lambda: is_somebody_waiting(wide), "the decision waits")
        async with wide.transaction() as lowering:
            limits: RiskLimit = await lowering.risk_limits.one(("default", RiskScope.ACCOUNT, "default"))
            limits.max_position_quantity = Decimal(4)
    (decision,) = await waiting
    assert (decision.decision, decision.approved_quantity) == (RiskVerdict.RESIZED, Decimal(3))


async def test_a_decision_whose_commit_was_not_answered_is_asked_for_again(
    wide: Database, strategy: Strategy, database_url: URL
) -> None:
    await set_limit(wide, max_position_quantity="10")
    signals = await signals_of(wide, strategy)
    eater = AnswerEater(database_url, every=2)
    async with (
        eater.url() as url,
        DatabaseConnectionPool(DatabaseSettings(pool_size=1, max_overflow=0), url=url) as pool,
    ):
        for signal in signals[:6]:
            await RISK.decide_and_commit(pool, signal, requested_quantity=Decimal(4), reference_price=PRICE)
        assert eater.eaten >= 3
    decisions = await wide.risk_decisions.find_all(order_by=RiskDecision.decided_at)
    assert [decision.approved_quantity for decision in decisions] == [4, 4, 2, 0, 0, 0]


async def test_a_caller_that_lost_the_answer_may_ask_again(
    wide: Database, strategy: Strategy, database_url: URL
) -> None:
    signal = await wide.signals.add(a_signal(strategy))

    async def work(uow: UnitOfWork) -> RiskDecision:
        return await RISK.decide(uow, signal, requested_quantity=Decimal(1), reference_price=PRICE)

    eater = AnswerEater(database_url, closes=True)
    settings = DatabaseSettings(pool_size=1, max_overflow=0, retry_timeout_seconds=0.2)
    async with eater.url() as url, DatabaseConnectionPool(settings, url=url) as pool:
        with pytest.raises(CommitUnknown):
            await pool.retrying(work)
    (stored,) = await wide.risk_decisions.of_signal(signal.id)
    again = await wide.retrying(work)
    assert again.id == stored.id
    assert len(await wide.risk_decisions.of_signal(signal.id)) == 1
