"""A statement on its own whose answer is lost: settled, never doubled, and said to be unknown where it is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL, inspect

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Order, OrderStatus, Strategy
from gal_friday.database import Database
from gal_friday.errors import CommitUnknown, IllegalTransition, StaleWrite
from tests.factories import a_model, a_prediction, a_snapshot, a_strategy, an_order
from tests.network import AnswerEater, Fate

#: Bound in the statement that is cut, so that it is cut where it is carried out, not where it is prepared.
CUT = b"slow"

Work = Callable[[Database, Order], Awaitable[Any]]


@asynccontextmanager
async def struck(url: URL, question: bytes, fate: Fate, **options: Any) -> AsyncIterator[Database]:
    """A database whose connection breaks at *question*."""
    seconds = options.pop("retry_timeout_seconds", 10)
    relay = AnswerEater(url, question=question, fate=fate, **options)
    async with relay.url() as through:
        settings = DatabaseSettings(retry_timeout_seconds=seconds)
        async with DatabaseConnectionPool(settings, url=through) as pool:
            yield Database(pool)
            assert pool.stats().checked_out == 0
    assert relay.eaten >= 1, "nothing was cut"


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    stored: Strategy = await database.strategies.add(a_strategy())
    return stored


fates = pytest.mark.parametrize("fate", [Fate.ANSWERED, Fate.LOST], ids=lambda fate: fate.name)


@fates
async def test_a_row_added_is_there_once(
    database: Database, database_url: URL, strategy: Strategy, fate: Fate
) -> None:
    order = an_order(strategy, error_message="slow")
    async with struck(database_url, CUT, fate, at_most=1) as database_struck:
        await database_struck.orders.add(order)
    assert inspect(order).detached
    assert (order.row_version, order.remaining_quantity) == (1, order.quantity)
    assert await database.orders.count() == 1
    order.retry_count = 1
    await database.orders.update(order)
    assert (await database.orders.one(order.id)).row_version == 2


@fates
async def test_a_row_of_a_table_in_parts_is_there_once(
    database: Database, database_url: URL, fate: Fate
) -> None:
    snapshot = a_snapshot(extra={"connection": "slow"})
    async with struck(database_url, CUT, fate, at_most=1) as database_struck:
        await database_struck.snapshots.add(snapshot)
    model = await database.models.add(a_model())
    async with struck(database_url, CUT, fate, at_most=1) as database_struck:
        await database_struck.predictions.add(a_prediction(model, features={"connection": "slow"}))
    assert (await database.snapshots.count(), await database.predictions.count()) == (1, 1)


@fates
async def test_a_change_is_made_once(
    database: Database, database_url: URL, strategy: Strategy, fate: Fate
) -> None:
    order = await database.orders.add(an_order(strategy))
    order.error_message = "slow"
    async with struck(database_url, CUT, fate, at_most=1) as database_struck:
        await database_struck.orders.update(order)
    stored = await database.orders.one(order.id)
    assert (stored.error_message, stored.row_version) == ("slow", 2)
    assert (order.row_version, order.updated_at) == (2, stored.updated_at)
    assert not inspect(order).modified


@fates
async def test_an_order_is_moved_on_once(
    database: Database, database_url: URL, strategy: Strategy, fate: Fate
) -> None:
    order = await database.orders.add(an_order(strategy))
    async with struck(database_url, CUT, fate, at_most=1) as database_struck:
        moved = await database_struck.orders.transition(order.id, OrderStatus.NEW, exchange_order_id="slow")
    assert (moved.status, moved.exchange_order_id, moved.row_version) == (OrderStatus.NEW, "slow", 2)
    assert await database.order_history.count() == 2


async def added(database: Database, order: Order) -> None:
    await database.orders.add(an_order_like(order))


def an_order_like(order: Order) -> Order:
    return Order(
        **{
            name: getattr(order, name)
            for name in ("strategy_id", "exchange", "trading_pair", "side", "order_type", "quantity")
        },
        limit_price=Decimal(1),
        client_order_id="slow",
    )


async def updated(database: Database, order: Order) -> None:
    order.error_message = "slow"
    await database.orders.update(order)


async def moved_on(database: Database, order: Order) -> None:
    await database.orders.transition(order.id, OrderStatus.NEW, exchange_order_id="slow")


writes = pytest.mark.parametrize("work", [added, updated, moved_on], ids=["add", "update", "transition"])


@writes
@fates
async def test_where_no_server_answers_any_more_what_became_of_it_is_unknown(
    database: Database, database_url: URL, strategy: Strategy, fate: Fate, work: Work
) -> None:
    order = await database.orders.add(an_order(strategy))
    with pytest.raises(CommitUnknown) as caught:
        async with struck(database_url, CUT, fate, closes=True, retry_timeout_seconds=0.3) as it:
            await work(it, order)
    assert caught.value.facts["table"] == "orders"


@writes
async def test_what_was_sent_only_when_tried_again_may_have_been_carried_out(
    database: Database, database_url: URL, strategy: Strategy, work: Work
) -> None:
    """The first connection is refused, the second breaks at the statement, and there is no third."""
    order = await database.orders.add(an_order(strategy))
    relay = AnswerEater(database_url, question=CUT, closes=True)
    async with relay.url() as through:
        settings = DatabaseSettings(retry_timeout_seconds=2)
        async with DatabaseConnectionPool(settings, url=through) as pool:
            await pool.engine.dispose()

            async def refuse() -> None:
                raise ConnectionRefusedError

            with pytest.raises(CommitUnknown):
                async with relay.before_next_connection(refuse):
                    await work(Database(pool), order)
            assert relay.eaten == 1


async def test_a_step_that_others_took_first_is_refused_as_ever(
    database: Database, strategy: Strategy
) -> None:
    order = await database.orders.add(an_order(strategy))
    await database.orders.transition(order.id, OrderStatus.NEW)
    await database.orders.transition(order.id, OrderStatus.CANCELED)
    with pytest.raises(IllegalTransition):
        await database.orders.transition(order.id, OrderStatus.NEW)
    order.error_message = "slow"
    with pytest.raises(StaleWrite) as caught:
        await database.orders.update(order)
    assert caught.value.facts == {"table": "orders", "rows_expected": 1, "rows_found": 0}


@pytest.mark.parametrize(("changes", "said"), [(1, StaleWrite), (2, CommitUnknown)], ids=["one", "two"])
async def test_after_one_change_by_others_a_lost_one_was_not_made_and_after_two_nobody_knows(
    database: Database, database_url: URL, strategy: Strategy, changes: int, said: type[Exception]
) -> None:
    order = await database.orders.add(an_order(strategy))
    for number in range(1, changes + 1):
        theirs = await database.orders.one(order.id)
        theirs.retry_count = number
        await database.orders.update(theirs)
    order.error_message = "slow"
    with pytest.raises(said):
        async with struck(database_url, CUT, Fate.ANSWERED, at_most=1) as it:
            await it.orders.update(order)
    assert (await database.orders.one(order.id)).error_message is None


async def test_what_is_gone_when_asked_again_is_stale(database: Database, database_url: URL) -> None:
    """The row a lost update was meant for is not there: nobody could have changed it."""
    strategy = a_strategy()
    await database.strategies.add(strategy)
    never_stored = await database.orders.add(an_order(strategy))
    await database.pool.close()
    await database.pool.initialize()
    never_stored.error_message = "slow"
    inspect(never_stored)
    never_stored.__dict__["id"] = an_order(strategy).id
    with pytest.raises(StaleWrite):
        async with struck(database_url, CUT, Fate.LOST, at_most=1) as it:
            await it.orders.update(never_stored)


async def test_a_question_is_asked_again_on_another_connection(
    database: Database, database_url: URL, strategy: Strategy
) -> None:
    order = await database.orders.add(an_order(strategy))
    for fate in (Fate.ANSWERED, Fate.LOST):
        async with struck(database_url, b"FROM orders", fate, at_most=1) as it:
            assert (await it.orders.one(order.id)).client_order_id == order.client_order_id
