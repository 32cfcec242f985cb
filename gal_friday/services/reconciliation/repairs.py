"""Storing what the exchange says of orders, in the transaction of a unit of work; it may be repeated."""

from collections.abc import Sequence
from datetime import datetime

from gal_friday.adapters.ccxt import OrderReport
from gal_friday.dal.models import Order, ReportSource
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import canonical
from gal_friday.services.reconciliation.books import Scope
from gal_friday.services.reconciliation.judgement import Amended, subject_of
from gal_friday.services.reconciliation.report import Repair, RepairKind

_RECONCILE = ReportSource.RECONCILE


async def adopt(uow: UnitOfWork, *, scope: Scope, report: OrderReport, at: datetime) -> Sequence[Repair]:
    """Store an order found at the exchange.

    What it carries as client id stays beside it: it was not given by us, and need not be unique.
    """
    found = Order(
        account_id=scope.account_id,
        exchange=scope.exchange,
        exchange_order_id=report.exchange_order_id,
        trading_pair=report.trading_pair,
        side=report.side,
        order_type=report.order_type,
        time_in_force=report.time_in_force,
        reduce_only=report.reduce_only,
        post_only=report.post_only,
        quantity=report.quantity,
        quote_quantity=report.quote_quantity,
        limit_price=report.limit_price,
        stop_price=report.stop_price,
        status=report.status,
        reported_filled_quantity=report.filled_quantity,
        submitted_at=report.opened_at,
        extra={"client_order_id": report.client_order_id} if report.client_order_id else {},
    )
    moment = report.reported_at or report.opened_at or at
    stored = await uow.orders.adopt_external(found, at=moment, source=_RECONCILE, raw=report.raw)
    return [Repair(RepairKind.ORDER_ADOPTED, subject_of(stored, report), f"found there as {report.status}")]


async def tell_status(
    uow: UnitOfWork, *, order: Order, report: OrderReport, at: datetime
) -> Sequence[Repair]:
    """Take the exchange's word for where an order of ours stands.

    That it is open is told as of when it was opened: a cancel requested since was not refused by that.
    """
    moment = (report.opened_at or order.status_at) if report.is_open else (report.reported_at or at)
    before = order.status
    outcome = await uow.orders.record_report(
        order.id,
        report.status,
        at=moment,
        filled_quantity=report.filled_quantity,
        exchange_order_id=report.exchange_order_id,
        reason="reconciled with the exchange",
        source=_RECONCILE,
        raw=report.raw,
    )
    detail = f"{before} here, {report.status} there; now {outcome.order.status}"
    return [Repair(RepairKind.STATUS, subject_of(outcome.order, report), detail)]


async def amend(
    uow: UnitOfWork, *, order: Order, report: OrderReport, at: datetime, amended: Amended
) -> Sequence[Repair]:
    """Take the exchange's word for what an order of ours is; an amendment it told us since stays."""
    detail = ", ".join(
        f"{name} {canonical(getattr(order, name)):f} here, {getattr(amended, name):f} there"
        for name in ("quantity", "limit_price")
        if getattr(amended, name) is not None
    )
    await uow.orders.record_amendment(
        order.id,
        at=report.reported_at or at,
        quantity=amended.quantity,
        limit_price=amended.limit_price,
        reason="reconciled with the exchange",
        source=_RECONCILE,
        raw=report.raw,
    )
    return [Repair(RepairKind.AMENDMENT, subject_of(order, report), detail)]
