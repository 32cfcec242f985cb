"""Whole operations at the exchange, and the finishing of those that were left undone."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace

from gal_friday.dal.models import Order
from gal_friday.errors import DatabaseUnavailable, LeaseLost, OrderInDoubt, PersistenceError
from gal_friday.services.live.conduct import Conduct
from gal_friday.services.live.sending import entry_of
from gal_friday.services.live.terms import Intended
from gal_friday.services.live.unfinished import Unfinished, unfinished

log = logging.getLogger(__name__)


class Operations(Conduct):
    """Carries out what an operation has stored."""

    async def carry_out_entry(self, outcome: Intended) -> Intended:
        """Send the order of an entry; what came of it."""
        if outcome.order is None or outcome.position is None:
            return outcome
        sent = await self.send(outcome.order)
        position = await self._state.get_position(outcome.position.position_id)
        return replace(outcome, orders=(sent,), positions=(position or outcome.position,))

    async def carry_out_exit(self, outcome: Intended) -> Intended:
        """Leave every entry of an exit at once; what came of it. Raises the first error when all are."""
        orders = {entry_of(order): order for order in outcome.orders}
        names = [position.position_id for position in outcome.positions]
        left = await asyncio.gather(
            *(self.leave(name, orders.get(name)) for name in names), return_exceptions=True
        )
        for failure in left:
            if isinstance(failure, BaseException):
                raise failure
        positions = [await self._state.get_position(name) for name in names]
        return replace(
            outcome,
            orders=tuple(order for order in left if isinstance(order, Order)),
            positions=tuple(position for position in positions if position is not None),
        )

    async def settle_doubts(self) -> list[Order]:
        """Settle every order in doubt, those that protect or leave something first; those that still are.

        Then let every entry follow that is behind its fills, amid a rollover or not protected as it is to be.
        """
        for order in sorted(self.in_doubt.values(), key=lambda order: order.parent_order_id is None):
            await self._attempt(str(order.client_order_id), self._settle_and_follow(order))
        await self.catch_up()
        return list(self.in_doubt.values())

    async def finish(self) -> None:
        """Finish what a process before left undone; what the exchange does not answer for stays in doubt."""
        left = await self._unfinished()
        self.in_doubt = {str(order.client_order_id): order for order in left.pending}
        self.unfinished.clear()
        await self.settle_doubts()

    async def catch_up(self) -> None:
        """Bring every entry up to date that is not, those amid a rollover last: protecting comes first."""
        left = await self._unfinished()
        names = dict.fromkeys((*left.unprotected, *left.behind, *left.rolling))
        for name in sorted(names, key=lambda name: name in left.rolling):
            await self._attempt(name, self.bring_up_to_date(name))

    async def _unfinished(self) -> Unfinished:
        return await self.stored(lambda t: unfinished(t, self.exchange, self._memory.positions.values()))

    async def _settle_and_follow(self, order: Order) -> None:
        await self.heard((await self.settle(order)).id)

    async def _attempt(self, what: str, step: Awaitable[object]) -> None:
        """Do one of many, of which each is tried whatever became of the others.

        What ends all of them is raised: LeaseLost and DatabaseUnavailable, so CommitUnknown too.
        """
        before = self.unfinished.pop(what, None)
        try:
            await step
        except OrderInDoubt as error:
            log.warning("left in doubt", extra={"what": what, "error": str(error)})
        except (LeaseLost, DatabaseUnavailable):
            if before is not None:
                self.unfinished[what] = before
            raise
        except PersistenceError as error:
            self.left_unfinished(what, error)
