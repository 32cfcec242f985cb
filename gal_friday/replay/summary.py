"""What a run has stored: rows by table, and what it is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import ColumnElement, Table, and_, func, select

from gal_friday.dal.models import Base, Position, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.replay.run import Run

_CANDLE_KEY = ("exchange", "trading_pair", "timeframe")


@dataclass(frozen=True, slots=True)
class Summary:
    """Rows of the run in each table that has some; *equity* of closed trades, in *currency*."""

    rows: Mapping[str, int]
    equity: Decimal
    currency: str
    trades: int
    winning_trades: int


async def summary_of(uow: UnitOfWork, run: Run) -> Summary:
    """Read from the database what *run* has stored. Raises NotFound for a run that was never begun."""
    rows = {}
    for table in Base.metadata.tables.values():
        belongs = _belongs(table, run)
        if belongs is not None:
            statement = select(func.count()).select_from(table).where(belongs)
            if count := (await uow.session.scalars(statement)).one():
                rows[table.name] = count
    strategy: Strategy = await uow.strategies.one(run.name)
    portfolio = await uow.portfolio_states.one((run.name, run.quote))
    return Summary(rows, portfolio.closed_equity, run.quote, strategy.total_trades, strategy.winning_trades)


def _belongs(table: Table, run: Run) -> ColumnElement[bool] | None:
    columns = table.columns
    if "account_id" in columns:
        return columns["account_id"] == run.name
    if "strategy_id" in columns:
        return columns["strategy_id"] == run.name
    if set(_CANDLE_KEY) <= set(columns.keys()):
        return and_(*(columns[name] == getattr(run, name) for name in _CANDLE_KEY))
    if "position_id" in columns:
        return columns["position_id"].in_(select(Position.id).where(Position.account_id == run.name))
    return None
