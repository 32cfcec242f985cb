"""Rows that point nowhere, and rows that no fill leads to: what foreign keys do not forbid."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import QueryableAttribute, aliased

from gal_friday.dal.criteria import given
from gal_friday.dal.models import (
    ArchivedTrade,
    Fill,
    Order,
    PortfolioPosition,
    Position,
    Signal,
    SignalLog,
    Trade,
)
from gal_friday.dal.repositories.audit_repository import row_key
from gal_friday.state.differences import Difference, unaccounted
from gal_friday.state.ledger import stream


@dataclass(frozen=True, slots=True)
class _Link:
    """A column that is no foreign key but is to be one of the rows that *targets* find."""

    column: QueryableAttribute[Any]
    targets: tuple[ColumnElement[bool], ...]


def _links() -> Iterator[_Link]:
    # A foreign key holds this one, unless it was deleted behind its back.
    yield _Link(Fill.position_id, (exists().where(Position.id == Fill.position_id),))
    yield _Link(Order.position_id, (exists().where(Position.id == Order.position_id),))
    yield _Link(
        Order.trade_id,
        (exists().where(Trade.id == Order.trade_id), exists().where(ArchivedTrade.id == Order.trade_id)),
    )
    yield _Link(SignalLog.signal_id, (exists().where(Signal.id == SignalLog.signal_id),))
    earlier = aliased(PortfolioPosition)
    rolled_from = and_(
        earlier.account_id == PortfolioPosition.account_id,
        earlier.position_id == PortfolioPosition.rolled_from_position_id,
    )
    yield _Link(PortfolioPosition.rolled_from_position_id, (exists().where(rolled_from),))


async def dead_links(session: AsyncSession, account_id: str | None) -> AsyncIterator[Difference]:
    """Soft links between rows of the trading state that lead nowhere.

    Those of fills to trades are compared with what was rebuilt instead. Links to what is pruned by age, or
    may never be stored (predictions, processes, orders that risk decisions were asked about), are left out.
    """
    for link in _links():
        table = link.column.class_.__table__
        statement = (
            select(*table.primary_key.columns, link.column.label("link"))
            .where(
                link.column.is_not(None),
                ~or_(*link.targets),
                *given((link.column.class_.account_id, account_id)),
            )
            .order_by(*table.primary_key.columns)
        )
        async with aclosing(stream(session, statement)) as rows:
            async for *key, stored in rows:
                name = row_key(key) if len(key) > 1 else row_key(key[0])
                yield Difference(table.name, name, link.column.key, stored, None)


async def unapplied_fills(session: AsyncSession, account_id: str | None) -> AsyncIterator[Difference]:
    """Fills that are stored and have had no effect: they have no position, or no number in it."""
    statement = (
        select(Fill.id, Fill.position_id, Fill.applied_seq)
        .where(
            or_(Fill.position_id.is_(None), Fill.applied_seq.is_(None)), *given((Fill.account_id, account_id))
        )
        .order_by(Fill.id)
    )
    async with aclosing(stream(session, statement)) as fills:
        async for fill in fills:
            for column in ("position_id", "applied_seq"):
                if getattr(fill, column) is None:
                    yield Difference(Fill.__tablename__, str(fill.id), column, None, "never applied")


async def trades_without_position(session: AsyncSession, account_id: str | None) -> AsyncIterator[Difference]:
    """Trades that were entered by hand."""
    for model in (Trade, ArchivedTrade):
        statement = select(model.id, model.side, model.trading_pair).where(
            model.position_id.is_(None), *given((model.account_id, account_id))
        )
        async with aclosing(stream(session, statement)) as trades:
            async for trade in trades:
                yield unaccounted(model.__tablename__, trade.id, f"{trade.side} {trade.trading_pair}")
