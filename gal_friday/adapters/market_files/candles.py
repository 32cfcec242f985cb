"""Rows of a file as candles, in the order of the file."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain, islice

from gal_friday.adapters.candle_rows import BadCell, CandleRow, point_in_time, whole_number
from gal_friday.adapters.market_files import cells
from gal_friday.adapters.market_files.content import Cells, Content, Kind, Refused, refuse
from gal_friday.adapters.market_files.lengths import told_by_rows
from gal_friday.adapters.market_files.naming import named
from gal_friday.adapters.market_files.recognition import MarketFile
from gal_friday.adapters.market_files.terms import Terms, exchange_of, of_row, pair_of, refused
from gal_friday.dal.models import Candle
from gal_friday.money import average_price_rounded
from gal_friday.timeseries.timeframes import parse

_SAMPLE_ROWS = 1_000
_TABLE = Candle.__table__.c


def read_candles(file: MarketFile, terms: Terms) -> Iterator[Candle | Refused]:
    """Each row of *file* as a candle, or as refused.

    A candle must begin no earlier than the one before it in its series ends. Raises UnreadableFile for a
    file of trades, and where exchange, pair or timeframe are not told.
    """
    path, content = file.path, file.content
    if content.kind is not Kind.CANDLES:
        refuse(path, "holds trades, not candles; gal-friday import trades takes them", format=content.format)
    name = named(path, content.kind)
    sample = list(islice(content.rows, _SAMPLE_ROWS))
    reader = _Reader(
        content,
        terms,
        exchange=exchange_of(path, content, terms),
        trading_pair=pair_of(path, content, terms, name.trading_pair),
        timeframe=terms.timeframe
        or content.timeframe
        or name.timeframe
        or (None if "timeframe" in content.columns else told_by_rows(path, content.columns, sample)),
    )
    for number, row in chain(sample, content.rows):
        try:
            yield reader.candle(row)
        except BadCell as error:
            yield refused(path, content.place, number, error)


class _Reader:
    def __init__(
        self,
        content: Content,
        terms: Terms,
        *,
        exchange: str | None,
        trading_pair: str | None,
        timeframe: str | None,
    ) -> None:
        self._columns, self._row = content.columns, cells.Row(content.columns)
        self._final_until = content.final_until
        self._terms = terms
        self._exchange, self._pair, self._timeframe = exchange, trading_pair, timeframe
        # Our own exports tell the source, also where there is none.
        self._source = None if "data_source" in content.columns else content.format.lower()
        self._moment = partial(point_in_time, naive_is_utc=terms.naive_is_utc)
        self._read_exchange = cells.text_of(_TABLE.exchange.type)
        self._read_source = cells.text_of(_TABLE.data_source.type)
        self._next: dict[tuple[str, str, str], tuple[datetime, datetime]] = {}

    def candle(self, given: Cells) -> Candle:
        """The candle of a row. Raises BadCell."""
        row = self._row
        row.take(given, self._columns)
        volume = row.get("volume", cells.number)
        values = CandleRow(
            timestamp=row.get("timestamp", self._moment),
            open=row.get("open", cells.number),
            high=row.get("high", cells.number),
            low=row.get("low", cells.number),
            close=row.get("close", cells.number),
            volume=volume,
            vwap=self._vwap(volume),
            trades_count=row.maybe("trades_count", whole_number),
        )
        series = self._series()
        self._check_order(series, values.timestamp)
        is_final = row.maybe("is_final", cells.flag)
        if is_final is None:
            is_final = self._final_until is None or values.timestamp <= self._final_until
        quality = row.maybe("data_quality_score", _quality)
        return Candle(
            exchange=series[0],
            trading_pair=series[1],
            timeframe=series[2],
            timestamp=values.timestamp,
            open=values.open,
            high=values.high,
            low=values.low,
            close=values.close,
            volume=volume,
            trades_count=values.trades_count,
            vwap=values.vwap,
            is_final=is_final,
            data_source=row.maybe("data_source", self._read_source) or self._source,
            data_quality_score=self._terms.data_quality_score if quality is None else quality,
        )

    def _series(self) -> tuple[str, str, str]:
        row, terms = self._row, self._terms
        return (
            of_row(row, "exchange", self._read_exchange, otherwise=self._exchange, wanted=terms.exchange),
            of_row(row, "trading_pair", cells.pair, otherwise=self._pair, wanted=terms.trading_pair),
            of_row(row, "timeframe", cells.timeframe, otherwise=self._timeframe, wanted=terms.timeframe),
        )

    def _vwap(self, volume: Decimal) -> Decimal | None:
        """As given; Kraken sends 0.0 where nothing was traded, Binance the sum of price times quantity."""
        if self._row.has("vwap"):
            return self._row.get("vwap", cells.number) or None
        if volume and self._row.has("quote_volume"):
            return average_price_rounded(self._row.get("quote_volume", cells.number), volume)
        return None

    def _check_order(self, series: tuple[str, str, str], begins: datetime) -> None:
        last, free = self._next.get(series, (None, begins))
        if begins < free:
            assert last is not None
            problem = (
                "the time repeats"
                if begins == last
                else "the time goes back"
                if begins < last
                else f"the candle overlaps the one before, of {series[2]}"
            )
            raise BadCell(problem, begins.isoformat())
        timeframe = parse(series[2])
        ends = timeframe.next(begins) if timeframe.duration is None else begins + timeframe.duration
        self._next[series] = (begins, ends)


def _quality(value: object) -> int:
    quality = whole_number(value)
    if quality > 100:
        raise BadCell("is not a quality from 0 to 100", value)
    return quality
