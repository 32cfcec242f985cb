"""What an engine does at the exchange, once what it intends is committed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from gal_friday.dal.models import Order, OrderStatus, PortfolioPosition, ReportSource
from gal_friday.errors import CommitUnknown, IllegalTransition, OrderInDoubt
from gal_friday.services.execution_handler import ExecutionHandler
from gal_friday.services.live.following import Following, follow
from gal_friday.services.live.gateway import TradingGateway
from gal_friday.services.live.memory import Memory
from gal_friday.services.live.orders import ENTRY, STEP, EntryOrders, Step, is_working, orders_of
from gal_friday.services.live.rollover import UNDER_WAY, RolloverState, go_on
from gal_friday.services.live.stops import Amend, Cancel, Doubt, Due, Place, protection_due
from gal_friday.state import DatabaseStateManager
from gal_friday.state.state_transaction import StateTransaction

T = TypeVar("T")

log = logging.getLogger(__name__)

#: A stop that changes while it is being moved is looked at again, this often at most.
_ROUNDS = 5


class Conduct:
    """Asks the exchange for what is stored, stores what it answers, and lets the entries follow.

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
        try:
            sent = await (self._orders.resend(order.id) if is_again else self._orders.send(order))
        except BaseException:
            self.in_doubt[str(order.client_order_id)] = order
            raise
        if not is_working(sent):
            await self.follow(entry_of(sent))
        return sent

    async def leave(self, position_id: str, order: Order | None, *, is_again: bool = False) -> Order | None:
        """Take back what works for an entry, then send the *order* that leaves it.

        Its stop first: at some exchanges it binds what the exit is to sell. Where the stop was faster, the
        exit is withdrawn; where the exchange refuses it, the stop is placed anew.
        """
        known = await self._orders_of(position_id)
        for working in (*known.protecting, known.enter):
            if is_working(working):
                await self._cancel(working, "the entry is left")
        if order is None:
            await self.follow(position_id)
            return None
        known = await self._orders_of(position_id)
        if known.stop_has_struck or not known.held:
            return await self._withdraw(order, "the stop was faster")
        sent = await self.send(order, is_again=is_again)
        if sent.status is OrderStatus.REJECTED:
            await self.protect(position_id)
        return sent

    async def protect(self, position_id: str, due: Due | None = None) -> Order | None:
        """Let the exchange protect what is held at the current stop; the stop order that was changed.

        *due* is what to begin with, where that is known.
        """
        changed = None
        for _ in range(_ROUNDS):
            due = due or await self.stored(lambda t: protection_due(t, self.exchange, position_id))
            match due:
                case None:
                    return changed
                case Place(order):
                    changed = await self.send(order)
                    if changed.status is OrderStatus.REJECTED:
                        log.error("unprotected", extra={"entry": position_id, "why": changed.error_message})
                        return changed
                case Doubt(order):
                    if order.client_order_id not in self.in_doubt:
                        return changed  # somebody here is sending it, and will look again
                    changed = await self.settle(order)
                case Cancel(order):
                    changed = await self._cancel(order, "nothing is held")
                case Amend(order, amendment):
                    changed = await self._orders.amend(order.id, amendment)
                    wanted = (amendment.stop_price, amendment.quantity)
                    if is_working(changed) and (changed.stop_price, changed.quantity) != wanted:
                        changed = await self._cancel(changed, "to be placed anew: it could not be amended")
            due = None
        log.error("the stop keeps changing", extra={"entry": position_id})
        return changed

    async def roll(self, state: RolloverState) -> RolloverState:
        """Go on with a rollover until it waits for the exchange, or is over."""
        position_id = state.position.position_id
        self._remember(state)
        while state.order is not None and state.order.status is OrderStatus.PENDING_NEW:
            if state.is_new and state.order.extra[STEP] == Step.ROLL:
                await self.leave(position_id, state.order)
            elif state.is_new:
                await self.send(state.order)
            elif state.order.client_order_id in self.in_doubt:
                await self.settle(state.order)
            else:
                return state  # somebody here is sending it
            state = await self.stored(lambda t: go_on(t, self.exchange, position_id))
            self._remember(state)
        if state.order is None:
            await self.protect(position_id)
        return state

    async def go_on(self, position_id: str) -> RolloverState:
        """Go on with the rollover of an entry from where it stands."""
        return await self.roll(await self.stored(lambda t: go_on(t, self.exchange, position_id)))

    async def heard(self, order_id: UUID) -> None:
        """Let everything follow that depends on an order of which something was heard."""

        async def let_follow(t: StateTransaction) -> tuple[Following | None, Due | None]:
            order = await t.uow.orders.one(order_id)
            name = order.extra.get(ENTRY)
            if name is None:
                return None, None
            following = await follow(t, self.exchange, name)
            return following, await protection_due(t, self.exchange, name)

        following, due = await self.stored(let_follow)
        if following is None:
            return
        position = following.position
        self._memory.keep([position], [following.pyramid])
        if position.rollover_status in UNDER_WAY:
            await self.go_on(position.position_id)
        if position.rolled_from_position_id is not None:
            await self.go_on(position.rolled_from_position_id)
        if due is not None:
            await self.protect(position.position_id, due)

    async def settle(self, order: Order) -> Order:
        """Ask the exchange for an order in doubt, and store what it says of it.

        What it does not know is sent if it leaves or protects something, or is the second half of a rollover;
        an entry is withdrawn, its moment is over. Raises OrderInDoubt where there is no answer.
        """
        order = await self.stored(lambda t: t.uow.orders.one(order.id))
        if order.status is not OrderStatus.PENDING_NEW:
            self.in_doubt.pop(str(order.client_order_id), None)
            return order
        try:
            async with asyncio.timeout(self._answer_timeout_seconds):
                answer = await self._gateway.find(order)
        except Exception as error:
            raise OrderInDoubt(
                order=order.id, client_order_id=order.client_order_id, error=type(error).__name__
            ) from error
        self.in_doubt.pop(str(order.client_order_id), None)
        if answer is not None:
            status = answer.status or OrderStatus.NEW if answer.accepted else OrderStatus.REJECTED
            outcome = await self._orders.status_report(
                order.id,
                status,
                at=answer.at,
                filled_quantity=answer.filled_quantity,
                exchange_order_id=answer.exchange_order_id,
                reason=answer.reason,
                source=ReportSource.RECONCILE,
                raw=answer.raw,
            )
            return outcome.order
        position_id = entry_of(order)
        if order.extra[STEP] in {Step.EXIT, Step.ROLL}:
            return await self.leave(position_id, order, is_again=True) or order
        position = await self._state.get_position(position_id)
        if order.parent_order_id is None and (position is None or position.rolled_from_position_id is None):
            return await self._withdraw(order, "the exchange never had it")
        return await self.send(order, is_again=True)

    async def _cancel(self, order: Order, reason: str) -> Order:
        if order.status is OrderStatus.PENDING_NEW and order.client_order_id in self.in_doubt:
            order = await self.settle(order)
        try:
            return await self._orders.cancel(order.id, reason=reason)
        except IllegalTransition:  # it ended meanwhile, which was the purpose
            return await self.stored(lambda t: t.uow.orders.one(order.id))

    async def _withdraw(self, order: Order, reason: str) -> Order:
        """End an order that was never sent."""

        async def end(t: StateTransaction) -> Order:
            async with t.uow.recorded_as(reason=reason):
                return await t.uow.orders.transition(order.id, OrderStatus.CANCELED)

        withdrawn = await self.stored(end)
        await self.follow(entry_of(order))
        return withdrawn

    async def _orders_of(self, position_id: str) -> EntryOrders:
        return await self.stored(lambda t: orders_of(t.uow, t.account_id, self.exchange, position_id))

    def _remember(self, state: RolloverState) -> None:
        self._memory.keep([state.position, state.successor], [state.pyramid])


def entry_of(order: Order) -> str:
    return str(order.extra[ENTRY])
