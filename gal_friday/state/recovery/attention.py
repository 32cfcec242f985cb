"""What stands against nothing, and wants a person's attention after a restart."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.models import (
    WORKING_ORDER_STATUSES,
    Order,
    OrderOrigin,
    OrderStatus,
    OrderType,
    Position,
    PositionSide,
    Side,
    UnmatchedFill,
)
from gal_friday.money import ZERO, canonical

#: Orders that limit a loss.
PROTECTIVE = (OrderType.STOP_LOSS, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)

Listed = Sequence[dict[str, Any]]


async def orders_in_doubt(session: AsyncSession, account_id: str) -> Listed:
    """Orders that were written and never acknowledged, with the id to ask the exchange for, oldest first."""
    statement = (
        select(Order)
        .where(
            Order.account_id == account_id,
            Order.origin == OrderOrigin.ENGINE,
            Order.status == OrderStatus.PENDING_NEW,
        )
        .order_by(Order.created_at, Order.id)
    )
    return [
        {
            "order": str(order.id),
            "client_order_id": order.client_order_id,
            "exchange": order.exchange,
            "trading_pair": order.trading_pair,
            "side": order.side.value,
            "quantity": None if order.quantity is None else f"{canonical(order.quantity):f}",
            "written_at": order.created_at.isoformat(),
        }
        for order in await session.scalars(statement)
    ]


async def unprotected_positions(session: AsyncSession, account_id: str) -> Listed:
    """Open positions that working stop orders cover not at all, or in part only."""
    closes = case((Position.side == PositionSide.LONG, Side.SELL.value), else_=Side.BUY.value)
    covered = (
        select(func.coalesce(func.sum(Order.remaining_quantity), ZERO).label("quantity"))
        .where(
            Order.account_id == Position.account_id,
            Order.exchange == Position.exchange,
            Order.trading_pair == Position.trading_pair,
            Order.strategy_id.is_not_distinct_from(Position.strategy_id),
            Order.side == closes,
            Order.status.in_(WORKING_ORDER_STATUSES),
            Order.order_type.in_(PROTECTIVE),
        )
        .lateral()
    )
    statement = (
        select(
            Position.id,
            Position.strategy_id,
            Position.exchange,
            Position.trading_pair,
            Position.side,
            Position.quantity,
            covered.c.quantity.label("covered"),
        )
        .select_from(Position)
        .join(covered, covered.c.quantity < Position.quantity)
        .where(Position.account_id == account_id, Position.closed_at.is_(None))
        .order_by(Position.id)
    )
    return [
        {
            "position": str(row.id),
            "strategy_id": row.strategy_id,
            "exchange": row.exchange,
            "trading_pair": row.trading_pair,
            "side": row.side.value,
            "quantity": f"{canonical(row.quantity):f}",
            "protected": f"{canonical(row.covered):f}",
        }
        for row in await session.execute(statement)
    ]


async def unmatched_fills(session: AsyncSession, account_id: str) -> Listed:
    """Fills whose order is not known, or that could not be applied to it, oldest first."""
    statement = (
        select(UnmatchedFill)
        .where(UnmatchedFill.account_id == account_id)
        .order_by(UnmatchedFill.received_at, UnmatchedFill.id)
    )
    return [
        {
            "unmatched_fill": str(fill.id),
            "exchange": fill.exchange,
            "trading_pair": fill.trading_pair,
            "exchange_order_id": fill.exchange_order_id,
            "client_order_id": fill.client_order_id,
            "fill_id": fill.fill_id,
            "problem": fill.problem,
            "received_at": fill.received_at.isoformat(),
        }
        for fill in await session.scalars(statement)
    ]
