"""An exchange to test with, and `python -m tests.exchanges URL STRATEGY`: a bot that hangs while it sends.

The bot prints the client_order_id it was about to send, and waits for its end.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sqlalchemy import make_url

from gal_friday.dal.models import Order
from gal_friday.services import ExecutionHandler
from gal_friday.services.order_gateway import Amendment, Answer
from tests.factories import an_order
from tests.replays import opened


@dataclass
class Exchange:
    """Answers as it is told to, and remembers what it was asked."""

    answer: Answer | Exception | Callable[[Order], Awaitable[Answer]] = field(
        default_factory=lambda: Answer(exchange_order_id="OX-1")
    )
    asked: list[tuple[str, Order]] = field(default_factory=list)

    async def submit(self, order: Order) -> Answer:
        return await self._answer("submit", order)

    async def cancel(self, order: Order) -> Answer:
        return await self._answer("cancel", order)

    async def amend(self, order: Order, amendment: Amendment) -> Answer:
        return await self._answer("amend", order)

    async def _answer(self, what: str, order: Order) -> Answer:
        self.asked.append((what, order))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, Answer) else await self.answer(order)


async def silence(_: Order) -> Answer:
    """No answer, ever."""
    await asyncio.Event().wait()
    raise AssertionError


async def hang_while_sending(url: str, strategy_id: str) -> None:
    async def say_and_wait(order: Order) -> Answer:
        sys.stdout.write(f"{order.client_order_id}\n")
        sys.stdout.flush()
        return await silence(order)

    async with opened(make_url(url)) as database:
        order = an_order(await database.strategies.one(strategy_id))
        await ExecutionHandler(database, Exchange(say_and_wait)).submit(order)


if __name__ == "__main__":
    asyncio.run(hang_while_sending(*sys.argv[1:]))
