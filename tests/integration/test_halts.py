"""Halts: what is stored in a halted account, and what is not."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import OrderStatus, RiskVerdict, Side, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import (
    InvalidReference,
    InvalidValue,
    LockTimeout,
    NotFound,
    TradingHalted,
    TransactionConflict,
)
from gal_friday.services import ExecutionHandler
from gal_friday.services.order_gateway import Amendment
from gal_friday.state.halts import wait_for_intents
from tests.factories import NOON, a_fill, a_risk_decision, a_signal, a_strategy, an_order
from tests.risk import decided
from tests.waiting import until

WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
async def strategy(uow: UnitOfWork) -> Strategy:
    return await uow.strategies.add(a_strategy())


async def test_a_halted_account_takes_no_new_order_and_says_why(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.halts.halt(reason="the exchange is down", by="alice")
    with pytest.raises(TradingHalted, match="the exchange is down") as caught:
        async with uow.savepoint():
            await uow.orders.add(an_order(strategy))
    assert caught.value.facts["halted_by"] == "alice"
    assert caught.value.facts["strategy_id"] is None
    await uow.halts.resume()
    await uow.orders.add(an_order(strategy))


async def test_in_a_halt_what_protects_or_reduces_passes(uow: UnitOfWork, strategy: Strategy) -> None:
    entry = await uow.orders.add(an_order(strategy, exchange_order_id="X1"))
    await uow.halts.halt(reason="enough", by="alice")
    await uow.orders.add(an_order(strategy, reduce_only=True))
    await uow.orders.add(an_order(strategy, parent_order_id=entry.id, side=Side.SELL))
    with pytest.raises(TradingHalted):
        async with uow.savepoint():
            await uow.orders.add(an_order(strategy, parent_order_id=entry.id, side=Side.BUY))
    await uow.orders.transition(entry.id, OrderStatus.NEW, at=NOON)
    await uow.orders.transition(entry.id, OrderStatus.PENDING_CANCEL, at=NOON)
    assert (await uow.execution.apply_fill(a_fill(entry))).result == "APPLIED"


async def test_in_a_halt_decisions_refuse(uow: UnitOfWork, strategy: Strategy) -> None:
    await uow.halts.halt(reason="enough", by="alice")
    decision = await decided(uow, strategy)
    assert (decision.decision, decision.reason) == (RiskVerdict.HALTED, "the account is halted: enough")
    for verdict in (RiskVerdict.APPROVED, RiskVerdict.RESIZED):
        with pytest.raises(TradingHalted):
            async with uow.savepoint():
                await uow.risk_decisions.add(a_risk_decision(decision=verdict))


async def test_a_strategy_is_halted_alone(uow: UnitOfWork, strategy: Strategy) -> None:
    other = await uow.strategies.add(a_strategy())
    await uow.halts.halt(reason="it lost too much", by="bob", strategy_id=strategy.strategy_id)
    decision = await decided(uow, strategy)
    assert decision.reason == "the strategy is halted: it lost too much"
    assert (await decided(uow, other)).decision is RiskVerdict.APPROVED
    await uow.orders.add(an_order(other))
    with pytest.raises(TradingHalted) as caught:
        async with uow.savepoint():
            await uow.orders.add(an_order(strategy))
    assert caught.value.facts["strategy_id"] == strategy.strategy_id
    signal = await uow.signals.add(a_signal(strategy))
    with pytest.raises(TradingHalted):
        async with uow.savepoint():
            await uow.risk_decisions.add(a_risk_decision(signal_id=signal.id))
    assert [halt.strategy_id for halt in await uow.halts.in_force()] == [strategy.strategy_id]
    await uow.halts.resume(strategy_id=strategy.strategy_id)
    assert await uow.halts.in_force() == []
    await uow.orders.add(an_order(strategy))


async def test_a_halt_keeps_its_time_and_takes_a_new_reason(uow: UnitOfWork, strategy: Strategy) -> None:
    first = await uow.halts.halt(reason="one", by="alice")
    since = first.halted_at
    again = await uow.halts.halt(reason="two", by="bob")
    assert (again.halted_at, again.halt_reason, again.halted_by) == (since, "two", "bob")
    assert await uow.halts.resume() is again
    assert await uow.halts.resume() is None
    assert await uow.halts.resume(strategy_id=strategy.strategy_id) is None


async def test_a_halt_is_of_something_that_is_there_and_has_a_reason(uow: UnitOfWork) -> None:
    with pytest.raises(NotFound):
        await uow.halts.halt(reason="x", by="alice", account_id="nobody's")
    with pytest.raises(InvalidValue, match="reason"):
        await uow.halts.halt(reason=" ", by="alice")
    with pytest.raises(InvalidReference):
        await uow.halts.halt(reason="x", by="alice", strategy_id="nothing")


@pytest.fixture
async def other(database_url: URL) -> AsyncIterator[Database]:
    async with DatabaseConnectionPool(DatabaseSettings(), url=database_url) as pool:
        yield Database(pool)


async def test_a_halt_waits_for_what_is_being_stored_and_stops_what_comes_after(
    database: Database, other: Database
) -> None:
    strategy = await database.strategies.add(a_strategy())

    async def halt() -> None:
        async with other.transaction() as uow:
            await uow.halts.halt(reason="enough", by="alice")
        await wait_for_intents(other.pool)

    async def somebody_waits() -> bool:
        async with other.transaction() as uow:
            return bool(await uow.session.scalar(WAITING))

    async with database.transaction() as uow:
        await uow.orders.add(an_order(strategy, quantity=Decimal(1)))
        halting = asyncio.create_task(halt())
        await until(somebody_waits, "the halt to wait for the order")
    await halting
    with pytest.raises(TradingHalted):
        await database.orders.add(an_order(strategy))
    assert await database.orders.count() == 1


async def test_halting_and_deciding_at_once_lock_in_one_order(database: Database, other: Database) -> None:
    strategy = await database.strategies.add(a_strategy())

    async def decide() -> None:
        for _ in range(20):
            async with database.transaction() as uow:
                await decided(uow, strategy)

    async def halt() -> None:
        for _ in range(20):
            async with other.transaction() as uow:
                await uow.halts.halt(reason="enough", by="alice")
            async with other.transaction() as uow:
                await uow.halts.resume()

    await asyncio.gather(decide(), decide(), halt())
    assert await database.risk_decisions.count() == 40


async def test_a_halt_is_in_force_at_once_and_told_where_something_does_not_end(
    database: Database, other: Database
) -> None:
    strategy = await database.strategies.add(a_strategy())
    async with database.transaction() as stuck:
        await stuck.signals.add(a_signal(strategy))
        async with other.transaction() as uow:
            await uow.halts.halt(reason="enough", by="alice")
        with pytest.raises(TradingHalted):
            await other.orders.add(an_order(strategy))
        with pytest.raises(LockTimeout):
            await wait_for_intents(other.pool, seconds=0.1)


async def test_a_halt_gets_through_while_others_never_stop_intending(
    database: Database, other: Database
) -> None:
    strategy = await database.strategies.add(a_strategy())
    ended = asyncio.Event()

    async def intend() -> None:
        while not ended.is_set():  # overlapping: the account is never without an intent
            async with database.transaction() as uow:
                await uow.signals.add(a_signal(strategy))
                await uow.session.execute(text("SELECT pg_sleep(0.05)"))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(intend())
        await until(database.signals.exists, "intents")
        async with other.transaction() as uow:
            await uow.halts.halt(reason="enough", by="alice")
        await wait_for_intents(other.pool, seconds=60)
        ended.set()


async def test_a_snapshot_from_before_the_halt_stores_nothing(database: Database, other: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    for halted in (None, strategy.strategy_id):
        async with database.transaction(snapshot=True) as uow:
            await uow.orders.count()
            async with other.transaction() as halting:
                await halting.halts.halt(reason="enough", by="alice", strategy_id=halted)
            with pytest.raises(TransactionConflict):
                async with uow.savepoint():
                    await uow.orders.add(an_order(strategy))
        async with other.transaction() as resuming:
            await resuming.halts.resume(strategy_id=halted)


async def test_in_a_halt_an_order_is_neither_enlarged_nor_sent_again(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    entry = await database.orders.add(an_order(strategy, quantity=Decimal(2)))
    handler = ExecutionHandler(database)
    async with database.transaction() as uow:
        await uow.halts.halt(reason="enough", by="alice")
    for refused in (
        handler.resend(entry.id),
        handler.amend(entry.id, Amendment(quantity=Decimal(3))),
        handler.amend(entry.id, Amendment(limit_price=Decimal(90_000))),
        handler.amend(entry.id, Amendment(quantity=Decimal(1), limit_price=Decimal(90_000))),
    ):
        with pytest.raises(TradingHalted):
            await refused
    await handler.amend(entry.id, Amendment(quantity=Decimal(1)))
    assert (await handler.cancel(entry.id)).status is OrderStatus.PENDING_CANCEL


async def test_who_may_lift_what(uow: UnitOfWork) -> None:
    await uow.halts.halt(reason="holidays", by="alice")
    kept = await uow.halts.halt(reason="wanting", by="recovery", only_own=True)
    assert (kept.halt_reason, kept.halted_by) == ("holidays", "alice")
    assert await uow.halts.resume(made_by="recovery") is None
    assert await uow.halts.resume(made_by="alice") is kept
