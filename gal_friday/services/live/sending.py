"""Sending what is stored, and remembering of which order nobody knows what came of it."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gal_friday.dal.models import Order
from gal_friday.errors import CommitUnknown, PersistenceError
from gal_friday.services.execution_handler import ExecutionHandler
from gal_friday.services.live.gateway import TradingGateway
from gal_friday.services.live.memory import Memory
from gal_friday.services.live.orders import ENTRY, EntryOrders, orders_of
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
        #: Why an entry (by name) or an order in doubt (by client_order_id) is not up to date.
        self.unfinished: dict[str, PersistenceError] = {}

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

    async def submit(self, order: Order, *, is_again: bool = False) -> Order:
        """Ask the exchange for an order that is stored. Raises OrderInDoubt."""
        with self.in_doubt_unless_it_ends(order):
            return await (self._orders.resend(order.id) if is_again else self._orders.send(order))

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
