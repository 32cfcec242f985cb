"""Sending what is stored, and remembering of which order nobody knows what came of it."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gal_friday.dal.models import Order, OrderStatus, PortfolioPosition
from gal_friday.errors import CommitUnknown
from gal_friday.services.execution_handler import ExecutionHandler
from gal_friday.services.live.following import follow
from gal_friday.services.live.gateway import TradingGateway
from gal_friday.services.live.memory import Memory
from gal_friday.services.live.orders import ENTRY, EntryOrders, is_working, orders_of
from gal_friday.state import DatabaseStateManager
from gal_friday.state.state_transaction import StateTransaction

T = TypeVar("T")


class Sending:
    """Transactions and requests, one at a time.

    An order is asked about only where nobody here is sending it: after OrderInDoubt, or left by a process
    before.
    """

    def __init__(
        self,
        state: DatabaseStateManager,
        orders: ExecutionHandler,
        gateway: TradingGateway,
        memory: Memory,
        *,
        answer_timeout_seconds: float,
    ) -> None:
        self._state = state
        self._orders = orders
        self._gateway = gateway
        self._memory = memory
        self._answer_timeout_seconds = answer_timeout_seconds
        self.exchange = gateway.exchange
        #: By client_order_id.
        self.in_doubt: dict[str, Order] = {}

    async def stored(
        self, work: Callable[[StateTransaction], Awaitable[T]], *, actor: str | None = None
    ) -> T:
        """What *work* gives, in a transaction of its own that is tried again."""
        if self._memory.is_stale:
            await self._memory.load(self._state)
        try:
            return await self._state.retrying(work, actor=actor)
        except CommitUnknown:
            self._memory.is_stale = True
            raise

    async def follow(self, position_id: str) -> PortfolioPosition:
        """Let an entry be what its fills say."""
        following = await self.stored(lambda t: follow(t, self.exchange, position_id))
        self._memory.keep([following.position], [following.pyramid])
        return following.position

    async def send(self, order: Order, *, is_again: bool = False) -> Order:
        """Send an order that is stored; its entry follows where that ended it. Raises OrderInDoubt."""
        with self.in_doubt_unless_it_ends(order):
            sent = await (self._orders.resend(order.id) if is_again else self._orders.send(order))
        if not is_working(sent):
            await self.follow(entry_of(sent))
        return sent

    async def withdraw(self, order: Order, reason: str) -> Order:
        """End an order that was never sent."""

        async def end(t: StateTransaction) -> Order:
            async with t.uow.recorded_as(reason=reason):
                return await t.uow.orders.transition(order.id, OrderStatus.CANCELED)

        withdrawn = await self.stored(end)
        await self.follow(entry_of(order))
        return withdrawn

    async def orders_now(self, position_id: str) -> EntryOrders:
        """The orders of an entry as they are stored."""
        return await self.stored(lambda t: orders_of(t.uow, t.account_id, self.exchange, position_id))

    @contextmanager
    def in_doubt_unless_it_ends(self, order: Order | None) -> Iterator[None]:
        """A block after which it is known what came of *order*, or it is in doubt."""
        try:
            yield
        except BaseException:
            if order is not None:
                self.in_doubt[str(order.client_order_id)] = order
            raise


def entry_of(order: Order) -> str:
    """The name of the entry an order belongs to."""
    return str(order.extra[ENTRY])
