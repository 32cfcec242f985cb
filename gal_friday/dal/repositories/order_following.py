"""How an order follows what the exchange says of it: the rules, apart from what stores them.

`status` itself is decided by the server's `order_status_after`: for reports here, for fills in `apply_fill`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import case, func, literal

from gal_friday.dal.models.enums import WORKING_ORDER_STATUSES, OrderStatus
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS
from gal_friday.dal.models.orders import Order
from gal_friday.dal.models.types import ClosedSet, Money, UtcDateTime
from gal_friday.errors import InvalidValue

_MONEY = Money()
_STATUS = ClosedSet(OrderStatus)
_WORKS_ON = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})


def base_status(order: Order, reported: OrderStatus, at: datetime) -> OrderStatus | None:
    """Where *order* stands by a report of *at*, its fills apart; None where it cannot follow the report."""
    said = order.reported_status
    if order.status is OrderStatus.PENDING_CANCEL and reported in _WORKS_ON:
        cancel_was_refused = at > order.status_at and (said is None or said in WORKING_ORDER_STATUSES)
        return OrderStatus.NEW if cancel_was_refused else None
    steps = [step for step in (order.status, said) if step is not None and step is not reported]
    if any(reported not in ORDER_TRANSITIONS[step] for step in steps):
        return None
    if reported is OrderStatus.REJECTED and order.filled_quantity:
        return None
    if reported is OrderStatus.PENDING_CANCEL:
        return OrderStatus.PENDING_CANCEL
    if order.status is OrderStatus.PENDING_NEW and reported not in {order.status, OrderStatus.REJECTED}:
        return OrderStatus.NEW
    return order.status


def said_filled(order: Order, reported: OrderStatus, filled_quantity: Decimal | None) -> Decimal | None:
    """What is filled by the exchange's word, in base units, with this report.

    It grows, whatever order reports come in. A FILLED one has the last word, also where it says less than was
    ordered; without a figure, or with none filled, it speaks of the order's quantity.
    """
    known = order.reported_filled_quantity
    if filled_quantity is not None and _MONEY.accept(filled_quantity) < 0:
        raise InvalidValue("less than nothing cannot be filled", value=filled_quantity)
    if reported is OrderStatus.FILLED:
        if not filled_quantity and order.reported_status is not OrderStatus.FILLED:
            filled_quantity = order.quantity
        return filled_quantity or known
    if filled_quantity is None or known is None:
        return filled_quantity if known is None else known
    return max(known, filled_quantity)


def noted(
    order: Order, reported: OrderStatus, base: OrderStatus, at: datetime, reason: str | None
) -> dict[str, Any]:
    """Columns that say what was reported."""
    values: dict[str, Any] = {}
    if reported is not order.reported_status:
        values["reported_status"] = reported
        if reported is OrderStatus.CANCELED and order.canceled_at is None:
            values["canceled_at"] = at
        if reported is OrderStatus.REJECTED and reason is not None:
            values["error_message"] = reason
    if base is not order.status is OrderStatus.PENDING_NEW and order.submitted_at is None:
        values["submitted_at"] = at
    return values


def moved(
    base: OrderStatus,
    reported: OrderStatus | None,
    said: Decimal | None,
    at: datetime,
    *,
    quantity: Decimal | None = None,
) -> dict[str, Any]:
    """Columns that follow from *base*, what was reported and is filled; *quantity* where it is amended."""
    reached = func.order_status_after(
        literal(base, _STATUS),
        literal(reported, _STATUS),
        Order.quantity if quantity is None else literal(quantity, _MONEY),
        Order.filled_quantity,
        literal(said, _MONEY),
        type_=_STATUS,
    )
    completed = func.coalesce(Order.filled_at, literal(at, UtcDateTime()))
    return {
        "status": reached,
        "filled_at": case((reached == OrderStatus.FILLED, completed), else_=Order.filled_at),
    }
