"""One position: rebuilt from its fills and adjustments, and compared with what is stored of it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from gal_friday.dal.models import CashFlow, Fill, Position
from gal_friday.state.books import PositionBook
from gal_friday.state.differences import Difference, differences_of, unaccounted
from gal_friday.state.ledger import MARKET_COLUMNS, Entry, FillEntry
from gal_friday.state.trade_check import TradeCheck

POSITION_COLUMNS = (
    *("side", "quantity", "cost", "entry_price", "realized_pnl", "total_commission"),
    *("opened_at", "closed_at"),
)


class PositionCheck:
    """Takes the entries of a position in the order they were applied, then says what is stored differently.

    *position* has the columns of `Position`. Without *trades* its trades are not looked at.
    """

    def __init__(self, position: Any, trades: TradeCheck | None = None) -> None:
        self.book = PositionBook()
        self._position = position
        self._trades = trades
        self._found: list[Difference] = []
        self._first: FillEntry | None = None
        self._applied_seq = 0

    def take(self, entry: Entry) -> Decimal | None:
        """Book *entry* and compare what is stored of it; gives back what a fill realised."""
        if entry.applied_seq != self._applied_seq + 1:
            self._note(entry, "applied_seq", entry.applied_seq, self._applied_seq + 1)
        self._applied_seq = entry.applied_seq
        if not isinstance(entry, FillEntry):
            self.book.adjust(entry.amount)
        elif entry.net_quantity is None:
            self._note(entry, "net_quantity", None, "was known when it was applied")
        else:
            return self._take_fill(entry)
        return None

    def differences(self) -> Iterator[Difference]:
        """All that differs, once every entry was taken."""
        position, table, books = self._position, Position.__tablename__, self.book.trades
        if self._applied_seq:
            yield from self._found
            yield from differences_of(table, position.id, POSITION_COLUMNS, position, self.book)
            # A number that is missing is named where it is missing, not here again.
            if position.last_applied_seq != (last := self._applied_seq):
                yield Difference(table, str(position.id), "last_applied_seq", position.last_applied_seq, last)
        else:
            yield unaccounted(table, position.id, f"{position.side} {position.quantity:f}")
        if self._trades is not None:
            yield from self._trades.differences(books, position.id)
        if self._first is not None:
            columns = (*MARKET_COLUMNS, "strategy_id")
            yield from differences_of(table, position.id, columns, position, self._first)
            if self._trades is not None:
                yield from self._trades.differences_from(self._first)

    def _take_fill(self, fill: FillEntry) -> Decimal | None:
        trades_before = len(self.book.trades)
        gain = self.book.apply(fill)
        if fill.realized_pnl != gain:
            self._note(fill, "realized_pnl", fill.realized_pnl, gain)
        if self._first is None:
            self._first = fill
        else:
            self._found += differences_of(Fill.__tablename__, fill.id, MARKET_COLUMNS, fill, self._first)
        if self._trades is not None:
            # A flip is of the trade it ends.
            number = trades_before if gain is not None else len(self.book.trades)
            self._trades.match(fill, number - 1 if fill.net_quantity else None)
        return gain

    def _note(self, entry: Entry, column: str, stored: object, rebuilt: object) -> None:
        table = (Fill if isinstance(entry, FillEntry) else CashFlow).__tablename__
        self._found.append(Difference(table, str(entry.id), column, stored, rebuilt))
