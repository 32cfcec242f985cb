"""What the exchange says of orders and fills, each stored in a transaction of its own."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar, Unpack

from gal_friday.dal.execution import FillOutcome
from gal_friday.dal.journal.delivery import stored
from gal_friday.dal.journal.facts import (
    Amended,
    AmendmentReport,
    Fact,
    FoundOrder,
    OrderFact,
    StatusReport,
    StatusTold,
    Told,
)
from gal_friday.dal.models import Fill, Order, OrderStatus, ReportSource
from gal_friday.dal.order_names import OrderKey, OrderName, id_of
from gal_friday.dal.repositories.order_reports import ReportOutcome
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database

T = TypeVar("T")

__all__ = ["OrderFacts", "StatusTold", "Told", "id_of"]


class OrderFacts:
    """The part of ExecutionHandler that takes facts: in any order, as often as they come.

    While the database is away they go to the journal: the outcome `is_journaled` then, and has no order.
    """

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

        return await self._taken(StatusReport(order, status, moment, told))

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
        amended: Amended = {"quantity": quantity, "limit_price": limit_price, "stop_price": stop_price}
        return await self._taken(AmendmentReport(order, moment, amended, told))

    async def adopt(
        self,
        order: Order,
        *,
        at: datetime | None = None,
        source: ReportSource = ReportSource.RECONCILE,
        raw: dict[str, Any] | None = None,
    ) -> Order:
        """The stored row of an *order* found at the exchange, with the fills that waited for it.

        See `OrderRepository.adopt_external`. Where it is in the journal, *order* itself as it was given.
        """
        outcome = await self._taken(FoundOrder(order, at or datetime.now(UTC), source, raw))
        return order if outcome.is_journaled else outcome.order

    async def fill(self, fill: Fill) -> FillOutcome:
        """The exchange executed (part of) an order; see `Execution.apply_fill`."""
        return await self._database.execution.apply_fill(fill, actor=self._actor)

    async def _stored(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """What *work* gives; it is idempotent, so it is done again where it is not known to be stored."""
        return await stored(self._database.pool, work, actor=self._actor)

    async def _taken(self, fact: OrderFact) -> ReportOutcome:
        async def direct() -> ReportOutcome:
            outcome = await self._stored(fact.take)
            if not outcome.applied or fact.exchange_order_id is None:
                return outcome
            # Fills that waited for the exchange's id were applied at the end of that transaction.
            order = await self._stored(lambda uow: uow.orders.one(outcome.order.id))
            moved = outcome.moved or order.status is not outcome.order.status
            return ReportOutcome(order, applied=True, moved=moved)

        outcome = await self._database.journal.take(direct, lambda: [self._as_fact(fact)])
        return ReportOutcome(None, applied=False, moved=False) if outcome is None else outcome

    def _as_fact(self, content: OrderFact) -> bytes:
        application = self._database.pool.application_name
        return Fact(content, self._actor, application, datetime.now(UTC)).encode()
