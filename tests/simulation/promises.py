"""Every promise, checked after a run against the exchange's truth and what the instances had been told."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from gal_friday.dal.models import (
    WORKING_ORDER_STATUSES,
    Fill,
    Order,
    OrderHistory,
    OrderStatus,
    Position,
    PositionSide,
    Signal,
    SignalStatus,
    UnmatchedFill,
)
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS
from gal_friday.state.recovery import RestoredState
from gal_friday.state.verification import Verification
from tests.simulation.oracle import Account, booked, in_decimals, net_positions
from tests.simulation.record import Record
from tests.simulation.venue import Venue

#: A share of a cost is rounded to 18 decimals, in a few hundred fills.
TOLERANCE = Decimal("1e-15")

_AS_AT_THE_EXCHANGE = {
    "open": (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.PENDING_CANCEL),
    "closed": (OrderStatus.FILLED,),
    "canceled": (OrderStatus.CANCELED,),
    "rejected": (OrderStatus.REJECTED,),
}


@dataclass(frozen=True, slots=True)
class Intent:
    """What a process intended, in the audit record's order; where *what* is None, it took the lease."""

    process: str
    what: str | None


@dataclass(frozen=True, slots=True)
class Findings:
    """All that is stored at the end."""

    orders: Sequence[Order]
    fills: Sequence[Fill]
    unmatched: Sequence[UnmatchedFill]
    positions: Sequence[Position]
    signals: Sequence[Signal]
    history: Sequence[OrderHistory]
    intents: Sequence[Intent]
    closed_equity: Decimal
    steps: int
    verification: Verification

    def order(self, name: str | None) -> Order | None:
        return next((order for order in self.orders if order.client_order_id == name), None)


#: What is wrong, one line each.
Violations = Iterator[str]


def p01_what_was_acknowledged_is_there(found: Findings, record: Record) -> Violations:
    told = record.acknowledged
    for fingerprint in sorted(told.signals - {signal.fingerprint for signal in found.signals}):
        yield f"signal {fingerprint} is gone"
    stored = {fill.fill_id for fill in found.fills} | {fill.fill_id for fill in found.unmatched}
    for fill in sorted(told.fills - stored):
        yield f"fill {fill} is gone"
    for name, status in told.orders.items():
        order = found.order(name)
        if order is None:
            yield f"order {name} is gone"
        elif status is not order.status and not _leads_to(status, order.status):
            yield f"order {name} was {status}, and is {order.status}"


def p02_a_restart_restores_everything(
    state: RestoredState,
    *,
    orders: Sequence[Order],
    fills: Sequence[Fill],
    history: Sequence[OrderHistory],
    venue: Venue,
    record: Record,
) -> Violations:
    """*orders*, *fills* and *history* are all that is stored at that moment."""
    last = {line.order_id: line.to_status for line in history}
    working = {id_: status for id_, status in last.items() if status in WORKING_ORDER_STATUSES}
    if {order.id: order.status for order in state.orders} != working:
        yield f"{len(state.orders)} working orders are restored, by the history there are {len(working)}"
    held = {
        (position.strategy_id, position.trading_pair): (_signed(position), position.cost)
        for position in state.positions
    }
    for whose, account in _accounts(orders, fills, venue).items():
        quantity, cost = held.pop(whose, (Decimal(0), Decimal(0)))  # type: ignore[call-overload]
        true_cost = abs(in_decimals(account.cost))
        if quantity != in_decimals(account.quantity) or abs(cost - true_cost) > TOLERANCE:
            yield f"{whose} holds {quantity} for {cost}, by its fills {account.quantity} for {true_cost}"
    if held:
        yield f"positions without fills are restored: {held}"
    steps = state.portfolio_states["USD"].state.get("steps", 0)
    if steps < record.acknowledged.steps:
        yield f"{steps} steps are restored of {record.acknowledged.steps}"
    if len(state.risk_limits) != 1:
        yield f"{len(state.risk_limits)} risk limits are restored"


def p03_each_fill_of_the_exchange_counts_once(found: Findings, venue: Venue) -> Violations:
    there = Counter((fill.order.id, fill.id) for fill in venue.fills)
    here = Counter((fill.exchange_order_id, fill.fill_id) for fill in found.fills)
    for identity in sorted((there - here).elements()):
        yield f"fill {identity} is missing"
    for identity in sorted((here - there).elements()):
        yield f"fill {identity} is one too many"
    for unmatched in found.unmatched:
        yield f"fill {unmatched.fill_id} still waits for its order"
    for order in found.orders:
        filled = sum((f.quantity_filled for f in found.fills if f.order_id == order.id), Decimal(0))
        if order.filled_quantity != filled:
            yield f"order {order.client_order_id} has {order.filled_quantity} filled, its fills {filled}"


def p04_orders_only_move_forward(found: Findings) -> Violations:
    stood: dict[object, OrderStatus] = {}
    for line in found.history:
        before = stood.get(line.order_id)
        if line.from_status is not before:
            yield f"order {line.order_id} was {before}, its history goes on from {line.from_status}"
        elif before is not None and line.to_status not in {before, *ORDER_TRANSITIONS[before]}:
            yield f"order {line.order_id} went from {before} to {line.to_status}"
        stood[line.order_id] = line.to_status
    for order in found.orders:
        if stood.get(order.id) is not order.status:
            yield f"order {order.client_order_id} is {order.status}, by its history {stood.get(order.id)}"


def p05_no_update_is_lost(found: Findings, record: Record) -> Violations:
    told = record.acknowledged
    if not told.steps <= found.steps <= told.steps_attempted:
        yield f"{found.steps} steps of {told.steps} acknowledged and {told.steps_attempted} tried"


def p06_money_is_exact(found: Findings, venue: Venue) -> Violations:
    truth = {fill.id: fill for fill in venue.fills}
    for fill in found.fills:
        true = truth.get(fill.fill_id)
        stored = (
            fill.quantity_filled,
            fill.fill_price,
            fill.commission,
            fill.commission_asset,
            fill.filled_at,
        )
        if true and stored != (true.amount, true.price, true.fee, true.fee_currency, true.at):
            yield f"fill {fill.fill_id} is stored as {stored}"
    for order in found.orders:
        sent = venue.by_client_order_id(order.client_order_id or "")
        if sent and (order.quantity, order.limit_price, order.stop_price) != (
            sent.amount,
            sent.price,
            sent.stop_price,
        ):
            yield f"order {order.client_order_id} is not stored as it was sent"


def p07_the_books_balance(found: Findings) -> Violations:
    for difference in found.verification.differences:
        yield str(difference)


def p08_one_process_leads(found: Findings) -> Violations:
    leader = None
    for intent in found.intents:
        if intent.what is None:
            leader = intent.process
        elif intent.process != leader:
            yield f"{intent.process} intended {intent.what} while {leader} led"


def p09_a_signal_is_taken_once(found: Findings) -> Violations:
    for fingerprint, times in Counter(signal.fingerprint for signal in found.signals).items():
        if times > 1:
            yield f"signal {fingerprint} was taken {times} times"
    signals = {signal.id: signal for signal in found.signals}
    for signal_id, times in Counter(order.signal_id for order in found.orders if order.signal_id).items():
        if times > 1:
            yield f"signal {signals[signal_id].fingerprint} has {times} orders"
        if signals[signal_id].status is not SignalStatus.EXECUTED:
            yield f"signal {signals[signal_id].fingerprint} has an order and is {signals[signal_id].status}"


def p10_all_is_as_at_the_exchange(found: Findings, venue: Venue) -> Violations:
    known = {order.exchange_order_id: order for order in found.orders}
    for true in venue.orders.values():
        order = known.get(true.id)
        if order is None:
            yield f"order {true.id} ({true.client_order_id}) is not known"
        elif order.status not in _AS_AT_THE_EXCHANGE[true.status]:
            yield f"order {true.id} ({true.client_order_id}) is {true.status} there, {order.status} here"
    for order in found.orders:
        if order.exchange_order_id not in venue.orders and order.status in WORKING_ORDER_STATUSES:
            yield f"order {order.client_order_id} is {order.status}, and not at the exchange"
    for symbol, net in net_positions(venue.fills).items():
        here = sum((_signed(p) for p in found.positions if p.trading_pair == symbol), Decimal(0))
        if here != net:
            yield f"position in {symbol} is {here} here, {net} there"
    yield from _equity(found, venue)


def _equity(found: Findings, venue: Venue) -> Violations:
    """What is neither in positions nor spent on them lies at the exchange, to the last decimal."""
    tied_up = sum(
        (p.cost if p.side is PositionSide.LONG else -p.cost for p in found.positions if p.closed_at is None),
        Decimal(0),
    )
    cash = venue.balances["USD"]
    if found.closed_equity - tied_up != cash:
        yield f"equity {found.closed_equity} less {tied_up} in positions is not the cash {cash} there"
    accounts = _accounts(found.orders, found.fills, venue).values()
    result = in_decimals(sum((account.realized - account.fees for account in accounts), Fraction(0)))
    expected = venue.deposit + result
    if abs(found.closed_equity - expected) > TOLERANCE:
        yield f"equity is {found.closed_equity}, by the exchange's fills {expected}"


def _leads_to(before: OrderStatus, after: OrderStatus) -> bool:
    reached, further = set[OrderStatus](), {before}
    while further:
        reached |= further
        further = set().union(*(ORDER_TRANSITIONS[status] for status in further)) - reached
    return after in reached


def _signed(position: Position) -> Decimal:
    return position.quantity if position.side is PositionSide.LONG else -position.quantity


def _accounts(orders: Sequence[Order], fills: Sequence[Fill], venue: Venue) -> Mapping[Hashable, Account]:
    """What the exchange's fills, as far as they are stored, lead to, by strategy and pair."""
    truth = {fill.id: fill for fill in venue.fills}
    strategy_of = {order.exchange_order_id: order.strategy_id for order in orders}
    return booked(
        (truth[fill.fill_id] for fill in sorted(fills, key=_when_applied)),
        lambda fill: (strategy_of.get(fill.order.id), fill.order.symbol),
    )


def _when_applied(fill: Fill) -> tuple[datetime, int]:
    assert fill.applied_at is not None
    assert fill.applied_seq is not None
    return fill.applied_at, fill.applied_seq
