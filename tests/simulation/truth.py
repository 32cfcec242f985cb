"""P02 and P10: what is stored, or restored, held against what truly happened at the exchange."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from gal_friday.dal.models import (
    WORKING_ORDER_STATUSES,
    Fill,
    Order,
    OrderHistory,
    OrderStatus,
    Position,
    PositionSide,
)
from gal_friday.state.recovery import RestoredState
from tests.simulation.oracle import Account, booked, in_decimals, net_positions
from tests.simulation.promises import Findings, Violations
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


def p02_a_restart_restores_everything(
    state: RestoredState,
    *,
    orders: Sequence[Order],
    fills: Sequence[Fill],
    names: Mapping[UUID, str],
    history: Sequence[OrderHistory],
    venue: Venue,
    record: Record,
) -> Violations:
    """*orders*, *fills* with their *names* at the exchange, and *history* are all that is stored then."""
    last = {line.order_id: line.to_status for line in history}
    working = {id_: status for id_, status in last.items() if status in WORKING_ORDER_STATUSES}
    if {order.id: order.status for order in state.orders} != working:
        yield f"{len(state.orders)} working orders are restored, by the history there are {len(working)}"
    held = {
        (position.strategy_id, position.trading_pair): (_signed(position), position.cost)
        for position in state.positions
    }
    for whose, account in _accounts(orders, fills, names, venue).items():
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


def p10_all_is_as_at_the_exchange(found: Findings, venue: Venue) -> Violations:
    known = {order.exchange_order_id: order for order in found.orders}
    for true in venue.orders.values():
        order = known.get(true.id)
        if order is None:
            if true.client_order_id or true.filled or true.status == "open":  # else it never mattered
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
    accounts = _accounts(found.orders, found.fills, found.names, venue).values()
    result = in_decimals(sum((account.realized - account.fees for account in accounts), Fraction(0)))
    expected = venue.deposit + result
    if abs(found.closed_equity - expected) > TOLERANCE:
        yield f"equity is {found.closed_equity}, by the exchange's fills {expected}"


def _signed(position: Position) -> Decimal:
    return position.quantity if position.side is PositionSide.LONG else -position.quantity


def _accounts(
    orders: Sequence[Order], fills: Sequence[Fill], names: Mapping[UUID, str], venue: Venue
) -> Mapping[Hashable, Account]:
    """What the exchange's fills, as far as they are stored, lead to, by strategy and pair."""
    truth = {fill.id: fill for fill in venue.fills}
    strategy_of = {order.exchange_order_id: order.strategy_id for order in orders}
    return booked(
        (truth[names[fill.id]] for fill in sorted(fills, key=_when_applied)),
        lambda fill: (strategy_of.get(fill.order.id), fill.order.symbol),
    )


def _when_applied(fill: Fill) -> tuple[datetime, int]:
    assert fill.applied_at is not None
    assert fill.applied_seq is not None
    return fill.applied_at, fill.applied_seq
