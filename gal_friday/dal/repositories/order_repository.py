"""Orders."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import any_, bindparam, func, update

from gal_friday.dal.attribution import recorded_as
from gal_friday.dal.base import one_statement
from gal_friday.dal.criteria import given, recent
from gal_friday.dal.hot_path.rows import rows_of
from gal_friday.dal.hot_path.statements import Statement, statement_of
from gal_friday.dal.models.enums import WORKING_ORDER_STATUSES, OrderOrigin, OrderStatus
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS
from gal_friday.dal.models.orders import Order
from gal_friday.dal.models.types import Cost, Money, TextArray
from gal_friday.dal.repositories.order_reports import OrderReports
from gal_friday.errors import IllegalTransition, InvalidValue
from gal_friday.money import average_price_rounded, exact

_MONEY = Money()
_COST = Cost()
_TIME_OF = {
    OrderStatus.NEW: "submitted_at",
    OrderStatus.FILLED: "filled_at",
    OrderStatus.CANCELED: "canceled_at",
}


def _beyond(status: OrderStatus) -> set[OrderStatus]:
    """Where an order may get to from *status*, in however many steps."""
    reached: set[OrderStatus] = set()
    ahead = [status]
    while ahead:
        further = ORDER_TRANSITIONS[ahead.pop()] - reached
        reached |= further
        ahead += further
    return reached


#: Where an order can come from to a status in one statement. To be FILLED takes more than that; and where it
#: might come back to, as when a cancel is refused, a step sent again for a lost answer might be taken twice.
_SOURCES: dict[OrderStatus, list[OrderStatus]] = {
    status: sorted(
        source
        for source, targets in ORDER_TRANSITIONS.items()
        if status in targets and source not in _beyond(status)
    )
    for status in OrderStatus
    if status is not OrderStatus.FILLED
}


class OrderRepository(OrderReports):
    model = Order

    @one_statement
    async def get_active_orders(self, *, account_id: str = DEFAULT_ACCOUNT_ID) -> Sequence[Order]:
        """Orders that can still fill, newest first."""
        return await self.find_all(
            Order.account_id == account_id,
            Order.status.in_(WORKING_ORDER_STATUSES),
            order_by=Order.created_at.desc(),
        )

    @one_statement
    async def get_open_orders_for_pair(
        self, trading_pair: str, *, exchange: str | None = None, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[Order]:
        """Orders on *trading_pair* that can still fill, oldest first."""
        return await self.find_all(
            Order.account_id == account_id,
            Order.trading_pair == trading_pair,
            Order.status.in_(WORKING_ORDER_STATUSES),
            *given((Order.exchange, exchange)),
            order_by=Order.created_at,
        )

    @one_statement
    async def get_orders_by_signal(self, signal_id: UUID) -> Sequence[Order]:
        """Orders that carry out the signal, oldest first."""
        return await self.find_all(Order.signal_id == signal_id, order_by=Order.created_at)

    @one_statement
    async def get_recent_orders(
        self, hours: int = 24, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[Order]:
        """Orders stored within the last *hours* by the server's clock, newest first."""
        return await self.find_all(
            Order.account_id == account_id,
            recent(Order.created_at, hours),
            order_by=Order.created_at.desc(),
        )

    @one_statement
    async def find_by_status(
        self, status: OrderStatus, *, limit: int | None = None, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[Order]:
        """Orders in this state, oldest first."""
        return await self.find_all(
            Order.account_id == account_id, Order.status == status, order_by=Order.created_at, limit=limit
        )

    @one_statement
    async def get_by_client_order_id(
        self, client_order_id: str, *, exchange: str | None = None, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Order | None:
        """The order we sent with this id, or None. Raises Ambiguous where several exchanges got the id."""
        return await self.find_one_by(
            Order.account_id == account_id,
            Order.client_order_id == client_order_id,
            *given((Order.exchange, exchange)),
        )

    @one_statement
    async def get_by_exchange_order_id(
        self,
        exchange_order_id: str,
        *,
        exchange: str | None = None,
        trading_pair: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Order | None:
        """The order the exchange knows by this id, or None.

        Raises Ambiguous where several do: some exchanges number the orders of each pair on their own.
        """
        return await self.find_one_by(
            Order.account_id == account_id,
            Order.exchange_order_id == exchange_order_id,
            *given((Order.exchange, exchange), (Order.trading_pair, trading_pair)),
        )

    async def update_order_status(
        self,
        order_id: UUID,
        status: OrderStatus,
        filled_quantity: Decimal | None = None,
        average_fill_price: Decimal | None = None,
    ) -> Order:
        """Move the order on to *status*, with what was filled so far where given.

        *average_fill_price* is that of all fills: more filled needs it. Where the exact cost is known,
        `transition` takes it. Raises as `transition` does.
        """
        cost = None
        if average_fill_price is not None:
            if filled_quantity is None:
                filled_quantity = (await self.one(order_id)).filled_quantity
            with exact():
                cost = _MONEY.accept(filled_quantity) * _MONEY.accept(average_fill_price)
            if average_fill_price and not filled_quantity:
                raise InvalidValue(
                    "nothing filled has no price; give filled_quantity with average_fill_price",
                    order=order_id,
                    filled_quantity=filled_quantity,
                    average_fill_price=average_fill_price,
                )
        return await self.transition(order_id, status, filled_quantity=filled_quantity, cost=cost)

    @one_statement
    async def transition(
        self,
        order_id: UUID,
        status: OrderStatus,
        *,
        at: datetime | None = None,
        exchange_order_id: str | None = None,
        filled_quantity: Decimal | None = None,
        cost: Decimal | None = None,
        error_message: str | None = None,
    ) -> Order:
        """Move the order on to *status*, as of *at* (default: now), with the other facts given.

        *filled_quantity* is in base units and *cost* the exact sum of price × quantity of all its fills; the
        average price follows from them, and more filled needs both. A status the order has already changes
        nothing but those. An order of ours is FILLED once its quantity is; of an EXTERNAL one we know only
        what the exchange says.

        Raises NotFound, InvalidValue, StaleWrite where someone else changed the order since it was read, and
        IllegalTransition where ORDER_TRANSITIONS knows no such step, fewer units are filled than before, or
        too few to be FILLED.
        """
        if filled_quantity is None and cost is None:
            values = {"exchange_order_id": exchange_order_id, "error_message": error_message, "status_at": at}
            if (moved := await self._moved(order_id, status, values)) is not None:
                return moved
        order = await self.one(order_id)
        allowed = ORDER_TRANSITIONS[order.status]
        if status != order.status and status not in allowed:
            raise IllegalTransition(
                order=order_id, source=str(order.status), target=str(status), allowed=sorted(allowed)
            )
        changes: dict[str, Any] = {"exchange_order_id": exchange_order_id, "error_message": error_message}
        if status != order.status:
            at = at or datetime.now(UTC)
            changes |= {"status": OrderStatus(status), "status_at": at}
            moment = _TIME_OF.get(status)
            if moment is not None and getattr(order, moment) is None:
                changes[moment] = at
        changes |= _filled(order, filled_quantity, cost)
        if status == OrderStatus.FILLED and status != order.status:
            _check_complete(order, changes["filled_quantity"])
        # A time that is the one stored is not sent; the server would take its own clock's.
        same_instant = status != order.status and at == order.status_at
        async with recorded_as(self._session, at=at) if same_instant else nullcontext():
            for name, value in changes.items():
                if value is not None:
                    setattr(order, name, value)
            return await self.update(order)

    async def _moved(self, order_id: UUID, status: OrderStatus, values: dict[str, Any]) -> Order | None:
        """The order moved on in one statement; None where more has to be known of it than where it stands."""
        if not _SOURCES.get(status):
            return None
        given = {"status_at": datetime.now(UTC), **_given(values)}
        statement = _moving(OrderStatus(status), frozenset(given))
        arguments = {
            **given,
            "id": order_id,
            "status": status,
            "sources": _SOURCES[status],
        }
        return await self._place.change(rows_of(Order), statement, arguments)

    async def add_once(self, order: Order) -> Order | None:
        """Store an order of ours; None where its client_order_id is taken at the exchange, in the account.

        Of several transactions that try at once, the first to commit has the id. Raises as `add` does.
        """
        return await self._add_once(order, [Order.account_id, Order.exchange, Order.client_order_id])


@cache
def _moving(status: OrderStatus, names: frozenset[str]) -> Statement:
    """An UPDATE that moves an order on to *status* from where that is a legal step, and sets *names*."""
    table = rows_of(Order).table
    columns = table.c
    at = bindparam("status_at", type_=columns.status_at.type)
    changes: dict[str, Any] = {name: bindparam(name, type_=columns[name].type) for name in sorted(names)}
    changes["status"] = bindparam("status", type_=columns.status.type)
    if moment := _TIME_OF.get(status):
        changes[moment] = func.coalesce(columns[moment], at)
    return statement_of(
        update(table)
        .where(columns.id == bindparam("id", type_=columns.id.type))
        .where(columns.status == any_(bindparam("sources", type_=TextArray())))
        .where(columns.status_at != at)  # a time that does not change the server takes for none
        .values(changes)
        .returning(*rows_of(Order).asked.values())
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _filled(order: Order, filled_quantity: Decimal | None, cost: Decimal | None) -> dict[str, Decimal | None]:
    """Columns that follow from what was filled so far; None for those that stay."""
    filled = _MONEY.accept(order.filled_quantity if filled_quantity is None else filled_quantity)
    if filled < order.filled_quantity:
        raise IllegalTransition(
            "what was filled stays filled",
            order=order.id,
            source=str(order.filled_quantity),
            target=str(filled),
        )
    if cost is None:
        if filled > order.filled_quantity:
            raise InvalidValue(
                "what was filled has a price; give cost or average_fill_price with filled_quantity",
                order=order.id,
                filled_quantity=filled,
                filled_before=order.filled_quantity,
            )
        return {"filled_quantity": filled_quantity}
    if _COST.accept(cost) and not filled:
        raise InvalidValue(
            "nothing filled costs nothing; give filled_quantity with cost", order=order.id, cost=cost
        )
    average = average_price_rounded(cost, filled) if filled else None
    return {"filled_quantity": filled_quantity, "cost": cost, "average_fill_price": average}


def _check_complete(order: Order, filled_quantity: Decimal | None) -> None:
    """Raise IllegalTransition where an order of ours would be FILLED with less than its quantity."""
    filled = order.filled_quantity if filled_quantity is None else filled_quantity
    complete = filled > 0 if order.quantity is None else filled >= order.quantity
    if order.origin != OrderOrigin.EXTERNAL and not complete:
        raise IllegalTransition(
            "an order is FILLED once its quantity is",
            order=order.id,
            source=str(order.status),
            target=str(OrderStatus.FILLED),
            quantity=order.quantity,
            filled_quantity=filled,
        )
