"""What follows from an order as we have it and as the exchange tells it: news, or a difference."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gal_friday.adapters.ccxt import OrderReport
from gal_friday.dal.models import WORKING_ORDER_STATUSES, Order, OrderStatus
from gal_friday.dal.repositories.order_following import base_status
from gal_friday.money import ZERO, canonical, exact
from gal_friday.services.reconciliation.report import Difference, DifferenceKind, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """What an order is at the exchange and not with us; None is as with us."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None

    def __bool__(self) -> bool:
        return self.quantity is not None or self.limit_price is not None


def subject_of(order: Order | None, report: OrderReport | None = None) -> Subject:
    """The names of an order, as far as either side has them."""
    return Subject(
        order_id=order.id if order else None,
        client_order_id=(order.client_order_id if order else None)
        or (report.client_order_id if report else None),
        exchange_order_id=(report.exchange_order_id if report else None)
        or (order.exchange_order_id if order else None),
        trading_pair=order.trading_pair if order else report.trading_pair if report else None,
    )


def contradicts(order: Order, report: OrderReport) -> bool:
    """Whether the two cannot be the same order."""
    return (order.trading_pair, order.side) != (report.trading_pair, report.side) or (
        order.exchange_order_id is not None and order.exchange_order_id != report.exchange_order_id
    )


def has_news(order: Order, report: OrderReport, at: datetime) -> bool:
    """Whether the report says of the order's status what we do not know yet, and the order can follow it."""
    if order.exchange_order_id is None or (order.status is OrderStatus.PENDING_NEW and report.is_open):
        return True
    if report.is_open or order.status is report.status:
        return False
    filled_is_known = report.filled_quantity is None or (
        order.reported_filled_quantity is not None
        and order.reported_filled_quantity >= report.filled_quantity
    )
    was_told = order.reported_status is report.status and filled_is_known
    return not was_told and base_status(order, report.status, at) is not None


def amendment(order: Order, report: OrderReport) -> Amended:
    """What was amended at the exchange, of an order that works on both sides."""
    if not report.is_open or order.status not in WORKING_ORDER_STATUSES:
        return Amended()
    quantity, price = report.quantity, report.limit_price
    return Amended(
        quantity=quantity if order.quantity is not None and differ(order.quantity, quantity) else None,
        limit_price=price if order.limit_price is not None and differ(order.limit_price, price) else None,
    )


def differences(
    order: Order, report: OrderReport, *, settled_before: datetime, fills_are_known: bool
) -> list[Difference]:
    """What remains between the two once everything the exchange said is stored."""
    subject = subject_of(order, report)
    found = []
    filled = report.filled_quantity
    if fills_are_known and filled is not None and differ(order.filled_quantity, filled):
        missing = filled > order.filled_quantity
        kind = DifferenceKind.FILLS_MISSING if missing else DifferenceKind.FILLS_IN_EXCESS
        found.append(quantity_difference(kind, subject, order.filled_quantity, filled))
    if order.status is OrderStatus.PENDING_CANCEL and report.is_open and order.status_at < settled_before:
        found.append(_difference(DifferenceKind.CANCEL_IN_DOUBT, subject, order.status, report.status))
    if _ends_differ(order, report) and not found:
        found.append(_difference(DifferenceKind.STATUS, subject, order.status, report.status))
    return found


def unknown_there(order: Order, settled_before: datetime) -> Difference | None:
    """An order of ours the exchange does not know; None while it may be on its way."""
    if max(order.created_at, order.status_at) >= settled_before:
        return None
    never_acknowledged = order.exchange_order_id is None
    kind = DifferenceKind.ORDER_IN_DOUBT if never_acknowledged else DifferenceKind.ORDER_UNKNOWN_THERE
    return _difference(kind, subject_of(order), order.status, None)


def contradiction(order: Order, report: OrderReport) -> Difference:
    """An order that carries our id and cannot be ours, or is not the only one that does."""
    subject = subject_of(order, report)
    return _difference(DifferenceKind.ORDER_CONTRADICTS, subject, _whole(order), _whole(report))


def looks_like(order: Order, report: OrderReport) -> Difference:
    """An order that may be ours."""
    subject = subject_of(order, report)
    return _difference(DifferenceKind.ORDER_MAY_BE_OURS, subject, order.status, report.status)


def may_be(order: Order, report: OrderReport) -> bool:
    """Whether an order the exchange lists without our id looks like this one, of which we lack its id."""
    return (
        not contradicts(order, report)
        and order.exchange_order_id is None
        and (order.quantity is None or not differ(order.quantity, report.quantity))
        and (order.limit_price is None or not differ(order.limit_price, report.limit_price))
    )


def differ(ours: Decimal, theirs: Decimal | None) -> bool:
    """Whether two numbers are not the same as far as a float can tell, which may be all the exchange gave."""
    return theirs is not None and ours != theirs and float(ours) != float(theirs)


def quantity_difference(kind: DifferenceKind, subject: Subject, ours: Decimal, theirs: Decimal) -> Difference:
    """Two amounts that should be one."""
    with exact():
        amount = theirs - ours
    return Difference(kind, subject, _shown(ours), _shown(theirs), canonical(amount))


def _ends_differ(order: Order, report: OrderReport) -> bool:
    if order.status in WORKING_ORDER_STATUSES:
        return not report.is_open
    complete_by_fills = order.status is OrderStatus.FILLED and order.filled_quantity > ZERO
    if complete_by_fills and not report.is_open:
        return False  # the last of it was executed while it was being canceled
    return order.status is not report.status


def _difference(kind: DifferenceKind, subject: Subject, ours: str, theirs: str | None) -> Difference:
    return Difference(kind, subject, str(ours), None if theirs is None else str(theirs))


def _whole(it: Order | OrderReport) -> str:
    return f"{it.side} {it.trading_pair} {it.exchange_order_id}"


def _shown(amount: Decimal) -> str:
    return format(canonical(amount), "f")
