"""Formulas of performance against figures worked out by hand, and against Python's statistics."""

import math
import statistics
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gal_friday.errors import InvalidValue, MissingRate
from gal_friday.money import statistic_rounded
from gal_friday.services.metric_columns import ClosedTrade, columns_of_day, columns_of_window
from gal_friday.services.performance import (
    alpha,
    beta,
    calmar_ratio,
    conditional_value_at_risk,
    correlation,
    daily_returns,
    drawdown,
    sharpe_ratio,
    sortino_ratio,
    value_at_risk,
)
from gal_friday.services.rates import Rates

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
END = START + 100 * HOUR
CAPITAL = Decimal(1_000)

a_return = st.floats(-0.5, 0.5).map(lambda value: round(value, 6))
returns = st.lists(a_return, min_size=2, max_size=60)
pairs = st.lists(st.tuples(a_return, a_return), min_size=2, max_size=60)
amounts = st.lists(st.decimals(-900, 900, places=8), max_size=120)


def hourly(*results: int) -> list[tuple[datetime, Decimal]]:
    return [(START + number * HOUR, Decimal(result)) for number, result in enumerate(results)]


def of(*figures: object) -> list[Any]:
    return list(figures)


# --- by hand --------------------------------------------------------------------------------------------


def test_the_largest_drawdown_is_the_worst_loss_from_a_peak_in_proportion_to_it() -> None:
    # 1000 → 1500 → 1200 → 1600 → 1300 → 1900: 300/1500 = 20 %, then 300/1600 = 18.75 %
    found = drawdown(hourly(500, -300, 400, -300, 600), CAPITAL, END)
    assert found.proportion == Decimal("0.2")
    assert found.longest == HOUR


def test_time_below_a_peak_runs_until_it_is_reached_again_or_to_the_end() -> None:
    assert drawdown(hourly(-10, 5, 5, 1), CAPITAL, END).longest == 2 * HOUR
    assert drawdown(hourly(1, -10, 5), CAPITAL, END).longest == END - (START + HOUR)
    assert drawdown(hourly(-10, 10, -1, -1, 1, 1), CAPITAL, END).longest == 3 * HOUR
    nothing = drawdown([], CAPITAL, END)
    assert of(nothing.proportion, nothing.longest) == [0, timedelta(0)]


def test_results_of_one_instant_have_no_order() -> None:
    together = [(START, Decimal(-100)), (START, Decimal(100))]
    for results in (together, together[::-1]):
        assert drawdown(results, CAPITAL, END).proportion == 0


def test_a_drawdown_may_be_more_than_everything() -> None:
    assert drawdown(hourly(-1_500), CAPITAL, END).proportion == Decimal("1.5")


def test_a_days_return_is_on_what_the_day_began_with() -> None:
    assert daily_returns([Decimal(100), Decimal(-110), Decimal(0)], CAPITAL) == [0.1, -0.1, 0.0]
    assert daily_returns([], CAPITAL) == []
    assert daily_returns([Decimal(-1_000), Decimal(1)], CAPITAL) is None
    assert daily_returns([Decimal(-1_000)], CAPITAL) == [-1.0]


def test_sharpe_by_hand() -> None:
    # mean 0.01; deviations 0.01, -0.01, 0: the sample's variance is 0.0002 / 2
    assert sharpe_ratio([0.02, 0.0, 0.01]) == pytest.approx(math.sqrt(365) * 0.01 / 0.01)
    assert sharpe_ratio([0.02, 0.0, 0.01], risk_free_rate=3.65) == pytest.approx(0, abs=1e-12)
    assert sharpe_ratio([0.1]) is None
    assert sharpe_ratio([0.1, 0.1, 0.1]) is None


def test_sortino_by_hand() -> None:
    # mean 0.01; one shortfall of 0.02 in four days: √(0.0004 / 4) = 0.01
    assert sortino_ratio([0.03, -0.02, 0.02, 0.01]) == pytest.approx(math.sqrt(365))
    # with 0.01 a day without risk: 0.03 short of it once, so 0.015, and nothing earned beyond it
    assert sortino_ratio([0.03, -0.02, 0.02, 0.01], risk_free_rate=3.65) == pytest.approx(0, abs=1e-12)
    assert sortino_ratio([0.1, 0.0]) is None
    assert sortino_ratio([]) is None


def test_calmar_by_hand() -> None:
    assert calmar_ratio([0.01, 0.03], Decimal("0.5")) == pytest.approx(365 * 0.02 / 0.5)
    assert calmar_ratio([0.01], Decimal(0)) is None
    assert calmar_ratio([], Decimal("0.5")) is None


def test_value_at_risk_by_hand() -> None:
    forty = [Decimal(number) for number in range(-10, 30)]  # two of them are the worst 5 %
    assert value_at_risk(forty) == 8
    assert conditional_value_at_risk(forty) == Decimal("9.5")
    thirty = [Decimal(number) for number in range(-10, 20)]  # one and a half of them are
    assert value_at_risk(thirty) == 9
    assert conditional_value_at_risk(thirty) == Decimal("9.666666666666666667")  # (10 + 9 / 2) / 1.5
    gains = [Decimal(number) for number in range(1, 21)]
    assert of(value_at_risk(gains), conditional_value_at_risk(gains)) == [-2, -1]
    assert value_at_risk(gains[:19]) is None
    assert conditional_value_at_risk(gains[:19]) is None


def test_benchmark_figures_by_hand() -> None:
    market = [0.01, -0.02, 0.03, 0.0]
    twice = [0.001 + 2 * each for each in market]
    assert correlation(twice, market) == pytest.approx(1)
    assert beta(twice, market) == pytest.approx(2)
    assert alpha(twice, market) == pytest.approx(0.365)
    # what is without risk earns itself: (0.001 + 2 m - f) - 2 (m - f) = 0.001 + f
    assert alpha(twice, market, risk_free_rate=0.365) == pytest.approx(365 * 0.002)
    against = [-each for each in market]
    assert correlation(against, market) == pytest.approx(-1)
    for function in (correlation, beta, alpha):
        assert function([0.1, 0.2], [0.1, 0.1]) is None
        assert function([], []) is None
    assert correlation([0.1, 0.1], [0.1, 0.2]) is None
    assert beta([0.1, 0.1], [0.1, 0.2]) == pytest.approx(0, abs=1e-12)


# --- against Python's statistics and plain definitions ---------------------------------------------------


@given(returns)
def test_sharpe_agrees_with_pythons_statistics(series: list[float]) -> None:
    assume(max(series) - min(series) > 1e-4)
    expected = statistics.mean(series) / statistics.stdev(series) * math.sqrt(365)
    assert sharpe_ratio(series) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(returns, st.floats(0, 1))
def test_sortino_agrees_with_exact_fractions(series: list[float], rate: float) -> None:
    daily = Fraction(rate) / 365
    excess = [Fraction(each) - daily for each in series]
    variance = sum((min(Fraction(0), each) ** 2 for each in excess), Fraction(0)) / len(excess)
    assume(variance > Fraction(1, 10**9))
    expected = math.sqrt(365) * float(sum(excess, Fraction(0)) / len(excess)) / math.sqrt(variance)
    assert sortino_ratio(series, risk_free_rate=rate) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(pairs)
def test_benchmark_figures_agree_with_pythons_statistics(both: list[tuple[float, float]]) -> None:
    ours, market = [a for a, _ in both], [b for _, b in both]
    assume(max(ours) - min(ours) > 1e-3 and max(market) - min(market) > 1e-3)
    line = statistics.linear_regression(market, ours)
    assert correlation(ours, market) == pytest.approx(statistics.correlation(ours, market), abs=1e-9)
    assert beta(ours, market) == pytest.approx(line.slope, rel=1e-9, abs=1e-9)
    assert alpha(ours, market) == pytest.approx(365 * line.intercept, rel=1e-6, abs=1e-6)


@given(amounts)
def test_the_largest_drawdown_agrees_with_exact_fractions(results: list[Decimal]) -> None:
    curve = [Fraction(CAPITAL)]
    for result in results:
        curve.append(curve[-1] + Fraction(result))
    highest = [max(curve[: number + 1]) for number in range(len(curve))]
    expected = max((peak - equity) / peak for peak, equity in zip(highest, curve, strict=True))

    hours = ((START + number * HOUR, result) for number, result in enumerate(results))
    found = drawdown(hours, CAPITAL, END).proportion

    assert abs(Fraction(found) - expected) <= Fraction(1, 2 * 10**8)


@given(amounts)
def test_the_mean_loss_of_the_tail_is_never_less_than_its_edge(results: list[Decimal]) -> None:
    edge, beyond = value_at_risk(results), conditional_value_at_risk(results)
    assert (edge is None) == (beyond is None) == (len(results) < 20)
    if edge is not None and beyond is not None:
        assert beyond >= edge
        assert sum(-result > edge for result in results) <= len(results) * Decimal("0.05")


@given(st.floats(-1e11, 1e11))
def test_a_statistic_is_rounded_half_up_from_its_binary_value(value: float) -> None:
    assert abs(Fraction(statistic_rounded(value)) - Fraction(value)) <= Fraction(1, 2 * 10**8)


def test_the_same_returns_give_the_same_bits_in_any_order_of_addition() -> None:
    series = [0.1, 1e-17, -0.1, 0.3, 1e-16] * 20
    assert sharpe_ratio(series) == sharpe_ratio(sorted(series)) == sharpe_ratio(series[::-1])


# --- columns --------------------------------------------------------------------------------------------


def a_trade(pnl: str, *, minutes: int = 10, at: datetime = START) -> ClosedTrade:
    return ClosedTrade(at, timedelta(minutes=minutes), Decimal(pnl))


def test_the_columns_of_a_day_by_hand() -> None:
    trades = [a_trade("10"), a_trade("5", minutes=1), a_trade("-6"), a_trade("0", minutes=30)]
    assert columns_of_day(trades) == {
        "total_trades": 4,
        "winning_trades": 2,
        "losing_trades": 1,
        "total_pnl": 9,
        "gross_profit": 15,
        "gross_loss": -6,
        "win_rate": Decimal("0.5"),
        "profit_factor": Decimal("2.5"),
        "avg_trade_duration_minutes": 12,
        "max_trade_duration_minutes": 30,
        "avg_win": Decimal("7.5"),
        "avg_loss": -6,
        "largest_win": 10,
        "largest_loss": -6,
    }


def test_a_day_without_trades_has_no_proportions() -> None:
    nothing = columns_of_day([])
    assert [name for name, value in nothing.items() if value is None] == [
        "win_rate",
        "profit_factor",
        "avg_trade_duration_minutes",
        "max_trade_duration_minutes",
        "avg_win",
        "avg_loss",
        "largest_win",
        "largest_loss",
    ]
    assert columns_of_day([a_trade("1")])["profit_factor"] is None


def test_a_ratio_no_column_can_keep_is_not_told() -> None:
    assert columns_of_day([a_trade("1000"), a_trade("-0.000000000000000001")])["profit_factor"] is None
    day = START.date()
    days = {day: [a_trade("1")], day + timedelta(days=1): [a_trade("1.0000000000000000001")]}
    assert columns_of_window(days, Decimal(10) ** 30, {}, Decimal(0))["sharpe_ratio"] is None


def test_a_window_that_began_with_nothing_left_has_no_returns() -> None:
    columns = columns_of_window({START.date(): [a_trade("1")]}, Decimal(-5), {}, Decimal(0))
    told = {name: value for name, value in columns.items() if value is not None}
    assert told == {"max_drawdown": 0, "max_drawdown_duration_minutes": 0}


def test_only_days_the_benchmark_is_known_for_are_compared_with_it() -> None:
    first = date(2026, 1, 1)
    days = {
        first + timedelta(days=number): [a_trade(str(result))]
        for number, result in enumerate((10, 99, 20, -15))
    }
    market = {first: 0.01, first + timedelta(days=2): 0.02, first + timedelta(days=3): -0.01}
    columns = columns_of_window(days, CAPITAL, market, Decimal(0))
    ours = daily_returns([Decimal(10), Decimal(99), Decimal(20), Decimal(-15)], CAPITAL)
    assert ours is not None
    expected = beta([ours[0], *ours[2:]], list(market.values()))
    assert expected is not None
    assert columns["beta"] == statistic_rounded(expected)


# --- rates ----------------------------------------------------------------------------------------------


def test_rates_convert_exactly_and_tell_which_were_used() -> None:
    rates = Rates("USD", {"EUR": Decimal("1.1"), "GBP": Decimal("1.3"), "USD": Decimal(1)})
    assert rates.total({"USD": Decimal(1), "EUR": Decimal("0.000000000000000001"), "JPY": Decimal(0)}) == (
        Decimal("1.000000000000000001")
    )
    assert rates.used == {"EUR": Decimal("1.1")}
    assert rates.total({}) == 0
    with pytest.raises(MissingRate, match="currency='JPY', into='USD'"):
        rates.total({"JPY": Decimal(1)})
    with pytest.raises(InvalidValue):
        Rates("USD", {"USD": Decimal(2)})
