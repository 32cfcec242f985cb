"""How far equity is below its peaks, and what the day brought, from the snapshots taken so far.

Money put in is no profit and money taken out no loss: each earlier figure is moved by the capital that came
or went since. A snapshot therefore keeps, beside its figures, the capital of its time and the peaks reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Self

from gal_friday.dal.models import PortfolioSnapshot
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import ZERO, canonical, exact, ratio_rounded
from gal_friday.services.equity import Equity
from gal_friday.services.rates import Rates

#: Where a snapshot's metadata keeps what the next one goes on from.
CURVE_KEY = "equity_curve"


@dataclass(frozen=True, slots=True)
class Drawdowns:
    """Losses from the peak of the UTC day, of the week since Monday 00:00 UTC, and of all time, in percent.

    Each is the loss from the peak in percent of it, 8 decimals, zero where the peak is not positive.
    `daily_pnl` is what the UTC day brought so far, `daily_pnl_pct` the same in percent of what it began with;
    None where it is not known what the day began with.
    """

    daily_pnl: Decimal | None
    daily_pnl_pct: Decimal | None
    daily_drawdown_pct: Decimal
    weekly_drawdown_pct: Decimal
    total_drawdown_pct: Decimal
    day_peak: Decimal
    week_peak: Decimal
    total_peak: Decimal


@dataclass(frozen=True, slots=True)
class _Point:
    """An earlier point of the curve, as it would be with today's capital."""

    at: datetime
    equity: Decimal
    day_peak: Decimal
    week_peak: Decimal
    total_peak: Decimal

    @classmethod
    def of(cls, snapshot: PortfolioSnapshot, capital: Mapping[str, Decimal], rates: Rates) -> Self:
        kept = snapshot.extra.get(CURVE_KEY)
        equity = snapshot.total_equity
        if kept is None:  # not taken by the portfolio manager
            return cls(snapshot.snapshot_timestamp, equity, equity, equity, equity)
        then = {currency: Decimal(amount) for currency, amount in kept["capital"].items()}
        with exact():
            moved = {name: capital.get(name, ZERO) - then.get(name, ZERO) for name in {**capital, **then}}
            shift = rates.total(moved)
            peaks = [Decimal(kept[name]) + shift for name in ("day_peak", "week_peak", "total_peak")]
            return cls(snapshot.snapshot_timestamp, equity + shift, *peaks)


async def measure_drawdowns(
    uow: UnitOfWork,
    equity: Equity,
    rates: Rates,
    *,
    at: datetime,
    account_id: str,
    strategy_id: str | None = None,
) -> Drawdowns:
    """The drawdowns of *equity*, whose total is known, as of *at* (UTC).

    The peak of a day or week is the highest of what it began with, the snapshots taken in it, and now; it
    began with the last snapshot at or before its first instant, or with the capital where none had been put
    in by then. The highest peak counts from the capital put in. Raises MissingRate where capital of another
    currency came or went since and has no rate.
    """
    assert equity.total is not None
    now = equity.total
    capital = {name: each.capital for name, each in equity.by_currency.items()}
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - timedelta(days=midnight.weekday())
    latest = partial(
        uow.snapshots.latest, currency=equity.currency, strategy_id=strategy_id, account_id=account_id
    )

    async def point(until: datetime) -> _Point | None:
        found = await latest(until=until)
        return None if found is None else _Point.of(found, capital, rates)

    last = await point(at)
    before_day = last if last is None or last.at <= midnight else await point(midnight)
    paid_in = rates.total(capital)
    paid_in_since = [each.capital_since for each in equity.by_currency.values() if each.capital_since]

    def beginning(of: datetime, before: _Point | None) -> Decimal | None:
        if at == of:
            return now
        if before is not None:
            return before.equity
        return paid_in if paid_in_since and min(paid_in_since) >= of else None

    day_began_with = beginning(midnight, before_day)
    # A snapshot of the same day or week has what it began with among its peaks.
    day_peak = _highest(now, last.day_peak if last and last.at > midnight else day_began_with)
    week_peak = _highest(now, last.week_peak if last and last.at > monday else beginning(monday, last))
    total_peak = _highest(now, last.total_peak if last else paid_in)
    with exact():
        daily_pnl = None if day_began_with is None else now - day_began_with
    return Drawdowns(
        daily_pnl=daily_pnl,
        daily_pnl_pct=percent(daily_pnl, day_began_with) if daily_pnl is not None else None,
        daily_drawdown_pct=_below(day_peak, now),
        weekly_drawdown_pct=_below(week_peak, now),
        total_drawdown_pct=_below(total_peak, now),
        day_peak=day_peak,
        week_peak=week_peak,
        total_peak=total_peak,
    )


def kept_for_the_next(equity: Equity, drawdowns: Drawdowns) -> dict[str, Any]:
    """What a snapshot keeps in its metadata, amounts as text."""
    return {
        "capital": {name: canonical(each.capital) for name, each in equity.by_currency.items()},
        "day_peak": canonical(drawdowns.day_peak),
        "week_peak": canonical(drawdowns.week_peak),
        "total_peak": canonical(drawdowns.total_peak),
    }


def percent(part: Decimal, whole: Decimal | None) -> Decimal:
    """*part* in percent of *whole*, 8 decimals; zero where *whole* is not positive."""
    with exact():
        return ratio_rounded(part * 100, whole) if whole is not None and whole > 0 else ZERO


def _below(peak: Decimal, now: Decimal) -> Decimal:
    with exact():
        return percent(peak - now, peak)


def _highest(now: Decimal, before: Decimal | None) -> Decimal:
    return now if before is None else max(now, before)
