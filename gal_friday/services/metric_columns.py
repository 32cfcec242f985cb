"""The columns of strategy_metrics, from closed trades."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

from gal_friday.money import (
    ZERO,
    amount_rounded,
    average_price_rounded,
    exact,
    ratio_rounded,
    statistic_rounded,
)
from gal_friday.services import performance

_NO_TIME = timedelta(0)
_MINUTE = timedelta(minutes=1)
#: A ratio column keeps twelve digits before the point; a ratio beyond says nothing but that it is not one.
_LARGEST_RATIO = 10**12


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """When a trade was closed, how long it lasted, and what it brought after commission."""

    at: datetime
    duration: timedelta
    pnl: Decimal


def columns_of_day(trades: Sequence[ClosedTrade]) -> dict[str, Any]:
    """Counts, amounts and durations of the trades closed on a day; losses are negative, minutes whole."""
    wins = [trade.pnl for trade in trades if trade.pnl > 0]
    losses = [trade.pnl for trade in trades if trade.pnl < 0]
    durations = [trade.duration for trade in trades]
    with exact():
        profit, loss = sum(wins, ZERO), sum(losses, ZERO)
        total = profit + loss
    return {
        "total_trades": len(trades),
        "winning_trades": len(wins),
        "losing_trades": len(losses),
        "total_pnl": amount_rounded(total),
        "gross_profit": amount_rounded(profit),
        "gross_loss": amount_rounded(loss),
        "win_rate": ratio_rounded(Decimal(len(wins)), Decimal(len(trades))) if trades else None,
        "profit_factor": _storable(ratio_rounded(profit, -loss)) if losses else None,
        "avg_trade_duration_minutes": sum(durations, _NO_TIME) // len(trades) // _MINUTE if trades else None,
        "max_trade_duration_minutes": max(durations) // _MINUTE if trades else None,
        "avg_win": average_price_rounded(profit, Decimal(len(wins))) if wins else None,
        "avg_loss": average_price_rounded(loss, Decimal(len(losses))) if losses else None,
        "largest_win": amount_rounded(max(wins)) if wins else None,
        "largest_loss": amount_rounded(min(losses)) if losses else None,
    }


def columns_of_window(
    days: Mapping[date, Sequence[ClosedTrade]],
    capital: Decimal,
    market: Mapping[date, float],
    risk_free_rate: Decimal,
) -> dict[str, Any]:
    """Figures of risk of consecutive days and their trades, in order of time.

    *capital* is the equity they began with, *market* the benchmark's return of each day it is known for, and
    *risk_free_rate* a yearly proportion. Where the days began with nothing left there is no drawdown any
    more, and no return on a capital.
    """
    with exact():
        results = [sum((trade.pnl for trade in trades), ZERO) for trades in days.values()]
    fallen = performance.Drawdown(ZERO, _NO_TIME)
    if days and capital > 0:
        closed = chain.from_iterable(days.values())
        fallen = performance.drawdown(
            ((trade.at, trade.pnl) for trade in closed),
            capital,
            datetime.combine(max(days), time(), UTC) + timedelta(days=1),
        )
    returns = performance.daily_returns(results, capital) or []
    both = [(each, market[day]) for day, each in zip(days, returns, strict=False) if day in market]
    ours, theirs = [each for each, _ in both], [each for _, each in both]
    risk_free = float(risk_free_rate)
    at_risk = performance.value_at_risk(results)
    shortfall = performance.conditional_value_at_risk(results)
    return {
        "max_drawdown": fallen.proportion,
        "max_drawdown_duration_minutes": fallen.longest // _MINUTE if days else None,
        "sharpe_ratio": _rounded(performance.sharpe_ratio(returns, risk_free_rate=risk_free)),
        "sortino_ratio": _rounded(performance.sortino_ratio(returns, risk_free_rate=risk_free)),
        "calmar_ratio": _rounded(performance.calmar_ratio(returns, fallen.proportion)),
        "var_95": None if at_risk is None else amount_rounded(at_risk),
        "cvar_95": shortfall,
        "market_correlation": _rounded(performance.correlation(ours, theirs)),
        "beta": _rounded(performance.beta(ours, theirs)),
        "alpha": _rounded(performance.alpha(ours, theirs, risk_free_rate=risk_free)),
    }


def _rounded(statistic: float | None) -> Decimal | None:
    if statistic is None or not math.isfinite(statistic) or abs(statistic) >= _LARGEST_RATIO:
        return None
    return _storable(statistic_rounded(statistic))


def _storable(ratio: Decimal) -> Decimal | None:
    return ratio if abs(ratio) < _LARGEST_RATIO else None
