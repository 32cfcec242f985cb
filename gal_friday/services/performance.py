"""Performance and risk of a series of results: the formulas alone.

Returns are simple returns of one UTC day each, every calendar day counted, since crypto markets never close;
a year therefore has 365 of them. Deviations and covariances are of the sample (n - 1) unless said otherwise.
Statistics are floating point, summed by `math.fsum`: the same inputs give the same bits on every machine.
Amounts of money stay exact Decimals.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from gal_friday.money import ZERO, average_price_rounded, exact, ratio_rounded

DAYS_PER_YEAR = 365
#: The tail that value at risk at 95 % leaves.
TAIL = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The largest loss from a peak as a proportion of it, 8 decimals, and the longest time below a peak."""

    proportion: Decimal
    longest: timedelta


def drawdown(results: Iterable[tuple[datetime, Decimal]], capital: Decimal, until: datetime) -> Drawdown:
    """The drawdown of *capital* (above zero) as the results, in order of time, are added to it.

    max over t of (peak(t) - equity(t)) / peak(t), peak(t) being the highest equity up to t: Magdon-Ismail and
    Atiya (2004), "Maximum Drawdown". Time below a peak runs from the result that falls below it to the one
    that reaches it again, or to *until*. Results of the same instant came together, in no order.
    """
    peak = equity = capital
    largest, worst, longest = ZERO, ZERO, timedelta(0)
    below_since: datetime | None = None
    with exact():
        for moment, together in groupby(results, key=itemgetter(0)):
            equity += sum((result for _, result in together), ZERO)
            if equity < peak:
                worst = max(worst, peak - equity)
                below_since = below_since or moment
                continue
            if below_since is not None:
                largest = max(largest, ratio_rounded(worst, peak))
                longest = max(longest, moment - below_since)
                worst, below_since = ZERO, None
            peak = equity
    if below_since is not None:
        largest = max(largest, ratio_rounded(worst, peak))
        longest = max(longest, until - below_since)
    return Drawdown(largest, longest)


def daily_returns(results: Iterable[Decimal], capital: Decimal) -> list[float] | None:
    """Each day's result over the equity the day began with, which is *capital* and the results before.

    None where a day began with nothing left: there is no return on nothing.
    """
    returns, equity = [], capital
    for result in results:
        if equity <= 0:
            return None
        returns.append(float(result) / float(equity))
        with exact():
            equity += result
    return returns


def sharpe_ratio(returns: Sequence[float], *, risk_free_rate: float = 0.0) -> float | None:
    """√365 × mean(r - f) / deviation(r - f), f being the yearly *risk_free_rate* over 365.

    Sharpe (1994), "The Sharpe Ratio", the ex post ratio, annualised. None for fewer than two returns and
    where they are all the same.
    """
    if _constant(returns):
        return None
    return math.sqrt(DAYS_PER_YEAR) * _mean_excess(returns, risk_free_rate) / _deviation(returns)


def sortino_ratio(returns: Sequence[float], *, risk_free_rate: float = 0.0) -> float | None:
    """√365 × mean(r - f) / √(Σ min(0, r - f)² / n), over all n returns.

    Sortino and Price (1994), "Performance Measurement in a Downside Risk Framework", with the risk-free
    return as the target. None where no return is below it.
    """
    daily = risk_free_rate / DAYS_PER_YEAR
    shortfalls = math.fsum(min(0.0, each - daily) ** 2 for each in returns)
    if not shortfalls:
        return None
    downside = math.sqrt(shortfalls / len(returns))
    return math.sqrt(DAYS_PER_YEAR) * _mean_excess(returns, risk_free_rate) / downside


def calmar_ratio(returns: Sequence[float], largest_drawdown: Decimal) -> float | None:
    """365 × mean(r) over the largest drawdown of the same days.

    Young (1991), "Calmar Ratio: A Smoother Tool", whose window is 36 months. The yearly return is the
    arithmetic one, as in the other ratios: compounding a few days to a year would be a wild guess. None
    without a drawdown.
    """
    if not returns or not largest_drawdown:
        return None
    return DAYS_PER_YEAR * _mean(returns) / float(largest_drawdown)


def value_at_risk(results: Sequence[Decimal]) -> Decimal | None:
    """The loss that 95 % of the days stayed within: positive, or negative where even that is a gain.

    Historical simulation: of n results sorted from the worst, minus the one at ⌊n / 20⌋ + 1. That is minus
    the upper 5 % quantile, as in Acerbi and Tasche (2002), "On the coherence of expected shortfall". None for
    fewer than 20 days, which have no such tail.
    """
    beyond = int(len(results) * TAIL)
    return -sorted(results)[beyond] if beyond else None


def conditional_value_at_risk(results: Sequence[Decimal]) -> Decimal | None:
    """The mean loss of the worst 5 % of the days, 18 decimals: expected shortfall.

    Acerbi and Tasche (2002), on the empirical distribution: the worst ⌊n / 20⌋ results count in full, the
    next one by what is left of n / 20. None for fewer than 20 days.
    """
    tail = len(results) * TAIL
    beyond = int(tail)
    if not beyond:
        return None
    worst_first = sorted(results)
    with exact():
        loss = -sum(worst_first[:beyond], ZERO) - (tail - beyond) * worst_first[beyond]
    return average_price_rounded(loss, tail)


def correlation(returns: Sequence[float], market: Sequence[float]) -> float | None:
    """Pearson's coefficient of two equally long series; None where either is constant or too short."""
    if _constant(returns) or _constant(market):
        return None
    coefficient = _covariance(returns, market) / (_deviation(returns) * _deviation(market))
    return max(-1.0, min(1.0, coefficient))


def beta(returns: Sequence[float], market: Sequence[float]) -> float | None:
    """cov(r, m) / var(m): Sharpe (1964), "Capital Asset Prices". None where *market* is constant."""
    return None if _constant(market) else _covariance(returns, market) / _covariance(market, market)


def alpha(returns: Sequence[float], market: Sequence[float], *, risk_free_rate: float = 0.0) -> float | None:
    """365 × (mean(r - f) - beta × mean(m - f)): Jensen (1968), "The Performance of Mutual Funds", for a year.

    None where there is no beta.
    """
    slope = beta(returns, market)
    if slope is None:
        return None
    unexplained = _mean_excess(returns, risk_free_rate) - slope * _mean_excess(market, risk_free_rate)
    return DAYS_PER_YEAR * unexplained


def _constant(values: Sequence[float]) -> bool:
    # Computed, the deviation of equal values may be a little more than zero, and a ratio to it huge.
    return len(values) < 2 or min(values) == max(values)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_excess(returns: Sequence[float], risk_free_rate: float) -> float:
    return _mean(returns) - risk_free_rate / DAYS_PER_YEAR


def _deviation(values: Sequence[float]) -> float:
    return math.sqrt(_covariance(values, values))


def _covariance(one: Sequence[float], other: Sequence[float]) -> float:
    mean_one, mean_other = _mean(one), _mean(other)
    products = ((a - mean_one) * (b - mean_other) for a, b in zip(one, other, strict=True))
    return math.fsum(products) / (len(one) - 1)
