"""Periods and the names of their partitions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.upkeep.policies import Interval, Period, Policy, free_parts

MOMENTS = st.integers(0, 250_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def on(month: int, day: int, year: int = 2026) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


@given(MOMENTS, st.sampled_from(Interval))
def test_each_moment_is_in_one_period_and_the_next_begins_where_it_ends(
    moment: datetime, interval: Interval
) -> None:
    policy = Policy(interval, ahead=1)
    period = policy.period_of(moment)
    assert period.start <= moment < period.end
    assert policy.period_of(period.end - timedelta.resolution) == period
    assert policy.periods(moment) == [period, policy.period_of(period.end)]


@given(MOMENTS, MOMENTS, st.sampled_from(Interval))
def test_different_periods_have_different_names(one: datetime, other: datetime, interval: Interval) -> None:
    policy = Policy(interval, ahead=0)
    first, second = policy.period_of(one), policy.period_of(other)
    assert (policy.name_of("t", first) == policy.name_of("t", second)) == (first == second)


@pytest.mark.parametrize(
    ("interval", "moment", "name"),
    [
        (Interval.MONTH, on(11, 21), "t_p2026_11"),
        (Interval.WEEK, on(11, 21), "t_p2026_w47"),
        (Interval.WEEK, on(1, 1, 2027), "t_p2026_w53"),
        (Interval.DAY, on(11, 21), "t_p2026_11_21"),
    ],
)
def test_the_name_tells_the_period(interval: Interval, moment: datetime, name: str) -> None:
    policy = Policy(interval, ahead=0)
    assert policy.name_of("t", policy.period_of(moment)) == name


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        ([], [(1, 29)]),
        ([(1, 29)], []),
        ([(1, 10)], [(10, 29)]),
        ([(20, 30)], [(1, 20)]),
        ([(20, 22), (5, 6)], [(1, 5), (6, 20), (22, 29)]),
        ([(29, 30)], [(1, 29)]),
    ],
)
def test_what_is_free_of_a_period_is_what_no_partition_covers(
    taken: list[tuple[int, int]], free: list[tuple[int, int]]
) -> None:
    def days(first: int, last: int) -> Period:
        return Period(on(1, first), on(1, last))

    assert free_parts(days(1, 29), [days(*each) for each in taken]) == [days(*each) for each in free]
