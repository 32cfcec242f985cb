"""What a bot hears of its orders: by the stream, by asking, and after a start."""

from datetime import timedelta

from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import Order, OrderStatus, ReportSource
from gal_friday.errors import NotFound
from tests.simulation.bot import Desk
from tests.simulation.ccxt_errors import OrderNotFound
from tests.simulation.ccxt_shapes import Shape, in_milliseconds
from tests.simulation.exchange import PAGE
from tests.simulation.translation import exactly, fill_of, key_of, moment_of, plain, status_of

#: Trades may be listed later than they happened; asked for again they do no harm.
OVERLAP = timedelta(minutes=6)


async def hear(desk: Desk, kind: str, shape: Shape) -> None:
    """An update of the stream."""
    if kind == "trade":
        await _fill(desk, shape, ReportSource.STREAM)
    else:
        await _report(desk, shape, ReportSource.STREAM)


async def deliver(desk: Desk) -> None:
    """Take to the database what was heard while it was away."""
    journal = desk.database.journal
    if waiting := journal.pending():
        stats = await journal.drain()
        desk.record.note(desk.name, "delivers", waiting, "facts")
        desk.record.counts["fact journaled"] += waiting
        if stats.refused:
            desk.record.violated("P01", f"{desk.name}: {stats.refused} facts of the journal were refused")


async def poll(desk: Desk) -> None:
    """Ask the exchange for all that happened lately."""
    await desk.tried("asking for trades", lambda: _ask_for_trades(desk))
    await desk.tried("asking for orders", lambda: _ask_for_orders(desk))


async def _ask_for_trades(desk: Desk) -> None:
    """All trades once in a life, for anything may have been missed before; then the latest."""
    asked = desk.trades_asked_for
    since = None if asked is None else in_milliseconds(asked - OVERLAP)
    now = desk.record.agenda.now
    while True:
        trades = await desk.exchange.fetch_my_trades(since=since)
        fills = [fill_of(trade, ReportSource.POLL) for trade in trades]
        for trade, outcome in zip(trades, await desk.database.execution.apply_fills(fills), strict=True):
            _heard_of_fill(desk, trade, outcome)
        if len(trades) < PAGE or trades[-1]["timestamp"] == since:
            desk.trades_asked_for = now
            return
        since = trades[-1]["timestamp"]


async def _ask_for_orders(desk: Desk) -> None:
    async with desk.database.transaction(read_only=True) as uow:
        working = await uow.orders.get_active_orders()
    for order in sorted(working, key=lambda order: order.client_order_id or ""):
        try:
            params = {"clientOrderId": order.client_order_id}
            shape = await desk.exchange.fetch_order(None, order.trading_pair, params)
        except OrderNotFound:
            await _send_again(desk, order)
        else:
            await _report(desk, shape, ReportSource.POLL)


async def _send_again(desk: Desk, order: Order) -> None:
    """The exchange has never heard of it: with the same name it can be sent again without harm.

    One that was to be canceled meanwhile need not be.
    """
    if order.status is OrderStatus.PENDING_CANCEL:
        outcome = await desk.handler.canceled(order.id, reason="it never arrived", source=ReportSource.POLL)
        desk.record.note(desk.name, "gives up", order.client_order_id, outcome.order.status)
        return
    stored = await desk.handler.resend(order.id)
    desk.record.note(desk.name, "sends again", stored.client_order_id, stored.status)


async def _report(desk: Desk, shape: Shape, source: ReportSource) -> None:
    if shape["clientOrderId"] is None:  # nobody here sent it: reconciliation sees to it
        return
    try:
        outcome = await desk.handler.status_report(
            key_of(shape),
            status_of(shape),
            at=moment_of(shape["lastUpdateTimestamp"]),
            filled_quantity=exactly(shape["filled"]),
            source=source,
            raw=plain(shape),
        )
    except NotFound:
        desk.record.note(desk.name, "does not know", shape["id"])
        return
    if outcome.is_journaled:
        desk.record.note(desk.name, "puts down", shape["id"], shape["status"])
        return
    assert outcome.order.client_order_id is not None
    desk.record.acknowledged.orders[outcome.order.client_order_id] = outcome.order.status
    desk.record.note(desk.name, "hears of", shape["id"], shape["status"], "→", outcome.order.status)


async def _fill(desk: Desk, trade: Shape, source: ReportSource) -> None:
    _heard_of_fill(desk, trade, await desk.handler.fill(fill_of(trade, source)))


def _heard_of_fill(desk: Desk, trade: Shape, outcome: FillOutcome) -> None:
    if outcome.result is FillResult.REJECTED or (outcome.reason and outcome.result is FillResult.DUPLICATE):
        desk.record.violated("P03", f"{trade['id']} {outcome.result}: {outcome.reason}")
    if trade["id"] is not None:
        desk.record.acknowledged.fills.add(trade["id"])
    if outcome.result is not FillResult.DUPLICATE:
        desk.record.note(desk.name, "hears of", trade["id"], outcome.result, outcome.order_status)
