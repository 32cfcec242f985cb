"""Bars of any timeframe are what plain Python makes of the same candles, and say what they lack."""

import calendar
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gal_friday.dal.models import Candle, new_id
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidFilter, InvalidValue
from gal_friday.timeseries.bars import Bar, Filling, Gap
from tests.factories import a_candle

SERIES = ("kraken", "BTC/USD")

pytestmark = pytest.mark.of_hypertables_too
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MIDNIGHT = datetime(2024, 2, 27, tzinfo=UTC)  # a Tuesday; 2024 has a 29th of February

# --- an independent computation -------------------------------------------------------------------------


@dataclass
class Expected:
    """A bar made of its candles by arithmetic on fractions."""

    candles: Sequence[Candle]

    def facts(self) -> tuple[object, ...]:
        ordered = sorted(self.candles, key=lambda candle: candle.timestamp)
        volume = sum((Fraction(candle.volume) for candle in ordered), Fraction(0))
        return (
            ordered[0].open,
            max(candle.high for candle in ordered),
            min(candle.low for candle in ordered),
            ordered[-1].close,
            volume,
            self._trades(),
            self._vwap(volume),
            len(ordered),
        )

    def _trades(self) -> int | None:
        counts = [candle.trades_count for candle in self.candles]
        return None if None in counts else sum(filter(None, counts))

    def _vwap(self, volume: Fraction) -> Decimal | None:
        traded = [candle for candle in self.candles if candle.volume]
        if not volume or any(candle.vwap is None for candle in traded):
            return None
        value = sum(Fraction(candle.vwap or 0) * Fraction(candle.volume) for candle in traded)
        half_up = math.floor(value / volume * 10**18 + Fraction(1, 2))
        with localcontext() as context:
            context.prec = 200
            return Decimal(half_up).scaleb(-18)


def begin_of(when: datetime, timeframe: str) -> datetime:
    """The bucket of *when*, by the calendar."""
    midnight = when.replace(hour=0, minute=0, second=0, microsecond=0)
    hour = when.replace(minute=0, second=0, microsecond=0)
    begins = {
        "3M": midnight.replace(month=(when.month - 1) // 3 * 3 + 1, day=1),
        "1M": midnight.replace(day=1),
        "1w": midnight - DAY * when.weekday(),
        "1d": midnight,
        "4h": midnight + timedelta(hours=when.hour // 4 * 4),
        "1h": hour,
        "5m": hour + timedelta(minutes=when.minute // 5 * 5),
    }
    return begins[timeframe]


def length_of(begins: datetime, timeframe: str) -> timedelta:
    if timeframe.endswith("M"):
        months = range(begins.month, begins.month + int(timeframe[:-1]))
        return sum((DAY * calendar.monthrange(begins.year, month)[1] for month in months), timedelta(0))
    return {"1w": 7 * DAY, "1d": DAY, "4h": 4 * HOUR, "1h": HOUR, "5m": 5 * MINUTE, "1m": MINUTE}[timeframe]


def expected_bars(candles: Iterable[Candle], timeframe: str) -> dict[datetime, tuple[object, ...]]:
    buckets: dict[datetime, list[Candle]] = {}
    for candle in candles:
        buckets.setdefault(begin_of(candle.timestamp, timeframe), []).append(candle)
    return {begins: Expected(members).facts() for begins, members in buckets.items()}


def facts(bar: Bar) -> tuple[object, ...]:
    return (
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        Fraction(bar.volume),
        bar.trades_count,
        bar.vwap,
        bar.candles,
    )


# --- any candles ----------------------------------------------------------------------------------------

amounts = st.decimals(min_value=Decimal("0.00000001"), max_value=10**9, places=8)


@st.composite
def some_candles(draw: st.DrawFn) -> tuple[str, list[Candle]]:
    """Candles of one timeframe, with gaps, anywhere in some months."""
    step, stretch = draw(st.sampled_from([("1m", 3_000), ("1h", 2_500), ("1d", 200)]))
    numbers = draw(st.lists(st.integers(0, stretch), min_size=1, max_size=25, unique=True))
    tells_trades, tells_vwap = draw(st.booleans()), draw(st.booleans())
    candles = []
    for number in numbers:
        prices = sorted(draw(st.tuples(amounts, amounts, amounts, amounts)))
        candles.append(
            a_candle(
                timeframe=step,
                timestamp=MIDNIGHT + number * length_of(MIDNIGHT, step)
                if step != "1d"
                else MIDNIGHT + number * DAY,
                low=prices[0],
                open=prices[1],
                close=prices[2],
                high=prices[3],
                volume=draw(st.just(Decimal(0)) | amounts),
                trades_count=draw(st.integers(0, 10**6)) if tells_trades or draw(st.booleans()) else None,
                vwap=draw(amounts) if tells_vwap or draw(st.booleans()) else None,
            )
        )
    return step, candles


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_candles=some_candles(), data=st.data())
async def test_any_candles_become_the_bars_that_plain_python_makes_of_them(
    uow: UnitOfWork, given_candles: tuple[str, list[Candle]], data: st.DataObject
) -> None:
    step, candles = given_candles
    coarser = {
        "1m": ["5m", "1h", "4h", "1d", "1w", "1M"],
        "1h": ["4h", "1d", "1w", "1M", "3M"],
        "1d": ["1w", "1M", "3M"],
    }
    timeframe = data.draw(st.sampled_from(coarser[step]))
    series = ("kraken", f"{new_id().hex}/USD")
    for candle in candles:
        candle.trading_pair = series[1]
    await uow.market_data.store_candles(candles)

    start = begin_of(MIDNIGHT, timeframe)
    found = await uow.market_data.query_ohlcv(*series, timeframe, start, MIDNIGHT + 300 * DAY)

    expected = expected_bars(candles, timeframe)
    assert {bar.timestamp: facts(bar) for bar in found.bars} == expected
    for bar in found.bars:
        whole = length_of(bar.timestamp, timeframe) // length_of(bar.timestamp, step)
        assert (bar.source, bar.expected, bar.is_complete) == (step, whole, bar.candles == whole)
    # Bars and gaps together are the whole span, without overlap.
    spans = [(bar.timestamp, bar.timestamp + length_of(bar.timestamp, timeframe)) for bar in found.bars]
    spans = sorted([*spans, *((gap.start, gap.end) for gap in found.gaps)])
    assert spans[0][0] == found.start
    assert spans[-1][1] == found.end
    assert all(earlier[1] == later[0] for earlier, later in pairwise(spans))


# --- what is there --------------------------------------------------------------------------------------


async def store(uow: UnitOfWork, timeframe: str, numbers: Iterable[int], **overrides: Any) -> None:
    step = length_of(MIDNIGHT, timeframe)
    candles = [
        a_candle(**{"timeframe": timeframe, "timestamp": MIDNIGHT + number * step, **overrides})
        for number in numbers
    ]
    await uow.market_data.store_candles(candles)


async def sources(uow: UnitOfWork, timeframe: str, end: timedelta) -> list[tuple[str, int, bool]]:
    found = await uow.market_data.query_ohlcv(*SERIES, timeframe, MIDNIGHT, MIDNIGHT + end)
    return [(bar.source, bar.candles, bar.is_complete) for bar in found.bars]


async def test_a_candle_that_is_stored_comes_before_one_that_could_be_made(uow: UnitOfWork) -> None:
    await store(uow, "1m", range(120))
    await store(uow, "1h", [1], close=Decimal(91))
    found = await uow.market_data.query_ohlcv(*SERIES, "1h", MIDNIGHT, MIDNIGHT + 2 * HOUR)
    assert [(bar.source, bar.close) for bar in found.bars] == [("1m", Decimal(105)), ("1h", Decimal(91))]
    assert found.is_whole


async def test_the_longest_timeframe_that_makes_a_bar_whole_is_taken(uow: UnitOfWork) -> None:
    await store(uow, "1m", range(180))
    await store(uow, "5m", [*range(12), *range(24, 35)])
    assert await sources(uow, "1h", 3 * HOUR) == [("5m", 12, True), ("1m", 60, True), ("1m", 60, True)]


async def test_of_bars_that_none_makes_whole_the_fullest_is_taken_and_said_to_be_incomplete(
    uow: UnitOfWork,
) -> None:
    await store(uow, "1m", range(30))
    await store(uow, "5m", range(7))
    assert await sources(uow, "1h", HOUR) == [("5m", 7, False)]
    found = await uow.market_data.query_ohlcv(*SERIES, "1h", MIDNIGHT, MIDNIGHT + HOUR)
    assert found.incomplete == found.bars
    assert not found.is_whole
    assert found.gaps == []


async def test_a_bar_with_a_candle_that_still_changes_is_not_complete(uow: UnitOfWork) -> None:
    await store(uow, "1m", range(59))
    await store(uow, "1m", [59], is_final=False)
    assert await sources(uow, "1h", HOUR) == [("1m", 60, False)]
    await store(uow, "1h", [0], is_final=False)
    assert await sources(uow, "1h", HOUR) == [("1h", 1, False)]
    await store(uow, "1m", [59])
    assert await sources(uow, "1h", HOUR) == [("1m", 60, True)]


async def test_gaps_are_told_and_filled_on_demand(uow: UnitOfWork) -> None:
    await store(uow, "1m", [1, 2, 5], close=Decimal(101))
    end = MIDNIGHT + 8 * MINUTE
    bare = await uow.market_data.query_ohlcv(*SERIES, "1m", MIDNIGHT, end)
    gaps = [
        Gap(MIDNIGHT, MIDNIGHT + MINUTE, 1),
        Gap(MIDNIGHT + 3 * MINUTE, MIDNIGHT + 5 * MINUTE, 2),
        Gap(MIDNIGHT + 6 * MINUTE, end, 2),
    ]
    assert bare.gaps == gaps
    assert await uow.market_data.gaps(*SERIES, "1m", MIDNIGHT, end) == gaps
    full = await uow.market_data.query_ohlcv(*SERIES, "1m", MIDNIGHT, end, fill="previous_close")
    assert full.gaps == gaps
    assert [bar.timestamp for bar in full.bars] == [MIDNIGHT + minute * MINUTE for minute in range(1, 8)]
    flat = full.bars[2]
    assert (flat.open, flat.high, flat.low, flat.close, flat.volume) == (*[Decimal(101)] * 4, 0)
    assert [bar.is_filled for bar in full.bars] == [False, False, True, True, False, True, True]
    assert len(full.incomplete) == 4


async def test_where_nothing_is_stored_all_is_a_gap(uow: UnitOfWork) -> None:
    end = MIDNIGHT + HOUR
    fillings: tuple[Filling | None, ...] = (None, "previous_close")
    for fill in fillings:
        found = await uow.market_data.query_ohlcv(*SERIES, "5m", MIDNIGHT, end, fill=fill)
        assert (found.bars, found.gaps) == ([], [Gap(MIDNIGHT, end, 12)])
    assert await uow.market_data.gaps(*SERIES, "5m", MIDNIGHT, end) == [Gap(MIDNIGHT, end, 12)]
    nothing = await uow.market_data.query_ohlcv(*SERIES, "5m", MIDNIGHT, MIDNIGHT)
    assert (nothing.bars, nothing.gaps, nothing.is_whole) == ([], [], True)
    assert await uow.market_data.gaps(*SERIES, "5m", MIDNIGHT, MIDNIGHT) == []


async def test_a_span_is_of_whole_bars_that_begin_in_it(uow: UnitOfWork) -> None:
    await store(uow, "1m", range(120))
    found = await uow.market_data.query_ohlcv(*SERIES, "1h", MIDNIGHT - 59 * MINUTE, MIDNIGHT + HOUR + MINUTE)
    assert (found.start, found.end) == (MIDNIGHT, MIDNIGHT + 2 * HOUR)
    assert [bar.is_complete for bar in found.bars] == [True, True]


async def test_candles_off_the_grid_of_their_timeframe_belong_to_no_bar(uow: UnitOfWork) -> None:
    await store(uow, "1h", [0, 1])
    await store(uow, "1h", [0], timestamp=MIDNIGHT + 30 * MINUTE, high=Decimal(999))
    assert await sources(uow, "4h", 4 * HOUR) == [("1h", 2, False)]
    assert len(await sources(uow, "1h", 4 * HOUR)) == 2
    gaps = await uow.market_data.gaps(*SERIES, "1h", MIDNIGHT, MIDNIGHT + 4 * HOUR)
    assert gaps == [Gap(MIDNIGHT + 2 * HOUR, MIDNIGHT + 4 * HOUR, 2)]


async def test_gaps_of_months_follow_the_calendar(uow: UnitOfWork) -> None:
    months = [datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 5)]
    await uow.market_data.store_candles([a_candle(timeframe="1M", timestamp=when) for when in months])
    start, end = datetime(2023, 12, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
    gaps = [
        Gap(start, months[0], 1),
        Gap(datetime(2024, 3, 1, tzinfo=UTC), months[2], 2),
        Gap(datetime(2024, 6, 1, tzinfo=UTC), end, 1),
    ]
    assert await uow.market_data.gaps(*SERIES, "1M", start, end) == gaps
    found = await uow.market_data.query_ohlcv(*SERIES, "1M", start, end)
    assert found.gaps == gaps
    (coverage,) = await uow.market_data.coverage(exchange="kraken")
    assert (coverage.candles, coverage.expected, coverage.missing) == (3, 5, 2)


async def test_coverage_tells_each_series(uow: UnitOfWork) -> None:
    await store(uow, "1m", [0, 1, 4])
    await store(uow, "1m", [5], is_final=False)
    await store(uow, "5m", [0], exchange="binance")
    (minutes,) = await uow.market_data.coverage(timeframe="1m")
    (fives,) = await uow.market_data.coverage(timeframe="5m")
    assert (minutes.exchange, minutes.trading_pair, minutes.timeframe) == (*SERIES, "1m")
    assert (minutes.first, minutes.last) == (MIDNIGHT, MIDNIGHT + 5 * MINUTE)
    assert (minutes.candles, minutes.expected, minutes.missing, minutes.live) == (4, 6, 2, 1)
    assert (fives.exchange, fives.missing) == ("binance", 0)
    assert await uow.market_data.coverage(trading_pair="ETH/USD") == []
    assert len(await uow.market_data.coverage()) == 2


@pytest.mark.parametrize("timeframe", ["7x", "0m", "", "1mo"])
async def test_what_is_no_timeframe_is_refused(uow: UnitOfWork, timeframe: str) -> None:
    with pytest.raises(InvalidValue, match="timeframe"):
        await uow.market_data.query_ohlcv(*SERIES, timeframe, MIDNIGHT, MIDNIGHT + DAY)
    with pytest.raises(InvalidValue, match="timeframe"):
        await uow.market_data.gaps(*SERIES, timeframe, MIDNIGHT, MIDNIGHT + DAY)


async def test_naive_times_and_unknown_fillings_are_refused(uow: UnitOfWork) -> None:
    naive = MIDNIGHT.replace(tzinfo=None)
    with pytest.raises(InvalidValue, match="naive"):
        await uow.market_data.query_ohlcv(*SERIES, "1m", naive, MIDNIGHT)
    with pytest.raises(InvalidFilter, match="previous_close"):
        await uow.market_data.query_ohlcv(*SERIES, "1m", MIDNIGHT, MIDNIGHT, fill="zero")  # type: ignore[arg-type]
