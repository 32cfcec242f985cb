"""Positions with their trades and entries, read side by side from sorted streams."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, Row, Select, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import QueryableAttribute

from gal_friday.dal.models import ArchivedTrade, CashFlow, Fill, Position, Trade
from gal_friday.state.ledger import MARKET_COLUMNS, Entry, adjustments, fills_applied, merged, stream
from gal_friday.state.position_check import POSITION_COLUMNS
from gal_friday.state.trade_check import TRADE_COLUMNS

T = TypeVar("T")


class PositionLedger:
    """All positions of an account, or of all accounts, in the order of their ids.

    Its streams stay open between `async with` and the end of the block; a position's trades and entries are
    asked for while it is the current one.
    """

    def __init__(self, session: AsyncSession, account_id: str | None) -> None:
        self._session = session
        self._account_id = account_id
        self._streams = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.positions = await self._open(stream(self._session, self._positions()))
        self._trades = _ByPosition(await self._open(stream(self._session, self._all_trades())))
        of_fills, of_cash_flows = self._within(Fill.position_id), self._within(CashFlow.position_id)
        self._fills = _ByPosition(await self._open(fills_applied(self._session, *of_fills)))
        self._adjustments = _ByPosition(await self._open(adjustments(self._session, *of_cash_flows)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._streams.aclose()

    async def trades_of(self, position_id: UUID) -> list[Row[*tuple[Any, ...]]]:
        """Stored trades of the position, archived ones too, oldest row first."""
        return [trade async for trade in self._trades.of(position_id)]

    def entries_of(self, position_id: UUID) -> AsyncGenerator[Entry]:
        """Applied fills and adjustments of the position in the order of their numbers."""
        return merged(self._fills.of(position_id), self._adjustments.of(position_id))

    async def _open(self, rows: AsyncGenerator[T]) -> AsyncGenerator[T]:
        return await self._streams.enter_async_context(aclosing(rows))

    def _within(self, column: QueryableAttribute[Any]) -> list[ColumnElement[bool]]:
        """By the position's account: a row that says another one than its position is found as different."""
        if self._account_id is None:
            return []
        return [column.in_(select(Position.id).where(Position.account_id == self._account_id))]

    def _positions(self) -> Select[*tuple[Any, ...]]:
        names = ("id", "last_applied_seq", "strategy_id", *MARKET_COLUMNS, *POSITION_COLUMNS)
        statement = select(*(getattr(Position, name) for name in names))
        return statement.where(*self._within(Position.id)).order_by(Position.id)

    def _all_trades(self) -> CompoundSelect[*tuple[Any, ...]]:
        names = ("id", "position_id", "strategy_id", *MARKET_COLUMNS, *TRADE_COLUMNS)
        tables = [
            select(
                literal(model.__tablename__).label("table"), *(getattr(model, name) for name in names)
            ).where(model.position_id.is_not(None), *self._within(model.position_id))
            for model in (Trade, ArchivedTrade)
        ]
        return union_all(*tables).order_by("position_id", "id")


class _OfPosition(Protocol):
    @property
    def position_id(self) -> UUID: ...


R = TypeVar("R", bound=_OfPosition)


class _ByPosition(Generic[R]):
    """A stream sorted by position, given out one position at a time, asked for in the same order."""

    def __init__(self, rows: AsyncIterator[R]) -> None:
        self._rows = rows
        self._ahead: R | None = None

    async def of(self, position_id: UUID) -> AsyncIterator[R]:
        """The rows of *position_id*; those of positions before it are passed over."""
        while True:
            row = self._ahead or await anext(self._rows, None)
            self._ahead = None
            if row is None:
                return
            if row.position_id > position_id:
                self._ahead = row
                return
            if row.position_id == position_id:
                yield row
