"""Strategies, their state and performance; signals, limits and verdicts; the ledger of what came in."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from gal_friday.dal.models import (
    Account,
    ProcessingStatus,
    RiskScope,
    RiskVerdict,
    Signal,
    SignalLog,
    SignalStatus,
    Strategy,
    new_id,
)
from gal_friday.dal.repositories.signal_repository import SIGNAL_TRANSITIONS
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import (
    AlreadyExists,
    Ambiguous,
    ConstraintViolated,
    IllegalTransition,
    InvalidReference,
    InvalidValue,
    NotFound,
    StaleWrite,
)
from tests.archive import archive
from tests.concurrency import at_once
from tests.factories import (
    MINUTE,
    NOON,
    a_closed_trade,
    a_fingerprint,
    a_risk_decision,
    a_risk_limit,
    a_signal,
    a_signal_log,
    a_strategy,
    a_strategy_metric,
    a_trade,
    an_archived_trade,
)

BOT_B = "bot-b"


@pytest.fixture
async def strategy(uow: UnitOfWork) -> Strategy:
    return await uow.strategies.add(a_strategy())


async def test_strategies_that_run_are_found_newest_first(uow: UnitOfWork) -> None:
    older, newer = a_strategy(is_active=True), a_strategy(is_active=True)
    older.created_at, newer.created_at = NOON, NOON + MINUTE
    await uow.strategies.add_many([older, newer, a_strategy()])
    assert await uow.strategies.find_active_strategies() == [newer, older]


async def test_running_totals_are_set_one_by_one(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.strategies.update_performance_metrics(
        strategy.strategy_id, total_trades=10, winning_trades=6, total_pnl=Decimal("12.5")
    )
    await uow.strategies.update_performance_metrics(strategy.strategy_id, max_drawdown=Decimal("0.25"))
    await uow.session.refresh(strategy)
    assert (strategy.total_trades, strategy.winning_trades) == (10, 6)
    assert (strategy.total_pnl, strategy.max_drawdown) == (Decimal("12.5"), Decimal("0.25"))
    await uow.strategies.update_performance_metrics(strategy.strategy_id, total_pnl=Decimal(0))
    assert strategy.total_pnl == Decimal(0)
    with pytest.raises(NotFound):
        await uow.strategies.update_performance_metrics("nobody", total_trades=1)


async def test_performance_counts_closed_trades_archived_ones_too(owner_uow: UnitOfWork) -> None:
    strategy = await owner_uow.strategies.add(a_strategy())
    await owner_uow.accounts.add(Account(account_id=BOT_B))
    await owner_uow.trades.add_many(
        [
            a_closed_trade(strategy, realized_pnl=Decimal(10), total_commission=Decimal(1)),
            a_closed_trade(
                strategy,
                realized_pnl=Decimal(-4),
                exit_timestamp=NOON + 60 * MINUTE,
                total_commission=Decimal(2),
            ),
            a_trade(strategy),
            a_closed_trade(strategy, account_id=BOT_B),
            a_closed_trade(),
        ]
    )
    await archive(owner_uow, an_archived_trade(strategy, realized_pnl=Decimal(0)))

    performance = await owner_uow.strategies.get_strategy_performance(strategy.strategy_id)

    assert performance.quote_currency == "USD"
    assert (performance.total_trades, performance.winning_trades, performance.losing_trades) == (3, 1, 1)
    assert performance.win_rate == Decimal("0.33333333")
    assert (performance.total_pnl, performance.total_commission) == (Decimal(6), Decimal(3))
    assert performance.average_pnl == Decimal(2)
    assert performance.pnl_stddev == Decimal("7.211102550927978586")
    assert (performance.best_trade, performance.worst_trade) == (Decimal(10), Decimal(-4))
    assert performance.average_duration == timedelta(minutes=40)


async def test_performance_is_of_the_time_asked_for(uow: UnitOfWork, strategy: Strategy) -> None:
    times = [NOON, NOON + MINUTE, NOON + 2 * MINUTE]
    await uow.trades.add_many(
        [
            a_closed_trade(strategy, entry_timestamp=time, realized_pnl=Decimal(10**number))
            for number, time in enumerate(times)
        ]
    )

    async def total(start: datetime | None = None, end: datetime | None = None) -> Decimal:
        performance = await uow.strategies.get_strategy_performance(strategy.strategy_id, start, end)
        return performance.total_pnl

    assert await total() == Decimal(111)
    assert await total(times[1]) == Decimal(110)
    assert await total(None, times[1]) == Decimal(1)
    assert await total(times[1], times[2]) == Decimal(10)


async def test_performance_without_trades_says_so(uow: UnitOfWork, strategy: Strategy) -> None:
    performance = await uow.strategies.get_strategy_performance(strategy.strategy_id)
    assert (performance.total_trades, performance.total_pnl) == (0, Decimal(0))
    assert performance.win_rate is performance.average_pnl is performance.best_trade is None


async def test_performance_in_several_currencies_has_no_sum(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.trades.add_many(
        [
            a_closed_trade(strategy),
            a_closed_trade(strategy, trading_pair="BTC/EUR", quote_currency="EUR", realized_pnl=Decimal(7)),
        ]
    )
    with pytest.raises(Ambiguous) as caught:
        await uow.strategies.get_strategy_performance(strategy.strategy_id)
    assert caught.value.facts["currencies"] == ["EUR", "USD"]
    in_euros = await uow.strategies.get_strategy_performance(strategy.strategy_id, quote_currency="EUR")
    assert (in_euros.total_pnl, in_euros.pnl_stddev) == (Decimal(7), None)


async def test_state_is_what_was_set_last(uow: UnitOfWork, strategy: Strategy) -> None:
    states, name = uow.strategy_states, strategy.strategy_id
    assert await states.get_value(name, "window") is None
    assert await states.get_value(name, "window", 20) == 20
    await states.set_value(name, "window", {"size": 20, "sum": Decimal("1.10")})
    loaded = await states.one(("default", name, "window"))
    await states.set_value(name, "window", [1, 2.5, "x", None, False])
    await states.set_value(name, "armed", value=False)

    assert await states.get_value(name, "window") == [1, 2.5, "x", None, False]
    assert loaded.value == [1, 2.5, "x", None, False]
    assert loaded.row_version == 2
    assert await states.get_value(name, "armed", default=True) is False
    assert await states.all_of(name) == {"armed": False, "window": [1, 2.5, "x", None, False]}
    assert await states.all_of(name, account_id=BOT_B) == {}


async def test_a_state_of_no_strategy_and_no_value_are_refused(uow: UnitOfWork, strategy: Strategy) -> None:
    with pytest.raises(InvalidReference):
        async with uow.savepoint():
            await uow.strategy_states.set_value("nobody", "key", 1)
    with pytest.raises(ConstraintViolated):
        async with uow.savepoint():
            await uow.strategy_states.set_value(strategy.strategy_id, "key", None)
    with pytest.raises(InvalidValue):
        await uow.strategy_states.set_value(strategy.strategy_id, "key", float("nan"))


async def test_a_day_of_metrics_is_replaced_when_it_is_computed_again(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await uow.strategy_metrics.store(a_strategy_metric(strategy, total_pnl=Decimal(1)))
    await uow.strategy_metrics.store(a_strategy_metric(strategy, total_pnl=Decimal(2)))
    next_day = NOON.date() + timedelta(days=1)
    await uow.strategy_metrics.store(a_strategy_metric(strategy, date=next_day))

    days = await uow.strategy_metrics.between(strategy.strategy_id, date(2026, 1, 1), next_day)
    assert [(day.date, day.total_pnl) for day in days] == [
        (NOON.date(), Decimal(2)),
        (next_day, Decimal(0)),
    ]


async def test_a_signal_is_taken_once(uow: UnitOfWork, strategy: Strategy) -> None:
    signal = a_signal(strategy)
    taken = await uow.signals.claim(signal)
    assert taken is not None
    assert (taken.id, taken.status) == (signal.id, SignalStatus.PROPOSED)
    assert await uow.signals.claim(a_signal(strategy, fingerprint=signal.fingerprint)) is None
    assert await uow.signals.get_by_fingerprint(signal.fingerprint) is taken
    assert await uow.signals.get_by_fingerprint(signal.fingerprint, account_id=BOT_B) is None


async def test_another_account_may_take_the_same_signal(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.accounts.add(Account(account_id=BOT_B))
    fingerprint = a_fingerprint()
    assert await uow.signals.claim(a_signal(strategy, fingerprint=fingerprint)) is not None
    theirs = a_signal(strategy, fingerprint=fingerprint, account_id=BOT_B)
    assert await uow.signals.claim(theirs) is not None


async def test_a_signal_that_clashes_with_another_by_its_id_is_not_taken_for_claimed(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    claimed = await uow.signals.add(a_signal(strategy))
    with pytest.raises(AlreadyExists) as caught:
        async with uow.savepoint():
            await uow.signals.claim(a_signal(strategy, id=claimed.id))
    assert caught.value.facts["constraint"] == "pk_signals"
    entry = await uow.signal_log.record(a_signal_log())
    with pytest.raises(AlreadyExists):
        async with uow.savepoint():
            await uow.signal_log.record(a_signal_log(id=entry.id))


async def test_of_eight_that_claim_a_signal_at_once_one_has_it(database: Database) -> None:
    strategy, fingerprint = await database.strategies.add(a_strategy()), a_fingerprint()

    async def claim(_: int) -> Signal | None:
        taken: Signal | None = await database.signals.claim(a_signal(strategy, fingerprint=fingerprint))
        return taken

    claims = await at_once(claim, 8)
    assert sum(taken is not None for taken in claims) == 1


async def test_a_claim_that_was_rolled_back_is_free_again(database: Database) -> None:
    strategy, fingerprint = await database.strategies.add(a_strategy()), a_fingerprint()
    async with database.transaction() as uow:
        assert await uow.signals.claim(a_signal(strategy, fingerprint=fingerprint)) is not None
        await uow.session.rollback()
    assert await database.signals.claim(a_signal(strategy, fingerprint=fingerprint)) is not None


async def test_a_signal_is_approved_then_executed(uow: UnitOfWork, strategy: Strategy) -> None:
    signal = await uow.signals.add(a_signal(strategy))
    await uow.signals.approve(signal.id, details={"drawdown": Decimal("0.1")}, at=NOON)
    await uow.signals.mark_executed(signal.id, at=NOON + MINUTE)
    await uow.session.refresh(signal)
    assert signal.status is SignalStatus.EXECUTED
    assert (signal.decided_at, signal.executed_at) == (NOON, NOON + MINUTE)
    assert signal.risk_check_details == {"drawdown": "0.1"}


async def test_a_signal_is_rejected_for_a_reason(uow: UnitOfWork, strategy: Strategy) -> None:
    signal = await uow.signals.add(a_signal(strategy))
    await uow.signals.reject(signal.id, "too large")
    assert (signal.status, signal.rejection_reason) == (SignalStatus.REJECTED, "too large")
    assert signal.decided_at is not None
    without_a_reason = await uow.signals.add(a_signal(strategy))
    with pytest.raises(ConstraintViolated):
        await uow.signals.decide(without_a_reason.id, SignalStatus.REJECTED)


@pytest.mark.parametrize("source", SignalStatus)
async def test_a_signal_moves_forward_only(uow: UnitOfWork, strategy: Strategy, source: SignalStatus) -> None:
    for target in SignalStatus:
        signal = await uow.signals.add(a_signal(strategy, status=source, rejection_reason="any"))
        if target in SIGNAL_TRANSITIONS[source]:
            assert (await uow.signals.decide(signal.id, target)).status is target
        else:
            with pytest.raises(IllegalTransition):
                await uow.signals.decide(signal.id, target)


async def test_two_verdicts_on_one_signal_do_not_both_stand(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    signal = await database.signals.add(a_signal(strategy))
    async with database.transaction() as uow:
        as_read = await uow.signals.one(signal.id)
        await database.signals.approve(signal.id)
        with pytest.raises(StaleWrite):
            await uow.signals.reject(as_read.id, "too late")
        await uow.session.rollback()


async def test_signals_are_found_by_status_and_by_recency(uow: UnitOfWork, strategy: Strategy) -> None:
    other = await uow.strategies.add(a_strategy())
    first, second = a_signal(strategy), a_signal(strategy, trading_pair="XRP/USD")
    of_other, old = a_signal(other, status="EXPIRED"), a_signal(strategy, created_at=NOON - 30 * MINUTE * 96)
    await uow.signals.add_many([first, second, of_other, old])

    assert await uow.signals.find_by_status(SignalStatus.PROPOSED) == [old, first, second]
    assert await uow.signals.find_by_status(SignalStatus.PROPOSED, limit=1) == [old]
    assert await uow.signals.find_by_status(SignalStatus.PROPOSED, trading_pair="XRP/USD") == [second]
    assert await uow.signals.find_by_status(SignalStatus.PROPOSED, account_id=BOT_B) == []
    assert await uow.signals.get_recent_signals() == [of_other, second, first]
    assert await uow.signals.get_recent_signals(strategy_id=other.strategy_id) == [of_other]
    assert await uow.signals.get_recent_signals(account_id=BOT_B) == []


async def test_the_limits_that_bind_are_those_of_account_strategy_and_pair(uow: UnitOfWork) -> None:
    of_account = a_risk_limit()
    of_pair = a_risk_limit(scope=RiskScope.PAIR, key="BTC/USD")
    of_strategy = a_risk_limit(scope=RiskScope.STRATEGY, key="momentum")
    switched_off = a_risk_limit(key="old", active=False)
    await uow.risk_limits.add_many([of_account, of_pair, of_strategy, switched_off])

    active = uow.risk_limits.get_active_limits
    assert await active() == [of_account]
    assert await active(strategy_id="momentum", trading_pair="BTC/USD") == [of_account, of_pair, of_strategy]
    assert await active(strategy_id="BTC/USD", trading_pair="momentum") == [of_account]
    assert await active(account_id=BOT_B) == []


async def test_verdicts_are_found_by_what_they_were_on_and_when(uow: UnitOfWork, strategy: Strategy) -> None:
    signal, order_id = await uow.signals.add(a_signal(strategy)), new_id()
    later = a_risk_decision(signal_id=signal.id, order_id=order_id, decided_at=NOON + MINUTE)
    earlier = a_risk_decision(signal_id=signal.id, decision=RiskVerdict.RESIZED, reason="too large")
    await uow.risk_decisions.add_many([later, earlier])

    assert await uow.risk_decisions.of_signal(signal.id) == [earlier, later]
    assert await uow.risk_decisions.of_order(order_id) == [later]
    assert await uow.risk_decisions.between(NOON, NOON + MINUTE) == [earlier]
    assert await uow.risk_decisions.between(NOON, NOON + MINUTE, account_id=BOT_B) == []


async def test_a_raw_signal_is_entered_once_and_its_repetitions_counted(uow: UnitOfWork) -> None:
    first = a_signal_log()
    assert not await uow.signal_log.seen(first.fingerprint)
    entry = await uow.signal_log.record(first)
    assert (entry.id, entry.duplicate_count) == (first.id, 0)
    again = await uow.signal_log.record(a_signal_log(fingerprint=first.fingerprint, price=Decimal(1)))
    assert again is entry
    assert (again.duplicate_count, again.price) == (1, None)
    assert await uow.signal_log.seen(first.fingerprint)
    assert not await uow.signal_log.seen(first.fingerprint, account_id=BOT_B)


async def test_of_eight_that_record_a_signal_at_once_one_is_the_first(database: Database) -> None:
    fingerprint = a_fingerprint()

    async def record(_: int) -> int:
        entry: SignalLog = await database.signal_log.record(a_signal_log(fingerprint=fingerprint))
        return entry.duplicate_count

    assert sorted(await at_once(record, 8)) == list(range(8))


async def test_the_ledger_is_read_by_status_time_and_instrument(uow: UnitOfWork) -> None:
    gold = await uow.signal_log.record(a_signal_log(received_at=NOON))
    silver = await uow.signal_log.record(
        a_signal_log(
            received_at=NOON + MINUTE,
            instrument="SILVER_MINI",
            processing_status=ProcessingStatus.PROCESSED,
        )
    )
    assert await uow.signal_log.find_by_status(ProcessingStatus.PROCESSED) == [silver]
    span = (NOON, NOON + 2 * MINUTE)
    assert await uow.signal_log.between(*span) == [gold, silver]
    assert await uow.signal_log.between(NOON, NOON + MINUTE) == [gold]
    assert await uow.signal_log.between(*span, instrument="SILVER_MINI") == [silver]
    assert await uow.signal_log.between(*span, account_id=BOT_B) == []
