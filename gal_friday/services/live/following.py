"""What fills and reports make of an entry: its row follows from its orders, however often it is asked."""

from dataclasses import dataclass
from decimal import Decimal

from gal_friday.dal.detached import detached_copy
from gal_friday.dal.models import (
    EntryStatus,
    Order,
    PortfolioPosition,
    PyramidingState,
    RolloverStatus,
    Side,
)
from gal_friday.errors import NotFound
from gal_friday.money import (
    ZERO,
    amount_rounded,
    average_price_rounded,
    cost_rounded,
    cost_share_rounded,
    exact,
)
from gal_friday.services.live.figures import update_figures
from gal_friday.services.live.orders import REASON, EntryOrders, is_working, orders_of
from gal_friday.state.state_transaction import StateTransaction


async def entry_named(t: StateTransaction, position_id: str) -> PortfolioPosition:
    """A copy of the entry of this name. Raises NotFound."""
    position = await t.get_position(position_id)
    if position is None:
        raise NotFound(table=PortfolioPosition.__tablename__, key=(t.account_id, position_id))
    return position


@dataclass(frozen=True, slots=True)
class Following:
    """An entry as its fills have it, and the pyramid it was part of, if that changed."""

    position: PortfolioPosition
    pyramid: PyramidingState | None = None


async def follow(t: StateTransaction, exchange: str, position_id: str) -> Following:
    """Let an entry be what its orders' fills say.

    Nothing but facts goes in, so it may be done at any time, by whoever leads the account. When the last
    entry of an instrument is closed, the pyramid there is over; not while it is moved to the next contract.
    """
    position = await entry_named(t, position_id)
    orders = await orders_of(t.uow, t.account_id, exchange, position_id)
    before = _facts(position)
    _let_follow(position, orders)
    if _facts(position) == before:
        return Following(position)
    await t.save_position(position)
    pyramid = None
    is_newly_closed = position.status is EntryStatus.CLOSED and before["status"] is not EntryStatus.CLOSED
    if is_newly_closed and position.rollover_status is not RolloverStatus.PENDING:
        pyramid = await leave_pyramid(t, position, has_entered=orders.enter.filled_quantity > 0)
    await update_figures(t, position.currency)
    return Following(position, pyramid)


def is_behind(position: PortfolioPosition, orders: EntryOrders) -> bool:
    """Whether an entry is not what its orders' fills say."""
    following = detached_copy(position)
    _let_follow(following, orders)
    return _facts(following) != _facts(position)


def _facts(position: PortfolioPosition) -> dict[str, object]:
    names = (
        *("status", "entry_price", "lots", "quantity", "net_position_id", "realized_pnl", "unrealized_pnl"),
        *("exit_timestamp", "exit_price", "exit_reason"),
    )
    return {name: getattr(position, name) for name in names}


def _let_follow(position: PortfolioPosition, orders: EntryOrders) -> None:
    enter = orders.enter
    left = [order for order in orders.leaving if order.filled_quantity > 0]
    is_entered = enter.filled_quantity > 0
    position.exit_timestamp = position.exit_price = position.exit_reason = None
    with exact():
        position.quantity = orders.held * orders.contract_multiplier
        position.lots = int(orders.held)
    if is_entered:
        assert enter.average_fill_price is not None
        position.entry_price = enter.average_fill_price
        position.net_position_id = enter.position_id
        position.realized_pnl = _realized(orders, left)
    position.status = EntryStatus.PARTIAL if left else EntryStatus.OPEN
    if is_working(enter) or orders.held:
        return
    position.status = EntryStatus.CLOSED
    position.unrealized_pnl = ZERO
    if not is_entered:
        position.exit_timestamp, position.exit_price = enter.status_at, position.entry_price
        position.exit_reason = f"ENTRY_{enter.status}"
        return
    with exact():
        cost = sum((order.cost for order in left), ZERO)
        quantity = sum((order.filled_quantity for order in left), ZERO)
    position.exit_timestamp = orders.last_fill_at
    position.exit_price = average_price_rounded(cost, quantity) if quantity else position.entry_price
    position.exit_reason = _reason(left[-1]) if left else "FEE"


def _reason(order: Order) -> str:
    return str(order.extra.get(REASON, order.order_type))


def _realized(orders: EntryOrders, left: list[Order]) -> Decimal:
    """Profit of what was left over what entering it cost, before commission, half up to 18 decimals."""
    enter = orders.enter
    with exact():
        quantity = sum((order.filled_quantity for order in left), ZERO)
        got = sum((order.cost for order in left), ZERO)
        paid = cost_share_rounded(enter.cost, quantity, enter.filled_quantity)
        gain = got - paid if enter.side is Side.BUY else paid - got
        return amount_rounded(cost_rounded(gain * orders.contract_multiplier))


async def leave_pyramid(
    t: StateTransaction, position: PortfolioPosition, *, has_entered: bool = True
) -> PyramidingState | None:
    """The pyramid without *position*: over with its last entry, and lower by one that never was."""
    row = await t.uow.pyramiding_states.get((t.account_id, position.instrument))
    if row is None:
        return None
    pyramid = detached_copy(row)
    others = [
        other
        for other in await t.uow.portfolio_positions.get_open_positions(
            instrument=position.instrument, account_id=t.account_id
        )
        if other.position_id != position.position_id
    ]
    if not others:
        pyramid.base_position_id = pyramid.last_pyramid_price = None
        pyramid.pyramid_count = 0
    elif not has_entered and not position.is_base_position and pyramid.pyramid_count:
        pyramid.pyramid_count -= 1
        pyramid.last_pyramid_price = others[-1].entry_price
    else:
        return None
    await t.save_pyramiding_state(pyramid)
    return pyramid
