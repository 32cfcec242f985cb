"""The trades of one position: which stored one is which rebuilt one, and how they differ."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from gal_friday.dal.models import Fill, Trade
from gal_friday.state.books import TradeBook
from gal_friday.state.differences import ROW, Difference, differences_of, unaccounted
from gal_friday.state.ledger import MARKET_COLUMNS, FillEntry

TRADE_COLUMNS = (
    *("side", "status", "entry_timestamp", "exit_timestamp", "quantity", "filled_quantity"),
    *("entry_value", "exit_value", "average_entry_price", "average_exit_price"),
    *("total_commission", "realized_pnl", "realized_pnl_pct"),
)


class TradeCheck:
    """Learns from a position's fills which stored trade each of its trades is.

    *trades* have the columns of `Trade` or `ArchivedTrade` and say which by their `table`; they come in the
    order they were stored in. Their times would not tell them apart: a fill may be of any time.
    """

    def __init__(self, trades: Sequence[Any]) -> None:
        self._free = {trade.id: trade for trade in trades}
        self._matched: dict[int, Any] = {}
        self._open: list[tuple[FillEntry, int | None]] = []
        self._found: list[Difference] = []

    def match(self, fill: FillEntry, number: int | None) -> None:
        """*fill* is of the position's trade *number*, counted from 0; of none for None."""
        if number is not None and number not in self._matched and fill.trade_id in self._free:
            self._matched[number] = self._free.pop(fill.trade_id)
        elif number is None or number not in self._matched:
            self._open.append((fill, number))
        elif fill.trade_id != self._matched[number].id:
            self._found.append(_of_another(fill, self._matched[number].id))

    def differences(self, books: Sequence[TradeBook], position_id: UUID) -> Iterator[Difference]:
        """Where stored trades differ from *books*, and fills are said to be of another trade."""
        yield from self._found
        for number, book in enumerate(books):
            if number not in self._matched and self._free:
                self._matched[number] = self._free.pop(next(iter(self._free)))
            if number in self._matched:
                trade = self._matched[number]
                yield from differences_of(trade.table, trade.id, TRADE_COLUMNS, trade, book)
            else:
                key = f"trade {number + 1} of position {position_id}"
                yield Difference(Trade.__tablename__, key, ROW, None, f"{book.side} {book.quantity:f}")
        for trade in self._free.values():
            yield unaccounted(trade.table, trade.id, f"{trade.side} {trade.quantity:f}")
        for fill, place in self._open:
            trade_id = self._matched[place].id if place in self._matched else None
            if fill.trade_id != trade_id:
                yield _of_another(fill, trade_id)

    def differences_from(self, fill: FillEntry) -> Iterator[Difference]:
        """Where trades that were matched are of another market or strategy than *fill*."""
        for trade in self._matched.values():
            columns = (*MARKET_COLUMNS, "strategy_id")
            yield from differences_of(trade.table, trade.id, columns, trade, fill)


def _of_another(fill: FillEntry, trade_id: UUID | None) -> Difference:
    return Difference(Fill.__tablename__, str(fill.id), "trade_id", fill.trade_id, trade_id)
