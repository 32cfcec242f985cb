"""Orders as stored, reports of their fills, and what became of the books."""

from decimal import Decimal
from typing import Any

from sqlalchemy import text

from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, Fill, Order, Position, Strategy, Trade, new_id
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from tests.factories import NOON, a_strategy, an_order

#: Deferred triggers are called here and not at the commit.
NOW = text("SET CONSTRAINTS ALL IMMEDIATE")
LATER = text("SET CONSTRAINTS ALL DEFERRED")


def a_report(order: Order, **overrides: Any) -> Fill:
    """An execution of one unit at 100, free of charge, as the exchange tells it of *order*."""
    values = {
        "account_id": order.account_id,
        "order_id": order.id,
        "fill_id": new_id().hex,
        "exchange": order.exchange,
        "trading_pair": order.trading_pair,
        "side": order.side,
        "quantity_filled": Decimal(1),
        "fill_price": Decimal(100),
        "filled_at": NOON,
    }
    given = {**values, **overrides}
    return Fill(**{name: value for name, value in given.items() if value is not None})


async def a_stored_order(
    uow: UnitOfWork | Database, strategy: Strategy | None = None, **values: Any
) -> Order:
    """An order of *strategy*, or of a new one."""
    strategy = strategy or await uow.strategies.add(a_strategy())
    order: Order = await uow.orders.add(an_order(strategy, **values))
    return order


async def applied(uow: UnitOfWork, fill: Fill) -> FillOutcome:
    outcome = await uow.execution.apply_fill(fill)
    assert outcome.result is FillResult.APPLIED, outcome
    return outcome


async def stored_fill(uow: UnitOfWork, outcome: FillOutcome) -> Fill:
    return await uow.fills.one(outcome.fill)


async def position_of(uow: UnitOfWork, order: Order) -> Position:
    """The one position *order* worked on."""
    (position,) = await uow.positions.find_all(Position.strategy_id == order.strategy_id)
    return position


async def trades_of(uow: UnitOfWork, position: Position) -> list[Trade]:
    """Its trades, in the order they were begun."""
    return list(await uow.trades.find_all(Trade.position_id == position.id, order_by=Trade.id))


async def equity(uow: UnitOfWork | Database, account_id: str = DEFAULT_ACCOUNT_ID) -> dict[str, Decimal]:
    """Closed equity by currency."""
    states = await uow.portfolio_states.of_account(account_id)
    return {state.currency: state.closed_equity for state in states}


def columns(entity: object, *names: str) -> tuple[Any, ...]:
    """What *entity* has in these, to be compared with plain numbers and text."""
    return tuple(getattr(entity, name) for name in names)
