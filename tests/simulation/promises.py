"""Every promise, checked after a run against the exchange's truth and what the instances had been told."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from uuid import UUID

from gal_friday.dal.models import (
    Fill,
    Order,
    OrderHistory,
    OrderStatus,
    Position,
    Signal,
    SignalStatus,
    UnmatchedFill,
)
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS
from gal_friday.state.verification import Verification
from tests.simulation.record import Record
from tests.simulation.venue import Venue


class Deed(Enum):
    LEADS = auto()
    HALTS = auto()
    RESUMES = auto()
    ENTERS = auto()
    INTENDS = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the audit record: what a process did, and to what."""

    process: str
    deed: Deed
    what: str


@dataclass(frozen=True, slots=True)
class Findings:
    """All that is stored at the end.

    *names* has the exchange's id of each fill, by our own: its stream may have told of it without.
    """

    orders: Sequence[Order]
    fills: Sequence[Fill]
    names: Mapping[UUID, str]
    unmatched: Sequence[UnmatchedFill]
    positions: Sequence[Position]
    signals: Sequence[Signal]
    history: Sequence[OrderHistory]
    deeds: Sequence[Entry]
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
    stored = {*found.names.values(), *(fill.fill_id for fill in found.unmatched)}
    for fill in sorted(told.fills - stored):
        yield f"fill {fill} is gone"
    for name, status in told.orders.items():
        order = found.order(name)
        if order is None:
            yield f"order {name} is gone"
        elif status is not order.status and not _leads_to(status, order.status):
            yield f"order {name} was {status}, and is {order.status}"


def p03_each_fill_of_the_exchange_counts_once(found: Findings, venue: Venue) -> Violations:
    there = Counter((fill.order.id, fill.id) for fill in venue.fills)
    here = Counter((fill.exchange_order_id, found.names[fill.id]) for fill in found.fills)
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
        true = truth.get(found.names[fill.id])
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
    """And who leads enters nothing while the account is halted."""
    leader, is_halted = None, False
    for entry in found.deeds:
        match entry.deed:
            case Deed.LEADS:
                leader = entry.process
            case Deed.HALTS | Deed.RESUMES:
                is_halted = entry.deed is Deed.HALTS
            case _ if entry.process != leader:
                yield f"{entry.process} intended {entry.what} while {leader} led"
            case Deed.ENTERS if is_halted:
                yield f"{entry.process} intended {entry.what} in a halt"


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


def _leads_to(before: OrderStatus, after: OrderStatus) -> bool:
    reached, further = set[OrderStatus](), {before}
    while further:
        reached |= further
        further = set().union(*(ORDER_TRANSITIONS[status] for status in further)) - reached
    return after in reached
