"""Moving an entry to the next contract: the old one is left, then the next one entered, a step a transaction.

    none ─► pending ─► in_progress ─► rolled
               └───────────┴────────► failed

pending: leaving the old contract is intended. in_progress: it is left, and entering the next is intended.
rolled, failed: how the last order ended. Where it stands follows from what is stored, so that it can be gone
on with after a crash at any point; each order has a client_order_id that follows from the entry and its step.
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select

from gal_friday.dal.detached import detached_copy
from gal_friday.dal.models import (
    EntryStatus,
    Order,
    OrderType,
    PortfolioPosition,
    PyramidingState,
    RolloverStatus,
)
from gal_friday.errors import IllegalTransition
from gal_friday.money import ZERO
from gal_friday.services.live.exits import NOTHING_IS_HELD, leaving_order
from gal_friday.services.live.following import entry_named, follow, leave_pyramid
from gal_friday.services.live.orders import ENTRY, STEP, EntryOrders, Step, client_id, is_working, orders_of
from gal_friday.services.live.terms import Contract
from gal_friday.state.state_transaction import StateTransaction

#: A rollover that waits for something.
UNDER_WAY = (RolloverStatus.PENDING, RolloverStatus.IN_PROGRESS)
#: Key of an order's metadata: the contract the entry is moved to.
_CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class RolloverState:
    """Where a rollover stands: the entry, the one it became, and the order it waits for, if it does.

    `is_new` where that order was stored just now, and is to be sent.
    """

    position: PortfolioPosition
    successor: PortfolioPosition | None = None
    pyramid: PyramidingState | None = None
    order: Order | None = None
    is_new: bool = False


async def begin_rollover(
    t: StateTransaction, exchange: str, position_id: str, contract: Contract
) -> RolloverState:
    """Store that the entry is to be moved, with the order that leaves its contract.

    A rollover under way goes on. Raises NotFound, IllegalTransition where nothing is held or an
    exit is working, and TradingHalted: what it enters again would be refused.
    """
    position = await entry_named(t, position_id)
    if position.rollover_status in UNDER_WAY:
        return await go_on(t, exchange, position_id)
    await t.uow.session.execute(select(func.require_no_halt(t.account_id, position.strategy_id)))
    orders = await orders_of(t.uow, t.account_id, exchange, position_id)
    number = len(orders.of(Step.ROLL))
    order = None
    if position.status is not EntryStatus.CLOSED and not orders.is_leaving and not is_working(orders.enter):
        order = leaving_order(t, orders, position_id, step=Step.ROLL, which=number, reason="ROLLOVER")
    if order is None:
        raise IllegalTransition(NOTHING_IS_HELD, position_id=position_id, status=position.status.value)
    order.extra = {**order.extra, _CONTRACT: _as_json(contract)}
    order = await t.uow.orders.add(order)
    position.rollover_status = RolloverStatus.PENDING
    await t.save_position(position)
    return RolloverState(position, order=order, is_new=True)


async def go_on(t: StateTransaction, exchange: str, position_id: str) -> RolloverState:
    """Store the next step of a rollover where the order it waits for is at its end."""
    following = await follow(t, exchange, position_id)
    position, pyramid = following.position, following.pyramid
    if position.rollover_status not in UNDER_WAY:
        return RolloverState(position, pyramid=pyramid)
    state = await _standing(t, exchange, position)
    assert state.order is not None, "a rollover under way waits for an order"
    if is_working(state.order):
        return state
    has_filled = state.order.filled_quantity > 0
    if position.rollover_status is RolloverStatus.PENDING and has_filled:
        return await _enter_next(t, exchange, position, state.order)
    if position.rollover_status is RolloverStatus.PENDING and position.status is EntryStatus.CLOSED:
        pyramid = await leave_pyramid(t, position)  # its stop was faster
    position.rollover_status = RolloverStatus.ROLLED if has_filled else RolloverStatus.FAILED
    await t.save_position(position)
    return RolloverState(position, state.successor, pyramid)


async def _standing(t: StateTransaction, exchange: str, position: PortfolioPosition) -> RolloverState:
    if position.rollover_status is RolloverStatus.PENDING:
        orders = await orders_of(t.uow, t.account_id, exchange, position.position_id)
        return RolloverState(position, order=orders.of(Step.ROLL)[-1])
    name = successor_name(position.position_id)
    successor = await entry_named(t, name)
    orders = await orders_of(t.uow, t.account_id, exchange, name)
    return RolloverState(position, successor, order=orders.enter)


async def _enter_next(
    t: StateTransaction, exchange: str, position: PortfolioPosition, left: Order
) -> RolloverState:
    """The entry in the next contract, of as many contracts as were left; it takes the pyramid over."""
    contract = _from_json(left.extra[_CONTRACT])
    name = successor_name(position.position_id)
    orders: EntryOrders = await orders_of(t.uow, t.account_id, exchange, position.position_id)
    order = await t.uow.orders.add(
        Order(
            account_id=t.account_id,
            client_order_id=client_id(t.account_id, name, Step.ENTER),
            strategy_id=left.strategy_id,
            exchange=exchange,
            trading_pair=contract.trading_pair,
            side=orders.enter.side,
            order_type=OrderType.MARKET,
            quantity=left.filled_quantity,
            extra={ENTRY: name, STEP: Step.ENTER},
        )
    )
    successor = PortfolioPosition(
        position_id=name,
        strategy_id=position.strategy_id,
        instrument=position.instrument,
        currency=position.currency,
        is_base_position=position.is_base_position,
        entry_timestamp=left.status_at,
        entry_price=contract.reference_price,
        lots=0,
        quantity=ZERO,
        initial_stop=contract.stop,
        current_stop=contract.stop,
        atr=position.atr,
        limiter=position.limiter,
        expiry=contract.expiry,
        rolled_from_position_id=position.position_id,
    )
    await t.save_position(successor)
    position.rollover_status = RolloverStatus.IN_PROGRESS
    await t.save_position(position)
    pyramid = await t.uow.pyramiding_states.get((t.account_id, position.instrument))
    if pyramid is not None and position.is_base_position:
        pyramid = detached_copy(pyramid)
        pyramid.base_position_id = name
        await t.save_pyramiding_state(pyramid)
    return RolloverState(position, successor, pyramid, order, is_new=True)


def successor_name(position_id: str) -> str:
    """The name of the entry that *position_id* becomes in the next contract: `GOLD-1`, `GOLD-1+1`, …"""
    name, plus, number = position_id.rpartition("+")
    if plus and re.fullmatch(r"[0-9]+", number):
        return f"{name}+{int(number) + 1}"
    return f"{position_id}+1"


def _as_json(contract: Contract) -> dict[str, str | None]:
    return {
        "trading_pair": contract.trading_pair,
        "reference_price": str(contract.reference_price),
        "expiry": None if contract.expiry is None else contract.expiry.isoformat(),
        "stop": None if contract.stop is None else str(contract.stop),
    }


def _from_json(stored: dict[str, str]) -> Contract:
    return Contract(
        trading_pair=stored["trading_pair"],
        reference_price=Decimal(stored["reference_price"]),
        expiry=date.fromisoformat(stored["expiry"]) if stored["expiry"] else None,
        stop=Decimal(stored["stop"]) if stored["stop"] else None,
    )
