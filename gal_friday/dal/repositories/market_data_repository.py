"""Candles."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.dialects.postgresql import Insert

from gal_friday.dal.base import BaseRepository, UpsertCounts, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.timeseries import Candle
from gal_friday.dal.repositories.candle_statements import (
    Series,
    aggregated,
    coverage_of,
    gap_edges,
    stored_among,
)
from gal_friday.errors import InvalidFilter
from gal_friday.timeseries.bars import (
    Bar,
    Bars,
    Coverage,
    Filling,
    Gap,
    best_of,
    candles_between,
    ceiling,
    filled,
    gaps_between,
)
from gal_friday.timeseries.timeframes import Timeframe, parse

#: Timeframes exchanges publish; bars are made of these.
USUAL_TIMEFRAMES = (
    *("1s", "5s", "10s", "15s", "30s"),
    *("1m", "2m", "3m", "5m", "10m", "15m", "30m", "45m"),
    *("1h", "2h", "3h", "4h", "6h", "8h", "12h"),
    *("1d", "2d", "3d", "1w", "2w", "1M", "3M", "6M"),
)
_BEST = 100

# The whole candle: a column not given goes back to its default, and so a candle to final.
_REPLACED = (
    Candle.open,
    Candle.high,
    Candle.low,
    Candle.close,
    Candle.volume,
    Candle.trades_count,
    Candle.vwap,
    Candle.is_final,
    Candle.data_source,
    Candle.data_quality_score,
)


class MarketDataRepository(BaseRepository[Candle]):
    model = Candle

    async def store_candles(self, candles: Iterable[Candle]) -> UpsertCounts:
        """Store candles, or bring those already there up to date.

        A candle that still changes (`is_final` off) is replaced by any other; a final one only by a final one
        of the same or a better `data_quality_score`. What is not replaced counts as unchanged. Of candles
        with the same key in one call the best one counts, of equally good ones the last.
        """
        worst_first = sorted(candles, key=_goodness)
        return await self._upsert_many(worst_first, update=_REPLACED, may_replace=_may_replace)

    @one_statement
    async def get_historical_data(
        self,
        exchange: str,
        trading_pair: str,
        timeframe: str,
        start: datetime,
        end: datetime,
        *,
        limit: int | None = None,
    ) -> Sequence[Candle]:
        """Candles that begin from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            Candle.exchange == exchange,
            Candle.trading_pair == trading_pair,
            Candle.timeframe == timeframe,
            *within(Candle.timestamp, start, end),
            order_by=Candle.timestamp,
            limit=limit,
        )

    @one_statement
    async def get_latest_candles(
        self, exchange: str, trading_pair: str, timeframe: str, *, limit: int = 100
    ) -> Sequence[Candle]:
        """The last *limit* candles, oldest first."""
        newest_first = await self.find_all(
            Candle.exchange == exchange,
            Candle.trading_pair == trading_pair,
            Candle.timeframe == timeframe,
            order_by=Candle.timestamp.desc(),
            limit=limit,
        )
        return newest_first[::-1]

    async def query_ohlcv(
        self,
        exchange: str,
        trading_pair: str,
        timeframe: str,
        start: datetime,
        end: datetime,
        *,
        fill: Filling | None = None,
    ) -> Bars:
        """Bars that begin from *start* up to, not including, *end*, whichever timeframe was stored.

        Where a candle of *timeframe* is missing, or still changes, the server makes one of those of a shorter
        timeframe: open of the first, close of the last, highest high, lowest low, sums of volume and trades,
        vwap weighted by volume. Of several timeframes the longest is taken that makes the bar complete, else
        the one that covers most of it. A bar of which something is missing is not `is_complete`; of what no
        candle is stored at all, `gaps` tells. With *fill* "previous_close" a gap behind a bar is filled with
        bars in which nothing was traded; it is told in `gaps` all the same.

        Buckets are those of UTC (weeks from Monday on); a candle that begins off them belongs to none: see
        `get_historical_data`. Raises InvalidValue for no timeframe and naive times, InvalidFilter for an
        unknown *fill*.
        """
        if fill not in (None, "previous_close"):
            raise InvalidFilter("fill gaps with previous_close, or not at all", fill=fill)
        asked = parse(timeframe)
        begin, until = ceiling(asked, start), ceiling(asked, end)
        series = (exchange, trading_pair)
        found = best_of({}, await self._bars(series, asked, asked, begin, until))
        if lacking := _lacking(asked, found, begin, until):
            for finer in await self._finer(series, asked, *lacking):
                found = best_of(found, await self._bars(series, asked, finer, *lacking))
                if not _lacking(asked, found, *lacking):
                    break
        bars = [found[when] for when in sorted(found)]
        gaps = list(gaps_between(asked, sorted(found), begin, until))
        if fill is not None:
            bars = list(filled(asked, bars, until))
        return Bars(exchange, trading_pair, timeframe, begin, until, bars, gaps)

    async def gaps(
        self, exchange: str, trading_pair: str, timeframe: str, start: datetime, end: datetime
    ) -> Sequence[Gap]:
        """Where from *start* up to *end* no candle of *timeframe* is stored, oldest first.

        Raises InvalidValue for no timeframe and naive times.
        """
        asked = parse(timeframe)
        begin, until = ceiling(asked, start), ceiling(asked, end)
        edges = await self._session.execute(gap_edges((exchange, trading_pair), asked, begin, until))
        gaps: list[Gap] = []
        expected = begin
        for edge in edges:
            free = expected if edge.previous is None else asked.next(edge.previous)
            gaps += gaps_between(asked, [], free, edge.timestamp)
            expected = asked.next(edge.timestamp)
        return [*gaps, *gaps_between(asked, [], expected, until)]

    async def coverage(
        self, *, exchange: str | None = None, trading_pair: str | None = None, timeframe: str | None = None
    ) -> Sequence[Coverage]:
        """What is stored of each series: span, candles, and how many are missing between first and last.

        Counts every candle, so never for a page.
        """
        criteria = given(
            (Candle.exchange, exchange), (Candle.trading_pair, trading_pair), (Candle.timeframe, timeframe)
        )
        rows = await self._session.execute(coverage_of(*criteria))
        return [_coverage(row) for row in rows]

    async def _finer(
        self, series: Series, asked: Timeframe, begin: datetime, until: datetime
    ) -> Sequence[Timeframe]:
        """Timeframes stored in the span that bars of *asked* can be made of, the longest first."""
        usual = (parse(name) for name in USUAL_TIMEFRAMES)
        fitting = [each for each in usual if each != asked and asked.is_multiple_of(each)]
        stored = await self._session.scalars(stored_among(series, fitting, begin, until))
        return sorted(map(parse, stored), key=lambda each: candles_between(each, begin, until))

    async def _bars(
        self, series: Series, asked: Timeframe, source: Timeframe, begin: datetime, until: datetime
    ) -> Sequence[Bar]:
        rows = await self._session.execute(aggregated(series, asked, source, begin, until))
        return [_bar(asked, source, row) for row in rows]


def _lacking(
    asked: Timeframe, found: Mapping[datetime, Bar], begin: datetime, until: datetime
) -> tuple[datetime, datetime] | None:
    """The shortest span that has all bars in it that are missing or incomplete; None where none is."""
    spans = [(gap.start, gap.end) for gap in gaps_between(asked, sorted(found), begin, until)]
    spans += [(when, asked.next(when)) for when, bar in found.items() if not bar.is_complete]
    return (min(spans)[0], max(end for _, end in spans)) if spans else None


def _bar(asked: Timeframe, source: Timeframe, row: Any) -> Bar:
    begins: datetime = row.begins
    return Bar(
        timestamp=begins,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        trades_count=row.trades_count,
        vwap=row.vwap,
        is_final=row.is_final,
        source=str(source),
        candles=row.candles,
        expected=candles_between(source, begins, asked.next(begins)),
    )


def _coverage(row: Any) -> Coverage:
    timeframe = parse(row.timeframe)
    if timeframe.duration is None:
        expected = candles_between(timeframe, row.first, timeframe.next(row.last))
    else:  # wherever on the clock they begin
        expected = (row.last - row.first) // timeframe.duration + 1
    return Coverage(
        exchange=row.exchange,
        trading_pair=row.trading_pair,
        timeframe=row.timeframe,
        first=row.first,
        last=row.last,
        candles=row.candles,
        expected=expected,
        live=row.live,
    )


def _goodness(candle: Candle) -> tuple[bool, int]:
    """Live before final, then by quality; what is not given is the column's default."""
    if candle.is_final is False:
        return False, 0
    quality: int | None = candle.data_quality_score
    return True, _BEST if quality is None else quality


def _may_replace(statement: Insert) -> ColumnElement[bool]:
    better = statement.excluded.data_quality_score >= Candle.data_quality_score
    return or_(~Candle.is_final, and_(statement.excluded.is_final, better))
