"""One position: rebuilt from its fills and adjustments, and compared with what is stored of it."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from gal_friday.dal.models import CashFlow, Fill, Position, Trade
from gal_friday.state.books import PositionBook, TradeBook
from gal_friday.state.differences import ROW, Difference, differences_of, unaccounted
from gal_friday.state.ledger import Entry, FillEntry

#: What a position, its trades and its fills agree in.
MARKET_COLUMNS = ("account_id", "exchange", "trading_pair", "quote_currency")

POSITION_COLUMNS = (
    *(
        "side",
        "quantity",
        "cost",
        "entry_price",
        "realized_pnl",
        "total_commission",
        "opened_at",
        "closed_at",
    ),
)
TRADE_COLUMNS = (
    *("side", "status", "entry_timestamp", "exit_timestamp", "quantity", "filled_quantity"),
    *("entry_value", "exit_value", "average_entry_price", "average_exit_price"),
    *("total_commission", "realized_pnl", "realized_pnl_pct"),
)


class PositionCheck:
    """Takes the entries of a position in the order they were applied, then says what is stored differently.

    *position* and *trades* have the columns of `Position` and `Trade`; a trade also says its `table`. Trades
    come in the order they were stored in.
    """

    def __init__(self, position: Any, trades: Sequence[Any] = ()) -> None:
        self.book = PositionBook()
        self.position = position
        self._trades = {trade.id: trade for trade in trades}
        self._found: list[Difference] = []
        self._first: FillEntry | None = None
        self._applied_seq = 0
        # Which stored trade each of the book's is, and the fills that came before that was known.
        self._matched: dict[int, UUID] = {}
        self._unmatched: list[tuple[FillEntry, int | None]] = []

    def take(self, entry: Entry) -> Decimal | None:
        """Book *entry* and compare what is stored with it; gives back what a fill realised."""
        if entry.applied_seq != self._applied_seq + 1:
            self._note(_table_of(entry), entry.id, "applied_seq", entry.applied_seq, self._applied_seq + 1)
        self._applied_seq = entry.applied_seq
        if not isinstance(entry, FillEntry):
            self.book.adjust(entry.amount)
        elif entry.net_quantity is None:
            self._note("fills", entry.id, "net_quantity", None, "was known when it was applied")
        else:
            return self._take_fill(entry)
        return None

    def differences(self) -> Iterator[Difference]:
        """All that differs, once every entry was taken."""
        position, table = self.position, Position.__tablename__
        if not self._applied_seq:
            yield unaccounted(table, position.id, f"{position.side} {position.trading_pair}")
            for trade in self._trades.values():
                yield _unaccounted_trade(trade)
            return
        yield from self._found
        yield from differences_of(table, position.id, POSITION_COLUMNS, position, self.book)
        if position.last_applied_seq != self._applied_seq:
            yield Difference(
                table, str(position.id), "last_applied_seq", position.last_applied_seq, self._applied_seq
            )
        if self._first is not None:
            yield from differences_of(
                table, position.id, (*MARKET_COLUMNS, "strategy_id"), position, self._first
            )
        yield from self._differences_of_trades()

    def _take_fill(self, fill: FillEntry) -> Decimal | None:
        trades_before = len(self.book.trades)
        gain = self.book.apply(fill)
        if fill.realized_pnl != gain:
            self._note("fills", fill.id, "realized_pnl", fill.realized_pnl, gain)
        if self._first is None:
            self._first = fill
        else:
            self._found += differences_of("fills", fill.id, MARKET_COLUMNS, fill, self._first)
        # A flip belongs to the trade it ends.
        number = trades_before if gain is not None else len(self.book.trades)
        self._match(fill, number - 1 if fill.net_quantity else None)
        return gain

    def _match(self, fill: FillEntry, number: int | None) -> None:
        """Trades are known by what the first of their fills says, as their times may be any."""
        if number is None or (number not in self._matched and not self._is_free(fill.trade_id)):
            self._unmatched.append((fill, number))
        elif number not in self._matched:
            assert fill.trade_id is not None
            self._matched[number] = fill.trade_id
        elif fill.trade_id != self._matched[number]:
            self._note("fills", fill.id, "trade_id", fill.trade_id, self._matched[number])

    def _is_free(self, trade_id: UUID | None) -> bool:
        return trade_id in self._trades and trade_id not in self._matched.values()

    def _differences_of_trades(self) -> Iterator[Difference]:
        free = [trade for trade in self._trades if self._is_free(trade)]
        for number, book in enumerate(self.book.trades):
            if number not in self._matched and free:
                self._matched[number] = free.pop(0)
            if number in self._matched:
                yield from self._differences_of_trade(self._trades[self._matched[number]], book)
            else:
                yield _missing_trade(self.position, number, book)
        for trade_id in free:
            yield _unaccounted_trade(self._trades[trade_id])
        for fill, place in self._unmatched:
            trade_id = None if place is None else self._matched.get(place)
            if fill.trade_id != trade_id:
                yield Difference("fills", str(fill.id), "trade_id", fill.trade_id, trade_id)

    def _differences_of_trade(self, trade: Any, book: TradeBook) -> Iterator[Difference]:
        yield from differences_of(trade.table, trade.id, TRADE_COLUMNS, trade, book)
        yield from differences_of(trade.table, trade.id, (*MARKET_COLUMNS, "strategy_id"), trade, self._first)

    def _note(self, table: str, key: UUID, column: str, stored: object, rebuilt: object) -> None:
        self._found.append(Difference(table, str(key), column, stored, rebuilt))


def _table_of(entry: Entry) -> str:
    return Fill.__tablename__ if isinstance(entry, FillEntry) else CashFlow.__tablename__


def _unaccounted_trade(trade: Any) -> Difference:
    return unaccounted(trade.table, trade.id, f"{trade.side} {trade.trading_pair}")


def _missing_trade(position: Any, number: int, book: TradeBook) -> Difference:
    key = f"trade {number + 1} of position {position.id}"
    return Difference(Trade.__tablename__, key, ROW, None, f"{book.side} {position.trading_pair}")
