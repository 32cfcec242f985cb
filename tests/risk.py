"""Decisions as tests ask for them, and what they are made against."""

from decimal import Decimal
from typing import Any

from gal_friday.dal.models import (
    Order,
    OrderStatus,
    Position,
    PositionMark,
    PositionSide,
    RiskDecision,
    RiskScope,
    Strategy,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.services import RiskManager
from tests.factories import NOON, a_position, a_risk_limit, a_signal, an_order

RISK = RiskManager()


async def decided(
    uow: UnitOfWork,
    strategy: Strategy,
    quantity: int | str = 1,
    price: int | str = 100,
    *,
    risk: RiskManager = RISK,
    **signal: Any,
) -> RiskDecision:
    """The decision, at noon, on a new signal of *strategy* for *quantity* at *price*."""
    proposed = await uow.signals.add(a_signal(strategy, **signal))
    return await risk.decide(
        uow, proposed, requested_quantity=Decimal(quantity), reference_price=Decimal(price), at=NOON
    )


def check_of(decision: RiskDecision, name: str, scope: str = "ACCOUNT") -> dict[str, Any]:
    """What *decision* recorded of the check of this name."""
    (found,) = [each for each in decision.checks if (each["check"], each["scope"]) == (name, scope)]
    return dict(found)


async def limit(
    uow: UnitOfWork, scope: RiskScope = RiskScope.ACCOUNT, key: str = "default", **limits: Any
) -> None:
    """A row of limits; amounts as text."""
    values: dict[str, Any] = {"max_open_positions": None, "account_id": "default", **limits}
    for name, value in limits.items():
        if name.startswith("max_") and isinstance(value, str):
            values[name] = Decimal(value)
    await uow.risk_limits.add(a_risk_limit(scope=scope, key=key, **values))


async def hold(
    uow: UnitOfWork,
    strategy: Strategy | None,
    quantity: int | str,
    price: int | str = 100,
    /,
    *,
    mark: int | str | None = None,
    **overrides: Any,
) -> Position:
    """An open position; short where *quantity* is below zero."""
    units = Decimal(quantity)
    values = {
        "side": PositionSide.LONG if units > 0 else PositionSide.SHORT,
        "quantity": abs(units),
        "cost": abs(units) * Decimal(price),
        "entry_price": Decimal(price),
    }
    position = await uow.positions.add(a_position(strategy, **{**values, **overrides}))
    if mark is not None:
        seen = {"current_price": Decimal(mark), "unrealized_pnl": Decimal(0), "marked_at": NOON}
        await uow.position_marks.add(PositionMark(position_id=position.id, **seen))
    return position


async def work(
    uow: UnitOfWork, strategy: Strategy, quantity: int | str, price: int | str, /, **order: Any
) -> Order:
    """An order at the exchange, to buy unless told otherwise."""
    values = {"quantity": Decimal(quantity), "limit_price": Decimal(price), "status": OrderStatus.NEW}
    return await uow.orders.add(an_order(strategy, **{**values, **order}))
