"""Rows of a file as trades, in the order of the file."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial

from gal_friday.adapters.candle_rows import BadCell, point_in_time
from gal_friday.adapters.market_files import cells
from gal_friday.adapters.market_files.content import Cells, Content, Kind, Refused, refuse
from gal_friday.adapters.market_files.naming import named
from gal_friday.adapters.market_files.recognition import MarketFile
from gal_friday.adapters.market_files.terms import Terms, exchange_of, of_row, pair_of, refused
from gal_friday.dal.models import MarketTrade, Side
from gal_friday.money import canonical

_TABLE = MarketTrade.__table__.c


def read_trades(file: MarketFile, terms: Terms) -> Iterator[MarketTrade | Refused]:
    """Each row of *file* as a trade, or as refused; times are cut to the microsecond.

    A trade without an id gets one made of price, quantity, and how many like it the same instant has had: the
    same file gives the same ids. Raises UnreadableFile for a file of candles, and where exchange or pair are
    not told.
    """
    path, content = file.path, file.content
    if content.kind is not Kind.TRADES:
        refuse(path, "holds candles, not trades; gal-friday import candles takes them", format=content.format)
    reader = _Reader(
        content,
        terms,
        exchange=exchange_of(path, content, terms),
        trading_pair=pair_of(path, content, terms, named(path, content.kind).trading_pair),
    )
    for number, row in content.rows:
        try:
            yield reader.trade(row)
        except BadCell as error:
            yield refused(path, content.place, number, error)


class _Reader:
    def __init__(
        self, content: Content, terms: Terms, *, exchange: str | None, trading_pair: str | None
    ) -> None:
        self._columns, self._row = content.columns, cells.Row(content.columns)
        self._terms = terms
        self._exchange, self._pair = exchange, trading_pair
        self._moment = partial(point_in_time, naive_is_utc=terms.naive_is_utc, finer=True)
        self._read_exchange = cells.text_of(_TABLE.exchange.type)
        self._read_id = cells.text_of(_TABLE.trade_id.type)
        self._instants: dict[tuple[str, str], _Instant] = {}

    def trade(self, given: Cells) -> MarketTrade:
        """The trade of a row. Raises BadCell."""
        row = self._row
        row.take(given, self._columns)
        traded_at = row.get("timestamp", self._moment)
        price, quantity = row.get("price", cells.number), row.get("quantity", cells.number)
        if price <= 0:
            raise BadCell("price is not a price", price)
        if quantity < 0:
            raise BadCell("the quantity is negative", quantity)
        side = self._side()
        exchange, pair = self._series()
        instant = self._instants.get((exchange, pair))
        if instant is None or traded_at > instant.at:
            instant = self._instants[exchange, pair] = _Instant(traded_at)
        elif traded_at < instant.at:
            raise BadCell("the time goes back", traded_at.isoformat())
        return MarketTrade(
            exchange=exchange,
            trading_pair=pair,
            traded_at=traded_at,
            trade_id=instant.named(row.maybe("trade_id", self._read_id), price, quantity),
            price=price,
            quantity=quantity,
            side=side,
        )

    def _side(self) -> Side | None:
        if self._row.has("buyer_is_maker"):  # then it is the seller who took
            return Side.SELL if self._row.get("buyer_is_maker", cells.flag) else Side.BUY
        return self._row.maybe("side", cells.side)

    def _series(self) -> tuple[str, str]:
        row, terms = self._row, self._terms
        return (
            of_row(row, "exchange", self._read_exchange, otherwise=self._exchange, wanted=terms.exchange),
            of_row(row, "trading_pair", cells.pair, otherwise=self._pair, wanted=terms.trading_pair),
        )


class _Instant:
    """The trades of one series at its latest time; none before can come any more."""

    __slots__ = ("_alike", "_ids", "at")

    def __init__(self, at: datetime) -> None:
        self.at = at
        self._ids: set[str] = set()
        self._alike: Counter[str] = Counter()

    def named(self, trade_id: str | None, price: Decimal, quantity: Decimal) -> str:
        """The id of a trade at this time. Raises BadCell for one that was here before."""
        if trade_id is None:
            alike = f"{canonical(price):f}x{canonical(quantity):f}"
            self._alike[alike] += 1
            return f"{alike}#{self._alike[alike]}"
        if trade_id in self._ids:
            raise BadCell("the trade repeats", trade_id)
        self._ids.add(trade_id)
        return trade_id
