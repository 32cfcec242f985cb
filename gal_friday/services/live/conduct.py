"""What an engine does at the exchange, once what it intends is committed."""

import asyncio
import logging
from uuid import UUID

from gal_friday.dal.models import Order, OrderStatus, ReportSource
from gal_friday.errors import IllegalTransition, OrderInDoubt, PersistenceError, TradingHalted
from gal_friday.services.live.exits import leaving_order
from gal_friday.services.live.orders import REASON, STEP, Step, is_working, orders_of
from gal_friday.services.live.rollover import RolloverState, go_on
from gal_friday.services.live.sending import Sending, entry_of
from gal_friday.services.live.standing import Standing, standing_by_order, standing_of
from gal_friday.services.live.stops import Amend, Cancel, Doubt, Place
from gal_friday.state.state_transaction import StateTransaction

log = logging.getLogger(__name__)

#: A stop that changes while it is being moved is looked at again, this often at most.
_ROUNDS = 5


class Conduct(Sending):
    """Asks the exchange for what is stored, stores what it answers, and lets the entries follow."""

    async def leave(self, position_id: str, order: Order | None, *, is_again: bool = False) -> Order | None:
        """Take back what works for an entry, then send the *order* that leaves it.

        Its stop first: at some exchanges it binds what the exit is to sell. Where the stop was faster, the
        exit is withdrawn, or made smaller; where the exchange refuses it, the stop is placed anew.
        """
        with self.in_doubt_unless_it_ends(order):
            known = await self.orders_now(position_id)
            for working in (*known.protecting, known.enter):
                if is_working(working):
                    await self._cancel(working, "the entry is left")
            if order is None:
                await self.bring_up_to_date(position_id)
                return None
            known = await self.orders_now(position_id)
            if known.stop_has_struck or not known.held:
                return await self.withdraw(order, "the stop was faster")
            if order.quantity is None or known.held < order.quantity:
                order, is_again = await self._made_smaller(position_id, order), False
        return await self.send(order, is_again=is_again)

    async def send(self, order: Order, *, is_again: bool = False) -> Order:
        """Send an order that is stored, and bring its entry up to date. Raises OrderInDoubt."""
        sent = await self.submit(order, is_again=is_again)
        if sent.filled_quantity or not is_working(sent):
            await self.bring_up_to_date(entry_of(sent))
        return sent

    async def withdraw(self, order: Order, reason: str) -> Order:
        """End an order that was never sent."""

        async def end(t: StateTransaction) -> Order:
            async with t.uow.recorded_as(reason=reason):
                return await t.uow.orders.transition(order.id, OrderStatus.CANCELED)

        withdrawn = await self.stored(end)
        await self.bring_up_to_date(entry_of(order))
        return withdrawn

    async def heard(self, order_id: UUID) -> None:
        """Let everything follow that depends on an order of which something was heard."""
        standing = await self.stored(lambda t: standing_by_order(t, self.exchange, order_id))
        if standing is not None:
            await self.bring_up_to_date(standing.position.position_id, standing)

    async def bring_up_to_date(self, position_id: str, standing: Standing | None = None) -> Order | None:
        """Let an entry follow its fills, be protected, and its rollover go on; the stop order changed by it.

        Whatever is heard of its orders, from whomever, ends here. *standing* is where it stands, if that was
        just read. A rollover waits where the account is halted: that is told in `unfinished`.
        """
        now, changed = await self._protect(position_id, standing)
        for name in now.rolling:
            try:
                await self.go_on(name)
            except TradingHalted as error:
                self.left_unfinished(name, error)
            else:
                self.unfinished.pop(name, None)
        return changed

    def left_unfinished(self, what: str, error: PersistenceError) -> None:
        """Remember that an entry or an order could not be brought up to date; it is tried again later."""
        log.error("unfinished", extra={"what": what, "error": str(error), "facts": error.facts})
        self.unfinished[what] = error

    async def _protect(self, position_id: str, known: Standing | None) -> tuple[Standing, Order | None]:
        """Let an entry follow, and the exchange protect what is held; where it stands, the stop changed."""
        changed = None
        for _ in range(_ROUNDS):
            standing = known or await self._standing(position_id)
            self._memory.keep([standing.position], [standing.pyramid])
            match standing.due:
                case None:
                    return standing, changed
                case Place(order):
                    changed = await self.submit(order)
                    if changed.status is OrderStatus.REJECTED:
                        log.error("unprotected", extra={"entry": position_id, "why": changed.error_message})
                        return standing, changed
                case Doubt(order):
                    if order.client_order_id not in self.in_doubt:
                        return standing, changed  # somebody here is sending it, and will look again
                    changed = await self.settle(order)
                case Cancel(order):
                    changed = await self._cancel(order, "nothing is held")
                case Amend(order, amendment):
                    changed = await self._orders.amend(order.id, amendment)
                    wanted = (amendment.stop_price, amendment.quantity)
                    if is_working(changed) and (changed.stop_price, changed.quantity) != wanted:
                        changed = await self._cancel(changed, "to be placed anew: it could not be amended")
            known = None
        log.error("the stop keeps changing", extra={"entry": position_id})
        return await self._standing(position_id), changed

    async def _standing(self, position_id: str) -> Standing:
        return await self.stored(lambda t: standing_of(t, self.exchange, position_id))

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
                await self.heard((await self.settle(state.order)).id)
            else:
                return state  # somebody here is sending it
            state = await self.stored(lambda t: go_on(t, self.exchange, position_id))
            self._remember(state)
        return state

    async def go_on(self, position_id: str) -> RolloverState:
        """Go on with the rollover of an entry from where it stands."""
        return await self.roll(await self.stored(lambda t: go_on(t, self.exchange, position_id)))

    async def settle(self, order: Order) -> Order:
        """Ask the exchange for an order in doubt, and store what it says of it.

        What it does not know is sent if it leaves or protects something, or is the second half of a rollover;
        an entry is withdrawn, its moment is over. Raises OrderInDoubt where there is no answer.
        """
        is_ours_to_settle = self.in_doubt.pop(str(order.client_order_id), None) is not None
        with self.in_doubt_unless_it_ends(order):
            order = await self.stored(lambda t: t.uow.orders.one(order.id))
            if order.status is not OrderStatus.PENDING_NEW or not is_ours_to_settle:
                return order
            return await self._asked_for(order)

    async def _asked_for(self, order: Order) -> Order:
        try:
            async with asyncio.timeout(self._answer_timeout_seconds):
                answer = await self._gateway.find(order)
        except Exception as error:
            raise OrderInDoubt(
                order=order.id, client_order_id=order.client_order_id, error=type(error).__name__
            ) from error
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
            return outcome.stored or order
        position_id = entry_of(order)
        if order.extra[STEP] in {Step.EXIT, Step.ROLL}:
            return await self.leave(position_id, order, is_again=True) or order
        position = await self._state.get_position(position_id)
        if order.parent_order_id is None and (position is None or position.rolled_from_position_id is None):
            return await self.withdraw(order, "the exchange never had it")
        return await self.send(order, is_again=True)

    async def _cancel(self, order: Order, reason: str) -> Order:
        if order.status is OrderStatus.PENDING_NEW and order.client_order_id in self.in_doubt:
            order = await self.settle(order)
        try:
            return await self._orders.cancel(order.id, reason=reason)
        except IllegalTransition:  # it ended meanwhile, which was the purpose
            return await self.stored(lambda t: t.uow.orders.one(order.id))

    async def _made_smaller(self, position_id: str, order: Order) -> Order:
        """An order in place of one that was never sent, for what is left since a stop was filled in part."""

        async def store(t: StateTransaction) -> Order:
            async with t.uow.recorded_as(reason="a part of it was stopped out"):
                await t.uow.orders.transition(order.id, OrderStatus.CANCELED)
            smaller = leaving_order(
                t,
                await orders_of(t.uow, t.account_id, self.exchange, position_id),
                position_id,
                step=Step(order.extra[STEP]),
                which=str(order.client_order_id),
                reason=str(order.extra[REASON]),
                limit_price=order.limit_price,
            )
            assert smaller is not None, "something is held"
            smaller.extra = {**order.extra}
            return await t.uow.orders.add(smaller)

        return await self.stored(store)

    def _remember(self, state: RolloverState) -> None:
        self._memory.keep([state.position, state.successor], [state.pyramid])
