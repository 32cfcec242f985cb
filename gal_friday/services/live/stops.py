"""Stops: the price an entry is protected at, and the order at the exchange that is to agree with it."""

from dataclasses import dataclass
from decimal import Decimal

from gal_friday.dal.models import EntryStatus, Order, OrderStatus, OrderType, PortfolioPosition, Side
from gal_friday.errors import IllegalTransition, StopLoosened
from gal_friday.money import exact
from gal_friday.services.live.figures import update_figures
from gal_friday.services.live.following import entry_named
from gal_friday.services.live.orders import (
    ENTRY,
    REASON,
    STEP,
    EntryOrders,
    Step,
    client_id,
    opposite,
    orders_of,
)
from gal_friday.services.order_gateway import Amendment
from gal_friday.state.state_transaction import StateTransaction


@dataclass(frozen=True, slots=True)
class Place:
    """A stop order that was just stored is to be sent."""

    order: Order


@dataclass(frozen=True, slots=True)
class Doubt:
    """It is not known whether the exchange has the stop order."""

    order: Order


@dataclass(frozen=True, slots=True)
class Amend:
    """The stop order is at another price, or of another size, than it is to be."""

    order: Order
    amendment: Amendment


@dataclass(frozen=True, slots=True)
class Cancel:
    """The stop order protects nothing any more."""

    order: Order


#: What is to be done for the exchange to agree.
Due = Place | Doubt | Amend | Cancel


async def move_stop(
    t: StateTransaction,
    exchange: str,
    position_id: str,
    stop: Decimal,
    *,
    may_loosen: bool,
    highest_close: Decimal | None,
) -> PortfolioPosition:
    """Store a new stop of a live entry. Raises NotFound, IllegalTransition, StopLoosened."""
    position = await entry_named(t, position_id)
    if position.status is EntryStatus.CLOSED:
        raise IllegalTransition("a closed entry has no stop", position_id=position_id)
    orders = await orders_of(t.uow, t.account_id, exchange, position_id)
    current = position.current_stop
    is_long = orders.enter.side is Side.BUY
    is_looser = current is not None and (stop < current if is_long else stop > current)
    if is_looser and not may_loosen:
        raise StopLoosened(position_id=position_id, current_stop=current, wanted=stop)
    if stop == current and highest_close in {None, position.highest_close}:
        return position
    position.current_stop = stop
    if highest_close is not None:
        position.highest_close = highest_close
    await t.save_position(position)
    await update_figures(t, position.currency)
    return position


def protection_of(account_id: str, position: PortfolioPosition, orders: EntryOrders) -> Due | None:
    """What is to be done for the exchange to protect what is held at the current stop; None if it does.

    While the entry is being left, nothing is: the exit has taken over.
    """
    stops = orders.protecting
    is_wanted = position.current_stop is not None and orders.held > 0
    if orders.is_leaving or orders.stop_has_struck or (not is_wanted and not stops):
        return None
    if not stops:
        return Place(_stop_order(account_id, position, orders))
    stop = stops[-1]
    if stop.status is OrderStatus.PENDING_NEW:
        return Doubt(stop)
    if not is_wanted:
        return None if stop.status is OrderStatus.PENDING_CANCEL else Cancel(stop)
    with exact():
        quantity = orders.held + stop.filled_quantity
    is_as_wanted = (stop.stop_price, stop.quantity) == (position.current_stop, quantity)
    if is_as_wanted or stop.status is OrderStatus.PENDING_CANCEL:
        return None
    return Amend(stop, Amendment(stop_price=position.current_stop, quantity=quantity))


async def protection_due(t: StateTransaction, exchange: str, position_id: str) -> Due | None:
    """As `protection_of`; a stop order that is to be placed is stored. Raises NotFound."""
    position = await entry_named(t, position_id)
    orders = await orders_of(t.uow, t.account_id, exchange, position_id)
    due = protection_of(t.account_id, position, orders)
    if not isinstance(due, Place):
        return due
    stored = await t.uow.orders.add_once(due.order)
    return None if stored is None else Place(stored)  # somebody here is placing it


def _stop_order(account_id: str, position: PortfolioPosition, orders: EntryOrders) -> Order:
    enter = orders.enter
    number = len(orders.of(Step.STOP))
    return Order(
        account_id=account_id,
        client_order_id=client_id(account_id, position.position_id, Step.STOP, number),
        parent_order_id=enter.id,
        strategy_id=enter.strategy_id,
        exchange=enter.exchange,
        trading_pair=enter.trading_pair,
        side=opposite(enter.side),
        order_type=OrderType.STOP_LOSS,
        stop_price=position.current_stop,
        quantity=orders.held,
        reduce_only=True,
        extra={ENTRY: position.position_id, STEP: Step.STOP, REASON: "STOP"},
    )
