"""ExecutionHandler: orders are stored before they are sent, and follow what the exchange says of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from gal_friday.dal.detached import column_values, detached_entity
from gal_friday.dal.journal.facts import StatusReport, StatusTold
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    WORKING_ORDER_STATUSES,
    Order,
    OrderHistory,
    OrderStatus,
    ReportSource,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import (
    DatabaseUnavailable,
    IllegalTransition,
    InvalidValue,
    OrderInDoubt,
    PersistenceError,
)
from gal_friday.services.order_facts import OrderFacts, id_of
from gal_friday.services.order_gateway import Amendment, Answer, OrderGateway, OrderKey, OrderName

#: How many orders a handler remembers, to cancel them while the database is away.
REMEMBERED = 10_000
#: What else belongs into the transaction that stores an order.
Besides = Callable[[UnitOfWork, Order], Awaitable[None]]


class ExecutionHandler(OrderFacts):
    """Orders of a bot, from the decision to the last report.

    What we intend is stored before the exchange hears of it, and refused where the order cannot follow. What
    the exchange says is a fact: stored whatever order it comes in, and idempotent. Every call is a
    transaction of its own, tried again where others were in the way or the connection was lost.

    With a *gateway*, `submit`, `cancel` and `amend` ask the exchange, wait at most *answer_timeout_seconds*
    for its answer and store it; without one they store the intent, and the bot tells what came of it.
    """

    def __init__(
        self,
        database: Database,
        gateway: OrderGateway | None = None,
        *,
        actor: str | None = None,
        answer_timeout_seconds: float = 30.0,
    ) -> None:
        super().__init__(database, actor=actor)
        self._gateway = gateway
        self._working: dict[UUID, Order] = {}  # to be canceled by while the database is away
        self._answer_timeout_seconds = answer_timeout_seconds

    async def submit(self, order: Order, *, also: Besides | None = None) -> Order:
        """Store a new *order* as PENDING_NEW, send it, store the answer; the order as it stands then.

        Its signal is marked as executed in the same transaction, unless the order protects another
        (`parent_order_id`); what else belongs into it, *also* does. An order without client_order_id gets one
        from its id. Where that is stored already, the stored order is given back and not sent again.

        Raises OrderInDoubt where it is not known whether the exchange has the order, which is PENDING_NEW
        then: ask the exchange by its client_order_id, and tell what is found, or `resend` it. Raises
        DatabaseUnavailable while the database is away, also while facts wait for it: without them nobody
        knows what the books say. Raises
        IllegalTransition where the signal is not APPROVED, and what else storing raises; then nothing is
        stored or sent. After CommitUnknown nothing was sent: where it was stored, `resend` it.
        """
        if order.status not in {None, OrderStatus.PENDING_NEW}:
            raise InvalidValue("a new order is PENDING_NEW", order=order.id, status=order.status)
        if order.client_order_id is None:
            order.client_order_id = order.id.hex
        await self._database.journal.caught_up()
        stored, is_new = await self._store(order, also)
        self._remember(stored)
        return await self._send(stored, self._gateway) if is_new and self._gateway else stored

    async def send(self, order: Order) -> Order:
        """Send an *order* that was just stored as PENDING_NEW, store the answer; the order as it stands then.

        For who stores orders in transactions of their own; `resend` is for those that may have been sent.
        Raises OrderInDoubt as `submit` does.
        """
        self._remember(order)
        return await self._send(order, self._gateway) if self._gateway else order

    async def resend(self, order: OrderName) -> Order:
        """Send an order once more that is PENDING_NEW, with the client_order_id it has; no other is sent.

        For an exchange that takes a client_order_id once only, or has said it does not know it. Raises
        NotFound, and OrderInDoubt as `submit` does.
        """

        async def once_more(uow: UnitOfWork) -> tuple[Order, bool]:
            found = await uow.orders.one(await id_of(uow, order))
            await uow.leases.require(found.account_id)
            is_in_doubt = found.status is OrderStatus.PENDING_NEW
            if is_in_doubt:
                found.retry_count += 1
            return await uow.orders.update(found), is_in_doubt

        stored, is_in_doubt = await self._stored(once_more)
        return await self._send(stored, self._gateway) if is_in_doubt and self._gateway else stored

    async def cancel(self, order: OrderName | Order, *, reason: str | None = None) -> Order:
        """Request the cancel of an order, ask the exchange, store the answer; the order as it stands then.

        Where the exchange refuses, the order works on. Raises as `cancel_requested` does, and OrderInDoubt
        where there was no answer: the order is PENDING_CANCEL then, and a further call asks again.

        While the database is away, request and answer go to the journal, and the order is given back as it
        was last known here. That takes an order this handler has seen, or *order* itself, or a name the
        exchange has for it; else DatabaseUnavailable is raised.
        """
        requested_at = datetime.now(UTC)
        stored = await self._request_cancel(order, requested_at, reason)
        name = stored.id if isinstance(order, Order) else order
        if self._gateway is None:
            return stored
        answer = await self._answer(stored, self._gateway.cancel(stored))
        if answer.accepted:
            return await self._keep(stored, answer, answer.status or OrderStatus.PENDING_CANCEL, name=name)
        # It came after the request, whatever the exchange's clock says.
        at = max(datetime.now(UTC), max(requested_at, stored.status_at) + timedelta.resolution)
        return await self._keep(stored, replace(answer, at=at), answer.status or OrderStatus.NEW, name=name)

    async def cancel_requested(
        self, order: OrderName, *, at: datetime | None = None, reason: str | None = None
    ) -> Order:
        """Put on record that an order is to be canceled, before the exchange is asked: PENDING_CANCEL.

        Raises NotFound, and IllegalTransition where the order is at its end.
        """
        moment = at or datetime.now(UTC)

        async def request(uow: UnitOfWork) -> Order:
            async with uow.recorded_as(reason=reason):
                return await uow.orders.transition(
                    await id_of(uow, order), OrderStatus.PENDING_CANCEL, at=moment
                )

        return await self._stored(request)

    async def _request_cancel(self, order: OrderName | Order, at: datetime, reason: str | None) -> Order:
        name = order.id if isinstance(order, Order) else order

        def facts() -> list[bytes]:
            told: StatusTold = {"reason": reason, "source": ReportSource.ENGINE}
            self._known(order)  # what cannot be asked for is not put on record as asked for
            return [self._as_fact(StatusReport(name, OrderStatus.PENDING_CANCEL, at, told))]

        stored = await self._database.journal.take(
            lambda: self.cancel_requested(name, at=at, reason=reason), facts
        )
        return self._known(order) if stored is None else stored

    def _known(self, order: OrderName | Order) -> Order:
        """The order as the exchange is to be asked about it, without the database."""
        if isinstance(order, Order):
            return order
        if isinstance(order, UUID):
            if order in self._working:
                return self._working[order]
            raise DatabaseUnavailable("give the order itself, or a name the exchange has for it", order=order)
        for known in self._working.values():
            if _is_called(known, order):
                return known
        names = {name: value for name, value in asdict(order).items() if value is not None}
        return Order(**names, status=OrderStatus.NEW, status_at=datetime.now(UTC))

    def _remember(self, order: Order) -> None:
        self._working.pop(order.id, None)
        if order.status in WORKING_ORDER_STATUSES:
            self._working[order.id] = order
            if len(self._working) > REMEMBERED:
                del self._working[next(iter(self._working))]

    async def amend(self, order: OrderName, amendment: Amendment) -> Order:
        """Put an amendment on record, ask the exchange for it, store the answer; the order as it stands then.

        The order changes by the exchange's word only. Raises NotFound, InvalidValue for an empty *amendment*,
        IllegalTransition where the order is at its end, and OrderInDoubt where there was no answer.
        """
        wanted = {name: value for name, value in asdict(amendment).items() if value is not None}
        if not wanted:
            raise InvalidValue("an amendment names what is to be amended", order=order)

        async def request(uow: UnitOfWork) -> Order:
            found = await uow.orders.one(await id_of(uow, order))
            await uow.leases.require(found.account_id)
            if found.status not in WORKING_ORDER_STATUSES:
                raise IllegalTransition(
                    "an order at its end is not amended", order=found.id, source=str(found.status)
                )
            await uow.order_history.add(_remark(found, "amendment requested", raw=wanted))
            return found

        stored = await self._stored(request)
        if self._gateway is None:
            return stored
        answer = await self._answer(stored, self._gateway.amend(stored, amendment))
        return await self._keep_amendment(stored, answer, wanted)

    async def _store(self, order: Order, also: Besides | None) -> tuple[Order, bool]:
        """The stored order, and whether this call stored it."""
        name = OrderKey(
            client_order_id=order.client_order_id,
            exchange=order.exchange,
            account_id=order.account_id or DEFAULT_ACCOUNT_ID,
        )

        async def intend(uow: UnitOfWork) -> tuple[Order, bool]:
            stored = await uow.orders.add_once(order)
            if stored is None:
                return await uow.orders.one(await id_of(uow, name)), False
            if stored.signal_id is not None and stored.parent_order_id is None:
                await uow.signals.mark_executed(stored.signal_id)
            if also is not None:
                await also(uow, stored)
            return stored, True

        return await self._database.retrying(intend, actor=self._actor)

    async def _send(self, order: Order, gateway: OrderGateway) -> Order:
        answer = await self._answer(order, gateway.submit(order))
        status = answer.status or OrderStatus.NEW if answer.accepted else OrderStatus.REJECTED
        return await self._keep(order, answer, status)

    async def _answer(self, order: Order, asked: Awaitable[Answer]) -> Answer:
        """What the exchange answers, with its time. Raises OrderInDoubt where it does not."""
        try:
            async with asyncio.timeout(self._answer_timeout_seconds):
                answer = await asked
        except Exception as error:
            raise OrderInDoubt(
                order=order.id, client_order_id=order.client_order_id, error=type(error).__name__
            ) from error
        return replace(answer, at=answer.at or datetime.now(UTC))

    async def _keep(
        self, order: Order, answer: Answer, status: OrderStatus, *, name: OrderName | None = None
    ) -> Order:
        with _in_doubt_if_not_stored(order, answer):
            outcome = await self.status_report(
                name or order.id,
                status,
                at=answer.at,
                filled_quantity=answer.filled_quantity,
                exchange_order_id=answer.exchange_order_id,
                reason=answer.reason,
                source=ReportSource.ENGINE,
                raw=answer.raw,
            )
            if outcome.is_journaled:
                return self._as_answered(order, answer)
            self._remember(outcome.order)
            return outcome.order

    def _as_answered(self, order: Order, answer: Answer) -> Order:
        """The order with the exchange's id, which the database is yet to learn."""
        if answer.exchange_order_id is None or order.exchange_order_id is not None:
            return order
        values = column_values(order) | {"exchange_order_id": answer.exchange_order_id}
        answered = detached_entity(Order, values)
        if answered.id in self._working:
            self._remember(answered)
        return answered

    async def _keep_amendment(self, order: Order, answer: Answer, wanted: dict[str, Any]) -> Order:
        async def refused(uow: UnitOfWork) -> Order:
            found = await uow.orders.one(order.id)
            await uow.order_history.add(
                _remark(found, answer.reason or "amendment refused", raw=answer.raw, at=answer.at)
            )
            return found

        with _in_doubt_if_not_stored(order, answer):
            if not answer.accepted:
                kept = await self._stored(refused)
            else:
                outcome = await self.amended(
                    order.id,
                    at=answer.at,
                    exchange_order_id=answer.exchange_order_id,
                    reason=answer.reason,
                    source=ReportSource.ENGINE,
                    raw=answer.raw,
                    **wanted,
                )
                kept = order if outcome.is_journaled else outcome.order
        return kept if answer.status is None else await self._keep(kept, answer, answer.status)


def _is_called(order: Order, name: OrderKey) -> bool:
    if order.account_id != name.account_id or name.exchange not in {None, order.exchange}:
        return False
    return (
        order.exchange_order_id == name.exchange_order_id
        if name.exchange_order_id and order.exchange_order_id
        else name.client_order_id is not None and order.client_order_id == name.client_order_id
    )


def _remark(
    order: Order, reason: str, *, raw: dict[str, Any] | None, at: datetime | None = None
) -> OrderHistory:
    """A line for the history of *order* that changes nothing."""
    return OrderHistory(
        account_id=order.account_id,
        order_id=order.id,
        from_status=order.status,
        to_status=order.status,
        applied=False,
        occurred_at=at or datetime.now(UTC),
        source=ReportSource.ENGINE,
        reason=reason,
        raw=raw,
    )


@contextmanager
def _in_doubt_if_not_stored(order: Order, answer: Answer) -> Iterator[None]:
    try:
        yield
    except PersistenceError as error:
        raise OrderInDoubt(
            "the exchange answered, and the answer could not be stored",
            order=order.id,
            client_order_id=order.client_order_id,
            exchange_order_id=answer.exchange_order_id,
            accepted=answer.accepted,
        ) from error
