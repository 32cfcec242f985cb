"""Candles as they are asked for: in any timeframe, with what is missing named."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from gal_friday.money import ZERO
from gal_friday.timeseries.timeframes import Timeframe

#: How a gap can be filled: with bars in which nothing was traded, at the close before it.
Filling = Literal["previous_close"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A span, up to but not including *end*, of which nothing is stored: *missing* candles."""

    start: datetime
    end: datetime
    missing: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A candle as it is stored, or made of *candles* shorter ones of the timeframe *source*.

    *expected* is how many of those make it whole. *vwap* and *trades_count* are None where any of them does
    not tell; *is_final* is whether none of them changes any more.
    """

    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades_count: int | None
    vwap: Decimal | None
    is_final: bool
    source: str
    candles: int
    expected: int

    @property
    def is_complete(self) -> bool:
        """Whether nothing of it is missing, and nothing of it changes any more."""
        return self.candles == self.expected and self.is_final

    @property
    def is_filled(self) -> bool:
        """Whether it stands in a gap, made of nothing."""
        return self.candles == 0

    def is_better_than(self, other: "Bar") -> bool:
        """Whether it tells more of the same span."""
        mine, others = self.candles * other.expected, other.candles * self.expected
        return (self.is_complete, mine) > (other.is_complete, others)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one series from *start* up to *end*, oldest first, and where there are none."""

    exchange: str
    trading_pair: str
    timeframe: str
    start: datetime
    end: datetime
    bars: Sequence[Bar]
    gaps: Sequence[Gap]

    @property
    def incomplete(self) -> Sequence[Bar]:
        """Bars of which something is missing, or still changes; those that fill a gap are among them."""
        return [bar for bar in self.bars if not bar.is_complete]

    @property
    def is_whole(self) -> bool:
        """Whether there is a complete bar for the whole of the span."""
        return not self.gaps and not self.incomplete


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is stored of one series: from the *first* candle to the beginning of the *last*.

    *expected* candles would be there without a gap; *live* ones still change.
    """

    exchange: str
    trading_pair: str
    timeframe: str
    first: datetime
    last: datetime
    candles: int
    expected: int
    live: int

    @property
    def missing(self) -> int:
        """Candles missing between the first and the last."""
        return self.expected - self.candles


def ceiling(timeframe: Timeframe, when: datetime) -> datetime:
    """The first candle of *timeframe* that begins at *when* or later. Raises InvalidValue for naive times."""
    begun = timeframe.floor(when)
    return begun if begun == when else timeframe.next(when)


def candles_between(timeframe: Timeframe, start: datetime, end: datetime) -> int:
    """How many candles of *timeframe* there are from *start* up to *end*; both begin one."""
    if timeframe.duration is not None:
        return (end - start) // timeframe.duration
    return ((end.year - start.year) * 12 + end.month - start.month) // timeframe.count


def gaps_between(
    timeframe: Timeframe, begun: Iterable[datetime], start: datetime, end: datetime
) -> Iterator[Gap]:
    """Where no candle begins from *start* up to *end*, which both begin one; *begun* in order tells where."""
    expected = start
    for when in begun:
        if when > expected:
            yield Gap(expected, when, candles_between(timeframe, expected, when))
        expected = timeframe.next(when)
    if end > expected:
        yield Gap(expected, end, candles_between(timeframe, expected, end))


def best_of(bars: Mapping[datetime, Bar], others: Iterable[Bar]) -> dict[datetime, Bar]:
    """*bars* by their time, with each of *others* that is of a span they lack or tells more of it."""
    found = dict(bars)
    for bar in others:
        if bar.timestamp not in found or bar.is_better_than(found[bar.timestamp]):
            found[bar.timestamp] = bar
    return found


def filled(timeframe: Timeframe, bars: Sequence[Bar], end: datetime) -> Iterator[Bar]:
    """*bars*, and between and after them one for each candle missing until *end*."""
    last: Bar | None = None
    for bar in bars:
        if last is not None:
            yield from _flat(timeframe, last, bar.timestamp)
        yield bar
        last = bar
    if last is not None:
        yield from _flat(timeframe, last, end)


def _flat(timeframe: Timeframe, after: Bar, end: datetime) -> Iterator[Bar]:
    when = timeframe.next(after.timestamp)
    while when < end:
        yield Bar(
            timestamp=when,
            open=after.close,
            high=after.close,
            low=after.close,
            close=after.close,
            volume=ZERO,
            trades_count=0,
            vwap=None,
            is_final=False,
            source=str(timeframe),
            candles=0,
            expected=1,
        )
        when = timeframe.next(when)
