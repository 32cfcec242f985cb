"""A program that leads an account: `python -m tests.leader URL TTL STRATEGY ORDER`.

It takes the lease, says "leading EPOCH", and does what it reads, one line at a time, answering with a line:
`intend` stores a signal, an order, a decision and a cancel, each on its own; `fact FILL` applies a fill;
`hold` stores a signal and says "holding" before the commit, which comes with the next line.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Order, OrderStatus, Strategy
from gal_friday.database import Database
from gal_friday.errors import PersistenceError
from gal_friday.state.leases import hold_lease
from tests.factories import a_fill, a_risk_decision, a_signal, an_order

IDLE_SECONDS = 1


async def _line() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def _named(work: Callable[[], Awaitable[Any]]) -> str:
    try:
        await work()
    except PersistenceError as error:
        return type(error).__name__
    return "stored"


async def _intend(database: Database, strategy: Strategy, order: Order) -> list[str]:
    return [
        await _named(lambda: database.signals.add(a_signal(strategy))),
        await _named(lambda: database.orders.add(an_order(strategy))),
        await _named(lambda: database.risk_decisions.add(a_risk_decision())),
        await _named(
            lambda: database.orders.transition(order.id, OrderStatus.PENDING_CANCEL, at=datetime.now(UTC))
        ),
    ]


async def _hold(database: Database, strategy: Strategy) -> None:
    async with database.transaction() as uow:
        await uow.signals.add(a_signal(strategy))
        _say("holding")
        await _line()


async def lead(url: str, ttl_seconds: float, strategy_id: str, order_id: str) -> None:
    settings = DatabaseSettings(idle_in_transaction_timeout_seconds=IDLE_SECONDS)
    async with DatabaseConnectionPool(settings, url=make_url(url)) as pool:
        database = Database(pool)
        strategy, order = (
            await database.strategies.one(strategy_id),
            await database.orders.one(UUID(order_id)),
        )
        async with hold_lease(database, ttl_seconds=ttl_seconds) as lease:
            _say(f"leading {lease.epoch}")
            while words := (await _line()).split():
                match words:
                    case ["intend"]:
                        _say(",".join(await _intend(database, strategy, order)))
                    case ["fact", fill_id]:
                        fill = a_fill(order, fill_id=fill_id, quantity_filled=Decimal(1))
                        _say((await database.execution.apply_fill(fill)).result.value)
                    case ["hold"]:
                        _say(await _named(lambda: _hold(database, strategy)))


if __name__ == "__main__":
    asyncio.run(lead(sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4]))
