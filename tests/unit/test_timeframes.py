"""Timeframes: text to length, and where candles begin."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.timeframes import Timeframe, parse

WHEN = datetime(2026, 11, 20, 13, 47, 12, 345678, tzinfo=UTC)  # a Friday
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
some_timeframes = st.sampled_from(
    ["1s", "30s", "1m", "5m", "7m", "1h", "4h", "1d", "3d", "1w", "2w", "1M", "3M", "12M"]
).map(parse)
moments = st.integers(0, 7_000_000_000_000_000).map(lambda number: EPOCH + timedelta(microseconds=number))


@pytest.mark.parametrize(
    ("text", "begins", "follows"),
    [
        ("1s", "2026-11-20T13:47:12", "2026-11-20T13:47:13"),
        ("5m", "2026-11-20T13:45", "2026-11-20T13:50"),
        ("4h", "2026-11-20T12:00", "2026-11-20T16:00"),
        ("1d", "2026-11-20", "2026-11-21"),
        ("1w", "2026-11-16", "2026-11-23"),
        ("1M", "2026-11-01", "2026-12-01"),
        ("2M", "2026-11-01", "2027-01-01"),
        ("12M", "2026-01-01", "2027-01-01"),
    ],
)
def test_candles_begin_at_round_times_of_utc(text: str, begins: str, follows: str) -> None:
    timeframe = parse(text)
    assert str(timeframe) == text
    for when in (WHEN, WHEN.astimezone(timezone(timedelta(hours=5, minutes=45)))):
        assert timeframe.floor(when) == datetime.fromisoformat(begins).replace(tzinfo=UTC)
        assert timeframe.next(when) == datetime.fromisoformat(follows).replace(tzinfo=UTC)
        assert timeframe.next(when).tzinfo is UTC


@given(some_timeframes, moments)
def test_candles_follow_each_other_without_gap_or_overlap(timeframe: Timeframe, when: datetime) -> None:
    begins, follows = timeframe.floor(when), timeframe.next(when)
    assert begins <= when < follows
    assert timeframe.floor(begins) == begins
    assert timeframe.floor(follows) == follows
    assert timeframe.floor(follows - timedelta(microseconds=1)) == begins
    if timeframe.duration is not None:
        assert follows - begins == timeframe.duration


@given(some_timeframes, some_timeframes, moments)
def test_a_multiple_begins_and_ends_where_a_finer_candle_begins(
    timeframe: Timeframe, finer: Timeframe, when: datetime
) -> None:
    if timeframe.is_multiple_of(finer):
        assert finer.floor(timeframe.floor(when)) == timeframe.floor(when)


@pytest.mark.parametrize(
    ("text", "finer", "is_multiple"),
    [
        ("5m", "1m", True),
        ("5m", "5m", True),
        ("5m", "2m", False),
        ("1d", "4h", True),
        ("1d", "7h", False),
        ("1w", "1d", True),
        ("1w", "4d", False),
        ("2w", "1w", True),
        ("1M", "1d", True),
        ("1M", "4h", True),
        ("1M", "1w", False),
        ("3M", "1M", True),
        ("1M", "1M", True),
        ("1M", "3M", False),
        ("1w", "1M", False),
        ("4d", "1w", False),
    ],
)
def test_what_is_made_up_of_what(text: str, finer: str, is_multiple: bool) -> None:
    assert parse(text).is_multiple_of(parse(finer)) is is_multiple


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "0m",
        "01m",
        "1",
        "1y",
        "1 m",
        "-1m",
        "1.5h",
        "1m\n",
        "١m",
        "999999999w",
        "4000d",
        "121M",
        5,
        None,
    ],
)
def test_any_other_text_is_no_timeframe(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse(text)


def test_a_naive_time_belongs_to_no_candle() -> None:
    with pytest.raises(InvalidValue, match="naive"):
        parse("1m").floor(WHEN.replace(tzinfo=None))
