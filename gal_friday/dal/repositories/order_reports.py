"""What the exchange says of orders: kept as the fact it is, and followed as far as the order can follow."""

import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import case, literal, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from gal_friday.dal.attribution import recorded_as
from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.enums import WORKING_ORDER_STATUSES, OrderOrigin, OrderStatus, ReportSource
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.orders import Order, OrderHistory
from gal_friday.dal.models.types import ClosedSet, Money, UtcDateTime
from gal_friday.dal.repositories.order_following import base_status, moved, noted, said_filled
from gal_friday.dal.upserts import given_values
from gal_friday.errors import AlreadyExists, InvalidValue, NotFound, NotYetStored
from gal_friday.money import canonical

log = logging.getLogger(__name__)

_MONEY = Money()


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """What became of a report.

    `stored`: the order as it stands now; None while the database is away and the report is in the journal.
    `applied`: it was news the order follows, else it is in the order's history only. `moved`: the order's
    status changed with it.
    """

    stored: Order | None
    applied: bool
    moved: bool

    @property
    def is_journaled(self) -> bool:
        """Whether the report is on disk and waits for the database."""
        return self.stored is None

    @property
    def order(self) -> Order:
        """The order as it stands now. Raises NotYetStored where the report is in the journal."""
        if self.stored is None:
            raise NotYetStored
        return self.stored


@dataclass(frozen=True, slots=True)
class _Circumstances:
    """When and how something became known."""

    at: datetime
    source: ReportSource
    reason: str | None
    raw: dict[str, Any] | None

    def on_record(self, session: AsyncSession) -> AbstractAsyncContextManager[None]:
        return recorded_as(session, source=self.source, reason=self.reason, at=self.at, raw_report=self.raw)


class OrderReports(BaseRepository[Order]):
    """The part of OrderRepository that takes facts."""

    model = Order

    async def record_report(
        self,
        order_id: UUID,
        reported_status: OrderStatus,
        *,
        at: datetime,
        filled_quantity: Decimal | None = None,
        exchange_order_id: str | None = None,
        reason: str | None = None,
        source: ReportSource = ReportSource.STREAM,
        raw: dict[str, Any] | None = None,
    ) -> ReportOutcome:
        """Take the exchange's word that the order stood at *reported_status* as of *at*.

        *filled_quantity* is what had been filled in all, in base units. `status` follows at once, or, where
        the report outran its fills, with them (`order_status_after` of the migrations' `sql/`). An order
        whose cancel was requested works on only by a report of a later time. What is late, repeated, or
        impossible by ORDER_TRANSITIONS moves nothing. Every report is in the order's history, with *reason*
        and *raw*; the exchange's id is learned from any of them, once.

        Raises NotFound, InvalidValue for what no column can hold, and AlreadyExists where another order is
        given the same *exchange_order_id* at this very moment.
        """
        status, at = self._checked(reported_status, at)
        told = _Circumstances(at, source, reason, raw)
        order = await self._locked(order_id)
        base = base_status(order, status, at)
        values = _learned(order, exchange_order_id)
        said = said_filled(order, status, filled_quantity)
        if said != order.reported_filled_quantity:
            values["reported_filled_quantity"] = said
        applied = False
        if base is not None:
            values |= noted(order, status, base, at, reason)
            applied = bool(values) or base is not order.status
        if applied and base is not None:
            values |= moved(base, status, said, at)
        outcome = await self._change(order, values, told, applied=applied)
        if not (outcome.moved or "reported_status" in values):  # else a trigger has put it on record
            await self._put_on_record(outcome, told, reported_status=status)
        return outcome

    async def record_amendment(
        self,
        order_id: UUID,
        *,
        at: datetime,
        quantity: Decimal | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        exchange_order_id: str | None = None,
        reason: str | None = None,
        source: ReportSource = ReportSource.STREAM,
        raw: dict[str, Any] | None = None,
    ) -> ReportOutcome:
        """Take the exchange's word that the order was amended as of *at*; what is None stayed as it was.

        *exchange_order_id* is its new one, at exchanges that replace orders. The order's history has old and
        new. An order amended down to what is filled is FILLED. What was amended again since, and anything
        about an order at its end, goes on record only.

        Raises NotFound, InvalidValue where nothing is named or no column can hold it, AlreadyExists for the
        id of another order, and ConstraintViolated for a quantity that is not positive.
        """
        named = {"limit_price": limit_price, "quantity": quantity, "stop_price": stop_price}
        asked = {name: _MONEY.accept(value) for name, value in named.items() if value is not None}
        if not asked:
            raise InvalidValue("an amendment names what was amended", order=order_id)
        _, at = self._checked(OrderStatus.NEW, at)
        told = _Circumstances(at, source, reason, raw)
        order = await self._locked(order_id)
        current: set[str] = set()
        if order.status in WORKING_ORDER_STATUSES:
            current = set(asked) - await self._amended_since(order, at)
        changed = {name for name in current if asked[name] != getattr(order, name)}
        changes = {
            name: {"old": _plain(getattr(order, name)), "new": _plain(value)} for name, value in asked.items()
        }
        values: dict[str, Any] = {name: asked[name] for name in changed}
        if current and exchange_order_id not in {None, order.exchange_order_id}:
            values["exchange_order_id"] = exchange_order_id
        applied = bool(values)
        if applied:
            base = OrderStatus.NEW if order.status is OrderStatus.PENDING_NEW else order.status
            said = order.reported_filled_quantity
            values |= moved(base, order.reported_status, said, at, quantity=values.get("quantity"))
        outcome = await self._change(order, values, told, applied=applied)
        if not (outcome.moved or changed):  # else a trigger has put it on record
            await self._put_on_record(outcome, told, changes=changes)
        return outcome

    async def adopt_external(
        self,
        order: Order,
        *,
        at: datetime,
        source: ReportSource = ReportSource.RECONCILE,
        raw: dict[str, Any] | None = None,
    ) -> Order:
        """The stored row of an *order* found at the exchange as of *at*; a new one has *order*'s id.

        It is known by its exchange_order_id, and of origin EXTERNAL where it is new. Where it was found
        before, or is ours by its client_order_id, it is taken as a report. Its status follows with its fills
        as every order's does; `reported_filled_quantity` says what it had filled. Fills that wait for it are
        applied when the transaction ends.

        Raises InvalidValue without exchange_order_id or with figures that follow from fills, AlreadyExists
        where another row has its id, and what `record_report` does.
        """
        given = given_values(order)
        if given.get("exchange_order_id") is None:
            raise InvalidValue("an order found at the exchange has an id there", order=order.id)
        if given.get("filled_quantity") or given.get("cost") or given.get("reported_status"):
            raise InvalidValue(
                "what is filled follows from fills; give status and reported_filled_quantity", order=order.id
            )
        status, at = self._checked(given.pop("status", OrderStatus.NEW), at)
        said = given.pop("reported_filled_quantity", None)
        told = _Circumstances(at, source, None, raw)
        first_known = {"origin": OrderOrigin.EXTERNAL, "status": OrderStatus.NEW, "status_at": at}
        await self._flush()
        async with told.on_record(self._session):
            statement = insert(Order).values(given | first_known).on_conflict_do_nothing()
            stored = (await self._stored(statement)).one_or_none()
        if stored is not None and status is OrderStatus.NEW and said is None:
            return stored
        if stored is None:
            stored = await self._namesake(given)
        outcome = await self.record_report(
            stored.id,
            status,
            at=at,
            filled_quantity=said,
            exchange_order_id=order.exchange_order_id,
            source=source,
            raw=raw,
        )
        return outcome.order

    def _checked(self, status: OrderStatus, at: datetime) -> tuple[OrderStatus, datetime]:
        """Both as their columns keep them. Raises InvalidValue."""
        dialect = self._session.get_bind().dialect
        stored_status = ClosedSet(OrderStatus).process_bind_param(status, dialect)
        stored_at = UtcDateTime().process_bind_param(at, dialect)
        if stored_status is None or stored_at is None:
            raise InvalidValue("a report has a status and a time", status=status, at=at)
        return OrderStatus(stored_status), stored_at

    async def _locked(self, order_id: UUID) -> Order:
        await self._flush()  # what is read anew below must not undo what is yet to be sent
        # Not session.get, which holds what this session has read before against what it reads now.
        statement = select(Order).where(Order.id == order_id).with_for_update()
        fresh = statement.execution_options(populate_existing=True)
        order = (await self._session.scalars(fresh)).one_or_none()
        if order is None:
            raise NotFound(table=Order.__tablename__, key=order_id)
        return order

    async def _change(
        self, order: Order, values: Mapping[str, Any], told: _Circumstances, *, applied: bool
    ) -> ReportOutcome:
        before = order.status
        if values:
            async with told.on_record(self._session):
                changed = update(Order).where(Order.id == order.id).values(values)
                order = (await self._stored(changed)).one()
        if "exchange_order_id" in values and order.exchange_order_id is None:
            log.warning("another order has this one's exchange_order_id", extra={"order": order.id})
        return ReportOutcome(order, applied=applied, moved=order.status is not before)

    async def _put_on_record(self, outcome: ReportOutcome, told: _Circumstances, **columns: Any) -> None:
        order = outcome.order
        self._session.add(
            OrderHistory(
                account_id=order.account_id,
                order_id=order.id,
                from_status=order.status,
                to_status=order.status,
                applied=outcome.applied,
                occurred_at=told.at,
                source=told.source,
                reason=told.reason,
                raw=told.raw,
                **columns,
            )
        )
        await self._flush()

    async def _amended_since(self, order: Order, at: datetime) -> frozenset[str]:
        """Columns the exchange said were amended later than *at*."""
        later = select(OrderHistory.changes).where(
            OrderHistory.order_id == order.id, OrderHistory.occurred_at > at
        )
        return frozenset().union(*await self._session.scalars(later))

    async def _namesake(self, given: Mapping[str, Any]) -> Order:
        """The row that is in the way of one to be stored, by the exchange's id or ours."""
        account_id = given.get("account_id", DEFAULT_ACCOUNT_ID)
        there = (Order.account_id == account_id, Order.exchange == given["exchange"])
        found = await self.find_one_by(
            *there,
            Order.trading_pair == given["trading_pair"],
            Order.exchange_order_id == given["exchange_order_id"],
        )
        if found is None and given.get("client_order_id") is not None:
            found = await self.find_one_by(*there, Order.client_order_id == given["client_order_id"])
        if found is None:
            raise AlreadyExists(table=Order.__tablename__, key=given.get("id"))
        return found


def _plain(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else canonical(amount)


def _learned(order: Order, exchange_order_id: str | None) -> dict[str, Any]:
    """The exchange's id where it is news: an order keeps its first one, and no two have the same."""
    if exchange_order_id is None or exchange_order_id == order.exchange_order_id:
        return {}
    if order.exchange_order_id is not None:
        log.warning(
            "the exchange names an order anew",
            extra={"order": order.id, "known": order.exchange_order_id, "reported": exchange_order_id},
        )
        return {}
    other = aliased(Order)
    namesake = select(other.id).where(
        other.account_id == order.account_id,
        other.exchange == order.exchange,
        other.trading_pair == order.trading_pair,
        other.exchange_order_id == exchange_order_id,
    )
    name = literal(exchange_order_id, Order.exchange_order_id.type)
    return {"exchange_order_id": case((namesake.exists(), null()), else_=name)}
