"""What the exchange says of orders and fills, each stored in a transaction of its own."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict, TypeVar, Unpack
from uuid import UUID

from gal_friday.dal.execution import FillOutcome
from gal_friday.dal.models import Fill, Order, OrderStatus, ReportSource
from gal_friday.dal.repositories.order_reports import ReportOutcome
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, NotFound
from gal_friday.services.order_gateway import OrderKey, OrderName

T = TypeVar("T")


class Told(TypedDict, total=False):
    """What any report may tell besides; `raw` is it as received, `source` how it reached us."""

    exchange_order_id: str | None
    reason: str | None
    source: ReportSource
    raw: dict[str, Any] | None


class StatusTold(Told, total=False):
    """What a report of a status may tell besides; `filled_quantity` is all filled so far, in base units."""

    filled_quantity: Decimal | None


class OrderFacts:
    """The part of ExecutionHandler that takes facts: in any order, as often as they come."""

    def __init__(self, database: Database, *, actor: str | None = None) -> None:
        self._database = database
        self._actor = actor

    async def acknowledged(
        self,
        order: OrderName,
        exchange_order_id: str | None = None,
        *,
        at: datetime | None = None,
        source: ReportSource = ReportSource.STREAM,
    ) -> ReportOutcome:
        """The exchange has the order, and names it so. As `status_report`."""
        return await self.status_report(
            order, OrderStatus.NEW, at=at, exchange_order_id=exchange_order_id, source=source
        )

    async def rejected(
        self,
        order: OrderName,
        reason: str,
        *,
        at: datetime | None = None,
        source: ReportSource = ReportSource.STREAM,
    ) -> ReportOutcome:
        """The exchange refused the order; *reason* becomes its `error_message`. As `status_report`."""
        return await self.status_report(order, OrderStatus.REJECTED, at=at, reason=reason, source=source)

    async def canceled(
        self, order: OrderName, *, at: datetime | None = None, **told: Unpack[StatusTold]
    ) -> ReportOutcome:
        """The order is canceled; its fills may still come. As `status_report`."""
        return await self.status_report(order, OrderStatus.CANCELED, at=at, **told)

    async def expired(
        self, order: OrderName, *, at: datetime | None = None, **told: Unpack[StatusTold]
    ) -> ReportOutcome:
        """The order's time is over; its fills may still come. As `status_report`."""
        return await self.status_report(order, OrderStatus.EXPIRED, at=at, **told)

    async def status_report(
        self,
        order: OrderName,
        status: OrderStatus,
        *,
        at: datetime | None = None,
        **told: Unpack[StatusTold],
    ) -> ReportOutcome:
        """The order stands at *status* by the exchange's word; see `OrderRepository.record_report`.

        *at* is the exchange's time (default: now). Raises NotFound for an order that is not stored: `adopt`
        one the exchange knows and we do not.
        """
        moment = at or datetime.now(UTC)
        if isinstance(order, OrderKey) and told.get("exchange_order_id") is None:
            told["exchange_order_id"] = order.exchange_order_id

        async def take(uow: UnitOfWork) -> ReportOutcome:
            return await uow.orders.record_report(await id_of(uow, order), status, at=moment, **told)

        return await self._taken(take, told)

    async def amended(
        self,
        order: OrderName,
        *,
        at: datetime | None = None,
        quantity: Decimal | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        **told: Unpack[Told],
    ) -> ReportOutcome:
        """The order was amended at the exchange; see `OrderRepository.record_amendment`.

        *at* is the exchange's time (default: now); `exchange_order_id` its new one, where it was replaced.
        """
        moment = at or datetime.now(UTC)
        amended = {"quantity": quantity, "limit_price": limit_price, "stop_price": stop_price}

        async def take(uow: UnitOfWork) -> ReportOutcome:
            order_id = await id_of(uow, order)
            return await uow.orders.record_amendment(order_id, at=moment, **amended, **told)

        return await self._taken(take, told)

    async def adopt(
        self,
        order: Order,
        *,
        at: datetime | None = None,
        source: ReportSource = ReportSource.RECONCILE,
        raw: dict[str, Any] | None = None,
    ) -> Order:
        """The stored row of an *order* found at the exchange, with the fills that waited for it.

        See `OrderRepository.adopt_external`.
        """
        moment = at or datetime.now(UTC)

        async def take(uow: UnitOfWork) -> UUID:
            return (await uow.orders.adopt_external(order, at=moment, source=source, raw=raw)).id

        order_id = await self._stored(take)
        return await self._stored(lambda uow: uow.orders.one(order_id))

    async def fill(self, fill: Fill) -> FillOutcome:
        """The exchange executed (part of) an order; see `Execution.apply_fill`."""
        return await self._database.execution.apply_fill(fill, actor=self._actor)

    async def _stored(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """What *work* gives; it is idempotent."""
        try:
            return await self._database.retrying(work, actor=self._actor)
        except AlreadyExists:  # another order was being given the same exchange_order_id; it has it by now
            return await self._database.retrying(work, actor=self._actor)

    async def _taken(
        self, take: Callable[[UnitOfWork], Awaitable[ReportOutcome]], told: Told
    ) -> ReportOutcome:
        outcome = await self._stored(take)
        if not outcome.applied or told.get("exchange_order_id") is None:
            return outcome
        # Fills that waited for the exchange's id were applied at the end of that transaction.
        order = await self._stored(lambda uow: uow.orders.one(outcome.order.id))
        moved = outcome.moved or order.status is not outcome.order.status
        return ReportOutcome(order, applied=True, moved=moved)


async def id_of(uow: UnitOfWork, order: OrderName) -> UUID:
    """Our id of an order. Raises NotFound, and Ambiguous where several have the name."""
    if isinstance(order, UUID):
        return order
    found = None
    if order.exchange_order_id is not None:
        found = await uow.orders.get_by_exchange_order_id(
            order.exchange_order_id,
            exchange=order.exchange,
            trading_pair=order.trading_pair,
            account_id=order.account_id,
        )
    if found is None and order.client_order_id is not None:
        found = await uow.orders.get_by_client_order_id(
            order.client_order_id, exchange=order.exchange, account_id=order.account_id
        )
    if found is None:
        raise NotFound(
            table=Order.__tablename__,
            exchange_order_id=order.exchange_order_id,
            client_order_id=order.client_order_id,
        )
    return found.id
