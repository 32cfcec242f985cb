"""What the bot may buy: every check, with its limit and its value."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gal_friday.dal.models import RiskVerdict
from gal_friday.money import ZERO, amount_rounded, canonical, exact, quantity_rounded_down
from gal_friday.replay.run import Rules


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was asked and what is allowed, in base units, and why; *checks* are for a JSON column."""

    decision: RiskVerdict
    requested: Decimal
    approved: Decimal
    checks: Sequence[dict[str, Any]]
    rule: str | None = None
    reason: str | None = None


def judge_entry(
    rules: Rules, *, price: Decimal, volume: Decimal, equity: Decimal, daily_pnl: Decimal
) -> Verdict:
    """Whether to enter, and how large: a fixed part of *equity*, within the limits of *rules*.

    *price* and *volume* are of the candle the signal came from.
    """
    with exact():
        budget = amount_rounded(max(equity, ZERO) * rules.equity_fraction)
    requested = quantity_rounded_down(budget, price)
    allowed = min(requested, quantity_rounded_down(rules.max_notional, price))
    checks = [
        _check("max_daily_loss", rules.max_daily_loss, -daily_pnl, passed=-daily_pnl <= rules.max_daily_loss),
        _check("min_volume", ZERO, volume, passed=volume > 0),
        _check("min_quantity", ZERO, allowed, passed=allowed > 0),
        _check("max_notional", rules.max_notional, budget, passed=allowed == requested),
    ]
    reasons = {
        "max_daily_loss": "the loss of the day is above its limit",
        "min_volume": "nothing was traded in the candle",
        "min_quantity": "the equity buys less than the smallest quantity",
    }
    failed = next((check["check"] for check in checks if not check["passed"]), None)
    if failed in reasons:
        return Verdict(RiskVerdict.REJECTED, requested, ZERO, checks, failed, reasons[failed])
    if failed:
        return Verdict(
            RiskVerdict.RESIZED, requested, allowed, checks, failed, "the position is above its limit"
        )
    return Verdict(RiskVerdict.APPROVED, requested, allowed, checks)


def allow_exit(quantity: Decimal) -> Verdict:
    """An exit is never refused."""
    return Verdict(RiskVerdict.APPROVED, quantity, quantity, [])


def _check(name: str, limit: Decimal, value: Decimal, *, passed: bool) -> dict[str, Any]:
    return {"check": name, "limit": canonical(limit), "value": canonical(value), "passed": passed}
