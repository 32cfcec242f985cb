"""Candles of a timeframe made of shorter ones, where no database does it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from gal_friday.money import ZERO, average_price_rounded
from gal_friday.timeseries.bars import Bar, best_of, candles_between
from gal_friday.timeseries.instants import moment
from gal_friday.timeseries.measurements import Ohlcv
from gal_friday.timeseries.timeframes import Timeframe


def longer_candles(
    asked: Timeframe, candles: Iterable[Ohlcv], begin: datetime, until: datetime
) -> Sequence[Ohlcv]:
    """Candles of *asked* from *begin* up to *until*, which both begin one, of those of one series given.

    As `MarketDataRepository.query_ohlcv` makes them: where one of *asked* is missing, or still changes, it is
    made of the longest shorter timeframe that makes it complete, else of the one that covers most of it. One
    that is not whole is not final.
    """
    by_timeframe: dict[Timeframe, list[Ohlcv]] = defaultdict(list)
    series: tuple[str, str] | None = None
    for candle in candles:
        by_timeframe[Timeframe.parse(candle.interval)].append(candle)
        series = candle.exchange, candle.trading_pair
    found = best_of({}, _bars(asked, asked, by_timeframe.pop(asked, [])))
    shorter = [each for each in by_timeframe if asked.is_multiple_of(each)]
    expected = candles_between(asked, begin, until)
    for finer in sorted(shorter, key=lambda each: candles_between(each, begin, until)):
        if len(found) == expected and all(bar.is_complete for bar in found.values()):
            break
        found = best_of(found, _bars(asked, finer, by_timeframe[finer]))
    if series is None:
        return []
    return [_candle(series, asked, found[when]) for when in sorted(found) if begin <= when < until]


def _bars(asked: Timeframe, finer: Timeframe, candles: Iterable[Ohlcv]) -> Iterator[Bar]:
    parts: dict[datetime, list[Ohlcv]] = defaultdict(list)
    for candle in sorted(candles, key=lambda each: each.timestamp_ns):
        when = moment(candle.timestamp_ns)
        if finer.floor(when) == when:  # one off the grid belongs to none
            parts[asked.floor(when)].append(candle)
    for begun, found in parts.items():
        volume = sum((each.volume for each in found), ZERO)
        yield Bar(
            begun,
            found[0].open,
            max(each.high for each in found),
            min(each.low for each in found),
            found[-1].close,
            volume,
            _trades(found),
            _vwap(found, volume),
            all(each.is_final for each in found),
            str(finer),
            len(found),
            candles_between(finer, begun, asked.next(begun)),
        )


def _trades(candles: Sequence[Ohlcv]) -> int | None:
    told = [each.trades_count for each in candles if each.trades_count is not None]
    return sum(told) if len(told) == len(candles) else None


def _vwap(candles: Sequence[Ohlcv], volume: Decimal) -> Decimal | None:
    """Σ vwap · volume / Σ volume; None where a candle with a volume does not tell its own."""
    if not volume:
        return None
    if len(candles) == 1:
        return candles[0].vwap
    value = ZERO
    for each in candles:
        if each.volume:
            if each.vwap is None:
                return None
            value += each.vwap * each.volume
    return average_price_rounded(value, volume)


def _candle(series: tuple[str, str], timeframe: Timeframe, bar: Bar) -> Ohlcv:
    return Ohlcv(
        *series,
        str(timeframe),
        bar.timestamp,
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        vwap=bar.vwap,
        trades_count=bar.trades_count,
        is_final=bar.is_complete,
    )
