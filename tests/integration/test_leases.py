"""Leases: who holds one, for how long, and what nobody else may intend."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import URL, func, text, update

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool, lease_clock
from gal_friday.dal.models import (
    AccountMode,
    Instance,
    InstanceStatus,
    Order,
    OrderOrigin,
    OrderStatus,
    PyramidingState,
    RiskVerdict,
    Strategy,
)
from gal_friday.dal.repositories.lease_repository import LeaseRepository
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import InvalidReference, InvalidValue, LeaseHeld, LeaseLost, LockTimeout, NotFound
from gal_friday.services import ExecutionHandler, RiskManager
from gal_friday.services.order_gateway import Amendment, Answer
from gal_friday.state import leases
from gal_friday.state.leases import Lease, hold_lease
from tests.concurrency import at_once
from tests.factories import (
    NOON,
    a_fill,
    a_portfolio_position,
    a_risk_decision,
    a_signal,
    a_signal_log,
    a_strategy,
    an_order,
)
from tests.waiting import until

EXPIRE = (
    update(Instance)
    .values(lease_expires_at=func.clock_timestamp() - timedelta(seconds=1))
    .execution_options(synchronize_session=False)
)

WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
def hasty_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are renewed long before they expire, so that a slow machine does not let one expire."""
    monkeypatch.setattr(leases, "RENEWALS", 100)


@pytest.fixture
async def other(database_url: URL) -> AsyncIterator[Database]:
    """Another process's database, as it were."""
    async with DatabaseConnectionPool(DatabaseSettings(), url=database_url) as pool:
        yield Database(pool)


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    return await database.strategies.add(a_strategy())


# --- holding -------------------------------------------------------------------------------------------


async def test_a_lease_is_held_until_it_is_given_up(database: Database, other: Database) -> None:
    async with hold_lease(database, metadata={"purpose": "test"}) as lease:
        assert lease.epoch == 1
        held = await other.leases.one("default")
        instance = await other.instances.one(lease.instance_id)
        assert (held.holder, held.epoch) == (lease.instance_id, 1)
        assert (instance.status, instance.extra) == (InstanceStatus.ACTIVE, {"purpose": "test"})
        with pytest.raises(LeaseHeld) as caught:
            async with hold_lease(other):
                pass
        assert caught.value.facts["holder"] == lease.instance_id
    assert (await other.instances.one(lease.instance_id)).status is InstanceStatus.STOPPED
    async with hold_lease(other) as next_lease:
        assert next_lease.epoch == 2


async def test_who_waits_gets_the_lease_when_it_is_given_up(database: Database, other: Database) -> None:
    async def second() -> int:
        async with hold_lease(other, ttl_seconds=0.3, wait_seconds=20) as lease:
            return lease.epoch

    async with hold_lease(database) as lease:
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        assert lease.epoch == 1
    assert await waiting == 2


async def test_of_many_at_once_one_leads(database: Database, other: Database) -> None:
    pools = [database, other]

    async def lead(each: Database) -> bool:
        try:
            async with hold_lease(each):
                await asyncio.Event().wait()
        except LeaseHeld:
            return False
        return True

    tasks = [asyncio.create_task(lead(each)) for each in pools]
    done, leading = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [False]
    assert len(leading) == 1
    for task in leading:
        task.cancel()
    await asyncio.wait(leading)


@pytest.mark.usefixtures("hasty_renewals")
async def test_a_lease_is_renewed_while_it_is_held(database: Database, other: Database) -> None:
    async with hold_lease(database, ttl_seconds=20) as lease:
        first = (await other.instances.one(lease.instance_id)).lease_expires_at
        assert first is not None

        async def is_renewed() -> bool:
            expires_at = (await other.instances.one(lease.instance_id)).lease_expires_at
            return expires_at is not None and expires_at > first + timedelta(seconds=0.6)

        await until(is_renewed, "several renewals")
        with pytest.raises(LeaseHeld):
            async with hold_lease(other):
                pass
        assert not lease.lost.is_set()
        lease.check()


@asynccontextmanager
async def taken_over(other: Database) -> AsyncIterator[Lease]:
    """The lease, once it has expired and its holder was not the first to renew it."""
    async with AsyncExitStack() as stack:
        taken: list[Lease] = []

        async def is_taken() -> bool:
            async with other.transaction() as uow:
                await uow.session.execute(EXPIRE)
            with suppress(LeaseHeld):
                taken.append(await stack.enter_async_context(hold_lease(other)))
            return bool(taken)

        await until(is_taken, "a takeover")
        yield taken[0]


async def test_an_expired_lease_is_taken_over_and_its_holder_is_told(
    database: Database, other: Database
) -> None:
    async with hold_lease(database, ttl_seconds=0.9) as lost, taken_over(other) as lease:
        assert lease.epoch == lost.epoch + 1
        assert (await other.instances.one(lost.instance_id)).status is InstanceStatus.CRASHED
        async with asyncio.timeout(60):
            await lost.lost.wait()
        with pytest.raises(LeaseLost):
            lost.check()


async def test_a_renewal_that_waited_for_a_takeover_says_that_the_lease_is_lost(
    database: Database, other: Database
) -> None:
    async with hold_lease(database, ttl_seconds=600) as lease:
        held = await database.leases.one("default")

        async def renew() -> bool:
            async with database.transaction() as uow:
                return await uow.leases.renew(held, duration=timedelta(seconds=600))

        async def waits() -> bool:
            async with database.transaction() as watching:
                return bool(await watching.session.scalar(WAITING))

        async with other.transaction() as uow:
            await uow.session.execute(EXPIRE)
            await uow.instances.register("next", hostname="h", pid=1, app_version="1", account_id="default")
            await uow.leases.take("next", duration=timedelta(seconds=600))
            renewing = asyncio.create_task(renew())
            await until(waits, "the renewal to wait for the takeover")
        assert not await renewing
        assert (await other.instances.one(lease.instance_id)).status is InstanceStatus.CRASHED


async def test_an_expired_lease_nobody_took_is_renewed(database: Database, other: Database) -> None:
    async with hold_lease(database, ttl_seconds=0.6) as lease:
        async with other.transaction() as uow:
            await uow.session.execute(EXPIRE)

        async def is_back() -> bool:
            try:
                async with database.transaction() as uow:
                    await uow.leases.require()
            except LeaseLost:
                return False
            return True

        await until(is_back, "a renewal")
        assert not lease.lost.is_set()


async def test_a_process_leads_an_account_once(database: Database) -> None:
    async with hold_lease(database):
        with pytest.raises(InvalidValue, match="already"):
            async with hold_lease(database):
                pass


async def test_a_lease_is_of_an_account_that_is_there(database: Database) -> None:
    with pytest.raises((NotFound, InvalidReference)):
        async with hold_lease(database, account_id="nobody's"):
            pass
    async with database.transaction() as uow:
        with pytest.raises(NotFound):
            await uow.leases.take("no such instance", duration=timedelta(seconds=1))
        with pytest.raises(NotFound):
            await uow.leases.take("no such instance", duration=timedelta(seconds=1), account_id="nobody's")


async def test_a_takeover_waits_for_what_is_being_intended(
    database: Database, other: Database, strategy: Strategy
) -> None:
    async with hold_lease(database) as lease:
        async with database.transaction() as uow:
            await uow.signals.add(a_signal(strategy))
            async with other.transaction() as expiring:
                await expiring.session.execute(EXPIRE)
            with pytest.raises(LockTimeout):
                async with hold_lease(other):
                    pass
        assert lease.epoch == (await other.leases.one("default")).epoch


# --- what is intended ----------------------------------------------------------------------------------

Intent = Callable[[UnitOfWork, Strategy, "Before"], Awaitable[Any]]


async def _set_state(uow: UnitOfWork, strategy: Strategy, _: "Before") -> None:
    await uow.strategy_states.set_value(strategy.strategy_id, "k", 1)


async def _decide(uow: UnitOfWork, _: Strategy, before: "Before") -> None:
    await uow.risk_decisions.add(a_risk_decision(signal_id=before.signal_id))


async def _cancel(uow: UnitOfWork, _: Strategy, before: "Before") -> None:
    await uow.orders.transition(before.order.id, OrderStatus.PENDING_CANCEL, at=NOON + timedelta(hours=1))


async def _give_up(uow: UnitOfWork, _: Strategy, before: "Before") -> None:
    await uow.orders.transition(before.order.id, OrderStatus.CANCELED, at=NOON + timedelta(hours=1))


async def _move_stop(uow: UnitOfWork, _: Strategy, before: "Before") -> None:
    position = await uow.portfolio_positions.one(("default", before.position_id))
    position.current_stop = Decimal(69_000)
    await uow.flush()


INTENTS: dict[str, Intent] = {
    "a signal": lambda uow, strategy, _: uow.signals.add(a_signal(strategy)),
    "a claim of a signal": lambda uow, _, __: uow.signal_log.add(a_signal_log()),
    "a decision": _decide,
    "an order": lambda uow, strategy, _: uow.orders.add(an_order(strategy)),
    "a cancel": _cancel,
    "an entry": lambda uow, _, __: uow.portfolio_positions.add(a_portfolio_position()),
    "giving an order up": _give_up,
    "a stop": _move_stop,
    "a pyramid": lambda uow, _, __: uow.pyramiding_states.add(PyramidingState(instrument="GOLD_MINI")),
    "a strategy's state": _set_state,
}


@dataclass(frozen=True)
class Before:
    """What was stored under the lease before it was lost."""

    signal_id: UUID
    order: Order
    position_id: str


@pytest.fixture
async def before(database: Database, strategy: Strategy) -> Before:
    signal = await database.signals.add(a_signal(strategy))
    order = await database.orders.add(an_order(strategy, exchange_order_id="X1", quantity=Decimal(3)))
    position = await database.portfolio_positions.add(a_portfolio_position())
    return Before(signal.id, order, position.position_id)


@pytest.mark.parametrize("name", INTENTS)
async def test_only_who_leads_intends(
    name: str, database: Database, other: Database, strategy: Strategy, before: Before
) -> None:
    async with hold_lease(other) as lease:
        with pytest.raises(LeaseLost) as caught:
            async with database.transaction() as uow:
                await INTENTS[name](uow, strategy, before)
        assert caught.value.facts["current_epoch"] == lease.epoch
        assert caught.value.facts["holder"] == lease.instance_id
        async with other.transaction() as uow:
            await INTENTS[name](uow, strategy, before)


@pytest.mark.parametrize("name", INTENTS)
async def test_a_lease_that_was_lost_is_noticed_by_every_intent(
    name: str, database: Database, other: Database, strategy: Strategy, before: Before
) -> None:
    async with hold_lease(database, ttl_seconds=600):
        async with other.transaction() as uow:
            await uow.session.execute(EXPIRE)
        with pytest.raises(LeaseLost, match="expired"):
            async with database.transaction() as uow:
                await INTENTS[name](uow, strategy, before)
        async with hold_lease(other):
            with pytest.raises(LeaseLost, match="another process took the lease"):
                async with database.transaction() as uow:
                    await INTENTS[name](uow, strategy, before)


async def test_facts_are_taken_from_anyone(database: Database, other: Database, before: Before) -> None:
    async with hold_lease(other):
        handler = ExecutionHandler(database)
        outcome = await database.execution.apply_fill(a_fill(before.order))
        assert outcome.result == "APPLIED"
        reported = await handler.status_report(before.order.id, OrderStatus.PENDING_CANCEL)
        assert reported.order.status is OrderStatus.PENDING_CANCEL
        assert (await handler.canceled(before.order.id, filled_quantity=Decimal(1))).applied
        adopted = await handler.adopt(
            Order(
                origin=OrderOrigin.EXTERNAL,
                exchange_order_id="X9",
                exchange=before.order.exchange,
                trading_pair=before.order.trading_pair,
                side=before.order.side,
                order_type=before.order.order_type,
                quantity=Decimal(1),
                limit_price=Decimal(50_000),
            )
        )
        assert adopted.status is OrderStatus.NEW


async def test_the_handler_asks_before_it_asks_the_exchange(
    database: Database, other: Database, before: Before
) -> None:
    handler = ExecutionHandler(database)
    async with hold_lease(other):
        for refused in (
            handler.amend(before.order.id, Amendment(quantity=Decimal(2))),
            handler.resend(before.order.id),
            handler.cancel(before.order.id),
        ):
            with pytest.raises(LeaseLost):
                await refused


async def test_an_epoch_is_of_one_account(database: Database, other: Database, strategy: Strategy) -> None:
    async with database.transaction() as uow:
        await uow.accounts.open_account("second")
    async with hold_lease(database), hold_lease(other, account_id="second"):
        await database.signals.add(a_signal(strategy))
        await other.signals.add(a_signal(strategy, account_id="second"))
        with pytest.raises(LeaseLost):
            await database.signals.add(a_signal(strategy, account_id="second"))


async def test_real_money_is_traded_under_a_lease_only(database: Database, strategy: Strategy) -> None:
    async with database.transaction() as uow:
        await uow.accounts.open_account("real", mode=AccountMode.LIVE)
    with pytest.raises(LeaseLost, match="real money"):
        await database.signals.add(a_signal(strategy, account_id="real"))
    async with hold_lease(database, account_id="real"):
        await database.signals.add(a_signal(strategy, account_id="real"))


async def test_an_unknown_account_is_said_to_be_unknown(database: Database, strategy: Strategy) -> None:
    with pytest.raises(InvalidReference):
        await database.signals.add(a_signal(strategy, account_id="nobody's"))


async def test_raw_sql_is_fenced_as_well(database: Database, other: Database, strategy: Strategy) -> None:
    statement = text(
        "INSERT INTO strategy_state (account_id, strategy_id, key, value) VALUES ('default', :s, 'k', '1')"
    )
    async with hold_lease(other):
        with pytest.raises(LeaseLost):
            async with database.transaction() as uow:
                await uow.session.execute(statement, {"s": strategy.strategy_id})


async def test_deciding_needs_the_lease(database: Database, other: Database, strategy: Strategy) -> None:
    signal = await database.signals.add(a_signal(strategy))
    risk = RiskManager()
    asked: Any = {"requested_quantity": Decimal(1), "reference_price": Decimal(100)}
    async with hold_lease(other):
        with pytest.raises(LeaseLost):
            await risk.decide_and_commit(database, signal, **asked)
        decision = await risk.decide_and_commit(other, signal, **asked)
    assert decision.decision is RiskVerdict.APPROVED


async def test_many_intend_at_once_under_one_lease(database: Database, strategy: Strategy) -> None:
    async with hold_lease(database):
        await at_once(lambda _: database.signals.add(a_signal(strategy)), 8)
    assert await database.signals.count() == 8


class Exchange:
    """What reached it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def submit(self, order: Order) -> Answer:
        self.asked.append("submit")
        return Answer(exchange_order_id=f"X-{order.id}")

    async def cancel(self, order: Order) -> Answer:
        self.asked.append("cancel")
        return Answer()

    async def amend(self, order: Order, amendment: Amendment) -> Answer:
        self.asked.append("amend")
        return Answer()


async def test_who_may_have_lost_the_lease_since_it_stored_an_order_sends_nothing(
    database: Database, strategy: Strategy
) -> None:
    exchange = Exchange()
    handler = ExecutionHandler(database, exchange)
    async with hold_lease(database, ttl_seconds=600):
        order = await handler.submit(an_order(strategy))
        assert exchange.asked == ["submit"]

        async def stopped_for_long(_: UnitOfWork, __: Order) -> None:
            database.pool.lease_deadlines["default"] = lease_clock()

        with pytest.raises(LeaseLost, match="may have expired"):
            await handler.submit(an_order(strategy), also=stopped_for_long)
        for refused in (
            handler.cancel(order.id),
            handler.amend(order.id, Amendment(quantity=Decimal(1))),
        ):
            with pytest.raises(LeaseLost):
                await refused
    assert exchange.asked == ["submit"]


@pytest.mark.usefixtures("hasty_renewals")
async def test_a_renewal_tells_until_when_the_lease_holds(database: Database) -> None:
    async with hold_lease(database, ttl_seconds=20):
        first = database.pool.lease_deadlines["default"]

        async def is_later() -> bool:
            return database.pool.lease_deadlines["default"] > first

        await until(is_later, "a renewal")
        database.pool.check_lease("default")
    database.pool.check_lease("default")
    assert database.pool.lease_deadlines == {}


async def test_the_schema_a_process_found_is_on_record(database: Database) -> None:
    async with hold_lease(database) as lease:
        instance = await database.instances.one(lease.instance_id)
    assert instance.schema_revision == "0001_initial_schema"


async def test_a_renewal_that_can_go_on_no_longer_says_the_lease_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> bool:
        raise RuntimeError("a bug")

    async with hold_lease(database, ttl_seconds=0.3) as lease, asyncio.timeout(60):
        monkeypatch.setattr(LeaseRepository, "renew", fail)
        await lease.lost.wait()


async def test_a_lease_is_given_up_also_where_its_holder_is_cancelled_twice(
    database: Database, other: Database
) -> None:
    holding = asyncio.Event()

    async def hold() -> None:
        async with hold_lease(database):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await holding.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})

    async def is_free() -> bool:
        return all(each.status is InstanceStatus.STOPPED for each in await other.instances.find_all())

    await until(is_free, "the lease to be given up")
