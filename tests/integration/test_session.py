"""What was new in a transaction that failed is new again, as it was given."""

import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from sqlalchemy import URL, inspect, text

from gal_friday.dal.models import Order, OrderStatus, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, ConstraintViolated, InvalidReference, TransactionConflict
from tests.factories import NOON, a_cash_flow, a_signal, a_strategy, an_order
from tests.ledger import a_report, applied, columns
from tests.replays import opened

#: Refused when the transaction is about to be committed, not before.
REFUSED_AT_COMMIT = text("""
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_truncate()
""")


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    stored: Strategy = await database.strategies.add(a_strategy())
    return stored


async def failing(database: Database, work: Callable[[UnitOfWork], Awaitable[object]]) -> None:
    """*work* in a transaction that fails after it."""
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction() as uow:
            await work(uow)
            raise ZeroDivisionError


async def test_what_was_added_can_be_added_again_and_is_stored(
    database: Database, strategy: Strategy
) -> None:
    order = an_order(strategy)
    for _ in range(2):
        await failing(database, lambda uow: uow.orders.add(order))
        assert inspect(order).transient
        assert await database.orders.get(order.id) is None
    await database.orders.add(order)
    assert columns(await database.orders.one(order.id), "status", "row_version") == ("PENDING_NEW", 1)


async def test_many_can_be_added_again(database: Database, strategy: Strategy) -> None:
    orders = [an_order(strategy) for _ in range(3)]
    await failing(database, lambda uow: uow.orders.add_many(orders))
    await database.orders.add_many(orders)
    assert await database.orders.count() == 3


async def test_what_was_given_stays_and_what_the_server_filled_in_goes(
    database: Database, strategy: Strategy
) -> None:
    order = an_order(strategy, status=OrderStatus.NEW, created_at=NOON, extra={"note": "x"})
    given = dict(order.__dict__)

    async def fill(uow: UnitOfWork) -> None:
        await uow.orders.add(order)
        await applied(uow, a_report(order, quantity_filled=Decimal(2), exchange_order_id="OX-1"))
        assert columns(order, "status", "filled_at", "exchange_order_id") == ("FILLED", NOON, "OX-1")
        order.extra = {"note": "y"}
        await uow.orders.update(order)

    await failing(database, fill)
    assert order.__dict__ == given
    stored = await database.orders.add(order)
    assert columns(stored, "status", "created_at", "extra") == ("NEW", NOON, {"note": "x"})
    assert columns(stored, "filled_quantity", "average_fill_price", "position_id") == (0, None, None)
    assert columns(stored, "filled_at", "exchange_order_id", "row_version") == (None, None, 1)


async def test_an_entity_with_another_in_it_can_be_added_again(database: Database) -> None:
    strategy = a_strategy()
    signal = a_signal(strategy)
    signal.strategy = strategy
    await failing(database, lambda uow: uow.signals.add(signal))
    assert inspect(strategy).transient
    await database.signals.add(signal)
    assert (await database.signals.one(signal.id)).strategy_id == strategy.strategy_id


async def test_what_a_savepoint_undid_can_be_added_again(database: Database, strategy: Strategy) -> None:
    order = an_order(strategy)
    async with database.transaction() as uow:
        with pytest.raises(AlreadyExists):
            async with uow.savepoint():
                await uow.orders.add_many([order, an_order(strategy, id=order.id)])
        assert inspect(order).transient
        with contextlib.suppress(ZeroDivisionError):
            async with uow.savepoint():
                await uow.orders.add(order)
                await applied(uow, a_report(order))
                raise ZeroDivisionError
        assert inspect(order).transient
        assert not {"row_version", "filled_quantity", "position_id"} & order.__dict__.keys()
        await uow.orders.add(order)
    assert columns(await database.orders.one(order.id), "filled_quantity", "position_id") == (0, None)


async def test_what_a_savepoint_changed_of_it_is_not_in_the_way(
    database: Database, strategy: Strategy
) -> None:
    order = an_order(strategy)

    async def work(uow: UnitOfWork) -> None:
        await uow.orders.add(order)
        with contextlib.suppress(ZeroDivisionError):
            async with uow.savepoint():
                order.error_message = "slow"
                await uow.orders.update(order)
                raise ZeroDivisionError  # leaves the order to be loaded anew

    await failing(database, work)
    await database.orders.add(order)
    assert columns(await database.orders.one(order.id), "error_message", "limit_price") == (None, 50_000)


async def test_what_was_stored_in_a_savepoint_is_new_again_with_the_transaction(
    database: Database, strategy: Strategy
) -> None:
    order = an_order(strategy)

    async def work(uow: UnitOfWork) -> None:
        async with uow.savepoint():
            await uow.orders.add(order)

    await failing(database, work)
    await database.orders.add(order)
    assert await database.orders.count() == 1


async def test_what_failed_itself_can_be_mended_and_added(database: Database, strategy: Strategy) -> None:
    order = an_order(strategy, strategy_id="unknown")
    with pytest.raises(InvalidReference):
        await database.orders.add(order)
    assert inspect(order).transient
    order.strategy_id = strategy.strategy_id
    await database.orders.add(order)


async def test_what_the_commit_refused_can_be_added_again(
    database: Database, strategy: Strategy, owner_url: URL
) -> None:
    order, deposit = an_order(strategy), a_cash_flow()
    async with opened(owner_url) as owned, owned.transaction() as uow:
        await uow.session.execute(REFUSED_AT_COMMIT)

    async def work() -> None:
        async with database.transaction() as uow:
            await uow.cash_flows.add(deposit)
            await uow.orders.add(order)

    with pytest.raises(ConstraintViolated):
        await work()
    assert await database.cash_flows.get(deposit.id) is None
    async with opened(owner_url) as owned, owned.transaction() as uow:
        await uow.session.execute(text("DROP TRIGGER refuse ON orders"))
    await work()
    assert await database.orders.get(order.id) is not None
    assert await database.cash_flows.get(deposit.id) is not None


async def test_a_unit_of_work_that_is_tried_again_may_add_the_same_entity(
    database: Database, strategy: Strategy
) -> None:
    order = an_order(strategy)
    tries = 0

    async def work(uow: UnitOfWork) -> Order:
        nonlocal tries
        tries += 1
        stored = await uow.orders.add(order)
        if tries < 3:
            raise TransactionConflict
        return stored

    assert await database.retrying(work) is order
    assert await database.orders.count() == 1


async def test_what_was_there_before_stays_stored(database: Database, strategy: Strategy) -> None:
    async def work(uow: UnitOfWork) -> None:
        known = await uow.strategies.one(strategy.strategy_id)
        known.description = "changed"
        await uow.strategies.update(known)

    await failing(database, work)
    assert inspect(strategy).detached
    assert (await database.strategies.one(strategy.strategy_id)).description is None
