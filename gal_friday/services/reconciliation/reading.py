"""Both sides of a reconciliation, read in the order that keeps what happens meanwhile from misleading.

The exchange is read first, we after it: what reached us in between is with us already. Orders that are on one
side only are then asked for one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from gal_friday.adapters.ccxt import OrderReport, TradeReport
from gal_friday.dal.models import Order
from gal_friday.database import Database
from gal_friday.services.reconciliation.books import Horizon, OwnOrders, Scope, own_orders
from gal_friday.services.reconciliation.questions import Absent, Questions

Name = tuple[str, str]


@dataclass(slots=True)
class ExchangeSide:
    """What the exchange says. None is no answer, and nothing follows from it."""

    orders: dict[Name, OrderReport]
    trades: Sequence[TradeReport] | None
    balances: Mapping[str, Decimal] | None
    #: Orders of ours the exchange said it does not know.
    unknown: list[Order] = field(default_factory=list)


async def read_exchange(questions: Questions, horizon: Horizon) -> ExchangeSide:
    """Orders, executions and balances; the balances last, since every fill moves them."""
    listed_open = await questions.open_orders(horizon.pairs)
    listed_closed = await questions.closed_orders(horizon.orders_since, horizon.pairs)
    # Listed in both, an order has come to its end between the two answers.
    reports = [*(listed_open or ()), *(listed_closed or ())]
    orders = {(report.trading_pair, report.exchange_order_id): report for report in reports}
    trades = await questions.trades(horizon.fills_since, horizon.pairs)
    if trades is not None:  # some exchanges take whole seconds, and give what was before
        trades = [trade for trade in trades if trade.filled_at >= horizon.fills_since]
    return ExchangeSide(orders, trades, await questions.balances())


async def read_ours(database: Database, scope: Scope, exchange_side: ExchangeSide) -> OwnOrders:
    """Our orders that work or that the exchange speaks of."""
    names: list[tuple[str | None, str | None]] = [
        (report.exchange_order_id, report.client_order_id) for report in exchange_side.orders.values()
    ]
    names += [(trade.exchange_order_id, None) for trade in exchange_side.trades or ()]
    async with database.transaction(read_only=True) as uow:
        return await own_orders(uow, scope, names)


async def ask_for_the_rest(
    questions: Questions,
    exchange_side: ExchangeSide,
    ours: OwnOrders,
    *,
    orders_since: datetime,
    settled_before: datetime,
) -> None:
    """Ask for working orders of ours the exchange did not list, and for orders of executions nobody lists."""
    matched = {id(match(ours, report)) for report in exchange_side.orders.values()}
    for order in ours.working:
        if id(order) in matched:
            continue
        if order.exchange_order_id is not None:
            await _ask_by_exchange_id(questions, exchange_side, order)
        elif order.client_order_id is not None and order.status_at < settled_before:
            await _ask_by_client_id(questions, exchange_side, order, orders_since)
    for name in dict.fromkeys(
        (trade.trading_pair, trade.exchange_order_id) for trade in exchange_side.trades or ()
    ):
        if name not in exchange_side.orders and ours.named(*name) is None:
            found = await questions.order(name[1], name[0])
            if not isinstance(found, Absent):
                exchange_side.orders[name] = found


def match(ours: OwnOrders, report: OrderReport) -> Order | None:
    """Our order that *report* is of: by the exchange's id, else by ours."""
    return ours.named(report.trading_pair, report.exchange_order_id) or ours.sent_as(report.client_order_id)


async def _ask_by_exchange_id(questions: Questions, exchange_side: ExchangeSide, order: Order) -> None:
    assert order.exchange_order_id is not None
    found = await questions.order(order.exchange_order_id, order.trading_pair)
    if found is Absent.UNKNOWN:
        exchange_side.unknown.append(order)
    elif not isinstance(found, Absent):
        exchange_side.orders[order.trading_pair, order.exchange_order_id] = found


async def _ask_by_client_id(
    questions: Questions, exchange_side: ExchangeSide, order: Order, since: datetime
) -> None:
    assert order.client_order_id is not None
    found = await questions.orders_by_client_id(
        order.client_order_id, order.trading_pair, min(since, order.created_at)
    )
    if found is None:
        return
    by_name = {(report.trading_pair, report.exchange_order_id): report for report in found}
    exchange_side.orders |= by_name
    if not by_name:
        exchange_side.unknown.append(order)
