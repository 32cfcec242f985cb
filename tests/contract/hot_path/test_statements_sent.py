"""What is sent, as the server has it in its log."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Order, OrderStatus, Strategy
from gal_friday.database import Database
from tests.conftest import BIN_DIRECTORIES, make_template
from tests.factories import NOON, a_strategy, an_order
from tests.servers import PostgresServer

SENT = re.compile(r"^sent \d+ \w* ?LOG:  (?:statement|execute [^:]+): (.*)$", re.MULTILINE)


class Observed:
    """A database, and what is sent to it."""

    def __init__(self, server: PostgresServer, database: Database) -> None:
        self._server = server
        self.database = database
        self._seen = 0

    def sent(self) -> list[str]:
        """First words of what was sent since this was asked before, without what asyncpg asks of types."""
        log = self._server.log
        since, self._seen = log[self._seen :], len(log)
        return [line for line in SENT.findall(since) if "pg_type" not in line]


@asynccontextmanager
async def observed() -> AsyncIterator[Observed]:
    settings = {"log_statement": "all", "log_line_prefix": "sent %p "}
    with PostgresServer(next(iter(BIN_DIRECTORIES.values())), settings=settings) as server:
        url = server.url(await make_template(server))
        async with DatabaseConnectionPool(DatabaseSettings(url=url)) as pool:
            yield Observed(server, Database(pool))


@pytest.fixture(scope="module")
async def observer() -> AsyncIterator[Observed]:
    async with observed() as it:
        yield it


async def test_each_call_of_one_statement_sends_one_and_begins_nothing(observer: Observed) -> None:
    database = observer.database
    strategy = await database.strategies.add(a_strategy())
    order = await database.orders.add(an_order(strategy))
    key = strategy.strategy_id
    mine = Order.strategy_id == key
    calls: dict[str, Any] = {
        "add": lambda: database.orders.add(an_order(strategy)),
        "get": lambda: database.orders.get(order.id),
        "one": lambda: database.strategies.one(key),
        "find_all": lambda: database.orders.find_all(mine, limit=3),
        "find_one_by": lambda: database.strategies.find_one_by(Strategy.strategy_id == key),
        "count": lambda: database.orders.count(mine),
        "exists": lambda: database.orders.exists(mine),
        "page": lambda: database.orders.page(mine, limit=1),
    }
    for name, call in calls.items():
        await call()  # prepared
        observer.sent()
        await call()
        sent = observer.sent()
        assert len(sent) == 1, (name, sent)
        assert not sent[0].startswith("BEGIN")


async def test_a_change_on_its_own_is_one_statement_and_none_where_nothing_changed(
    observer: Observed,
) -> None:
    database = observer.database
    strategy = await database.strategies.add(a_strategy())
    strategy.name = "the first one names on its connection who it is of"
    await database.strategies.update(strategy)
    observer.sent()
    strategy.name = "changed"
    await database.strategies.update(strategy)
    (sent,) = observer.sent()
    assert sent.startswith("UPDATE strategies SET name=")
    strategy.name = "changed"
    await database.strategies.update(strategy)
    assert not [text for text in observer.sent() if text.startswith("UPDATE")]


async def test_moving_an_order_on_is_one_statement(observer: Observed) -> None:
    database = observer.database
    strategy = await database.strategies.add(a_strategy())
    order = await database.orders.add(an_order(strategy))
    observer.sent()
    await database.orders.transition(order.id, OrderStatus.NEW)
    (sent,) = observer.sent()
    assert sent.startswith("UPDATE orders SET")


async def test_what_takes_more_than_a_statement_is_one_transaction(observer: Observed) -> None:
    database = observer.database
    strategy = await database.strategies.add(a_strategy())
    order = await database.orders.add(an_order(strategy))
    observer.sent()
    await database.orders.add_many([an_order(strategy), an_order(strategy)])
    sent = observer.sent()
    assert sent[0].startswith("BEGIN")
    assert sent[-1].startswith(("COMMIT", "DO"))
    await database.orders.transition(order.id, OrderStatus.NEW, at=NOON + timedelta(days=1))
    assert observer.sent()


async def test_the_columns_changed_are_the_columns_sent(observer: Observed) -> None:
    database = observer.database
    async with database.transaction() as uow:
        strategy = await uow.strategies.add(a_strategy())
        order = await uow.orders.add(an_order(strategy))
        observer.sent()
        order.error_message, order.retry_count, order.quantity = "slow", 1, Decimal("2.0")
        await uow.orders.update(order)
        (sent,) = observer.sent()
    changed = re.search(r" SET (.*?) WHERE", sent)
    assert changed is not None
    assert sorted(re.findall(r"(\w+)=", changed[1])) == ["error_message", "retry_count"]
