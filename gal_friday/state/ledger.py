"""What the books are made of, read in the order they are made in: fills, and adjustments between them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.models import CashFlow, Fill, Order, Side

_ROWS_AT_A_TIME = 1_000


#: What a position, its trades and its fills agree in.
MARKET_COLUMNS = ("account_id", "exchange", "trading_pair", "quote_currency")


class FillEntry(NamedTuple):
    """An applied fill; columns as those of `Fill`, and the strategy of its order."""

    position_id: UUID
    applied_seq: int
    id: UUID
    account_id: str
    exchange: str
    trading_pair: str
    quote_currency: str
    strategy_id: str | None
    side: Side
    net_quantity: Decimal | None
    fill_price: Decimal
    contract_multiplier: Decimal
    commission: Decimal
    commission_asset: str
    commission_quote: Decimal | None
    realized_pnl: Decimal | None
    trade_id: UUID | None
    filled_at: datetime


class AdjustmentEntry(NamedTuple):
    """A numbered adjustment; columns as those of `CashFlow`."""

    position_id: UUID
    applied_seq: int
    id: UUID
    amount: Decimal


Entry = FillEntry | AdjustmentEntry

_FILLS = select(
    *(Order.strategy_id if name == "strategy_id" else getattr(Fill, name) for name in FillEntry._fields)
).join(Order, Order.id == Fill.order_id)
_ADJUSTMENTS = select(*(getattr(CashFlow, name) for name in AdjustmentEntry._fields))


async def stream(
    session: AsyncSession, statement: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]
) -> AsyncGenerator[Row[*tuple[Any, ...]]]:
    """The rows of *statement*, fetched by the thousand: memory stays flat."""
    result = await session.stream(statement.execution_options(yield_per=_ROWS_AT_A_TIME))
    try:
        async for rows in result.partitions():
            for row in rows:
                yield row
    finally:
        await result.close()


async def fills_applied(session: AsyncSession, *criteria: ColumnElement[bool]) -> AsyncGenerator[FillEntry]:
    """Applied fills that meet *criteria*, by position, in the order they were applied."""
    statement = _FILLS.where(Fill.position_id.is_not(None), Fill.applied_seq.is_not(None), *criteria)
    async with aclosing(stream(session, statement.order_by(Fill.position_id, Fill.applied_seq))) as rows:
        async for row in rows:
            yield FillEntry._make(row)


async def fills_in_venue_order(session: AsyncSession, position_id: UUID) -> AsyncGenerator[FillEntry]:
    """The applied fills of a position in the order they happened in, by the exchange's clock.

    Those of one instant are in the order they were applied.
    """
    statement = _FILLS.where(Fill.position_id == position_id, Fill.applied_seq.is_not(None))
    async with aclosing(stream(session, statement.order_by(Fill.filled_at, Fill.applied_seq))) as rows:
        async for row in rows:
            yield FillEntry._make(row)


async def adjustments(
    session: AsyncSession, *criteria: ColumnElement[bool]
) -> AsyncGenerator[AdjustmentEntry]:
    """Numbered adjustments that meet *criteria*, by position, in the order of their numbers."""
    statement = _ADJUSTMENTS.where(CashFlow.applied_seq.is_not(None), *criteria)
    ordered = statement.order_by(CashFlow.position_id, CashFlow.applied_seq)
    async with aclosing(stream(session, ordered)) as rows:
        async for row in rows:
            yield AdjustmentEntry._make(row)


async def merged(
    fills: AsyncIterator[FillEntry], corrections: AsyncIterator[AdjustmentEntry]
) -> AsyncGenerator[Entry]:
    """The entries of one position in the order of their numbers."""
    correction = await anext(corrections, None)
    async for fill in fills:
        while correction is not None and correction.applied_seq < fill.applied_seq:
            yield correction
            correction = await anext(corrections, None)
        yield fill
    while correction is not None:
        yield correction
        correction = await anext(corrections, None)
