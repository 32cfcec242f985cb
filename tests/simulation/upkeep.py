"""What a bot does without being told: signals left behind, old quotes, positions that need a stop."""

from datetime import timedelta
from functools import partial

from gal_friday.dal.models import (
    WORKING_ORDER_STATUSES,
    Order,
    OrderType,
    PositionSide,
    Side,
    Signal,
    SignalStatus,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.state.state_transaction import StateTransaction
from tests.simulation.bot import Desk, cancel, execute, held, submit
from tests.simulation.strategies import GUARDED, MAKER
from tests.simulation.translation import VENUE

#: An approved signal nobody acted on for so long is not acted on any more.
PATIENCE = timedelta(minutes=5)


async def manage(desk: Desk) -> None:
    """What is due without an alert: signals left behind, old quotes, positions without a stop."""
    await desk.tried("counting", partial(_count_step, desk))
    if not desk.may_trade:
        return
    async with desk.database.transaction(read_only=True) as uow:
        left = await uow.signals.find_by_status(SignalStatus.APPROVED)
        working = sorted(await uow.orders.get_active_orders(), key=lambda order: order.client_order_id or "")
    for signal in sorted(left, key=lambda signal: signal.fingerprint):
        await desk.tried("acting on a signal left behind", partial(_act_late, desk, signal))
    for order in working:
        age = desk.market.ticks - order.extra.get("tick", 0)
        if order.strategy_id == MAKER.name and age > MAKER.patience_ticks:
            await desk.tried("canceling", partial(cancel, desk, order, "too old"))
    await desk.tried("protecting", partial(_protect, desk))


async def _act_late(desk: Desk, signal: Signal) -> None:
    assert signal.decided_at is not None
    if desk.record.agenda.now - signal.decided_at <= PATIENCE:
        await execute(desk, signal.id)
        return

    async def expire(uow: UnitOfWork) -> None:
        await uow.signals.decide(signal.id, SignalStatus.EXPIRED)

    await desk.database.retrying(expire, actor=desk.name)


async def _protect(desk: Desk) -> None:
    """One stop for all of the guarded position, and none where there is no position."""
    async with desk.database.transaction(read_only=True) as uow:
        position = await held(uow, GUARDED.name, GUARDED.symbol)
        orders = await uow.orders.find_all(Order.strategy_id == GUARDED.name)
    stops = [order for order in orders if order.parent_order_id is not None]
    working = [stop for stop in stops if stop.status in WORKING_ORDER_STATUSES]
    step = desk.market.listing(GUARDED.symbol).quantity_step
    is_long = position is not None and position.side is PositionSide.LONG
    wanted = position.quantity // step * step if position is not None and is_long else 0
    if [stop.remaining_quantity for stop in working] == ([wanted] if wanted else []):
        return
    for stop in working:
        await cancel(desk, stop, "the position has changed")
    if working or not wanted:
        return
    entries = [order for order in orders if order.parent_order_id is None and order.side is Side.BUY]
    entry = max((order for order in entries if order.filled_quantity), key=lambda order: order.extra["tick"])
    number = sum(stop.parent_order_id == entry.id for stop in stops)
    assert entry.average_fill_price is not None
    await submit(
        desk,
        Order(
            client_order_id=f"{entry.client_order_id}-stop{number}",
            parent_order_id=entry.id,
            strategy_id=GUARDED.name,
            exchange=VENUE,
            trading_pair=GUARDED.symbol,
            side=Side.SELL,
            order_type=OrderType.STOP_LOSS,
            stop_price=GUARDED.stop_price(entry.average_fill_price, desk.market),
            quantity=wanted,
            reduce_only=True,
            status_at=desk.record.agenda.now,
            extra={"tick": desk.market.ticks},
        ),
    )


async def _count_step(desk: Desk) -> None:
    """One more step, in a row that fills change as well: neither may lose what the other wrote."""
    acknowledged = desk.record.acknowledged
    acknowledged.steps_attempted += 1

    async def count(state: StateTransaction) -> None:
        portfolio = await state.get_portfolio_state("USD")
        assert portfolio is not None
        portfolio.state = {"steps": portfolio.state.get("steps", 0) + 1}
        await state.save_portfolio_state(portfolio)

    await desk.state.retrying(count)
    acknowledged.steps += 1
