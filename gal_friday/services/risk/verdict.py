"""What follows from the checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from gal_friday.dal.models.enums import RiskVerdict
from gal_friday.money import ZERO, exact, steps_rounded_down
from gal_friday.services.risk.checks import Check, CheckResult, halt, limit_checks, min_notional
from gal_friday.services.risk.situation import Situation

_IT_REDUCES = "what makes a position smaller is not refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, how many contracts it allows, and every check that was made."""

    decision: RiskVerdict
    quantity: Decimal
    checks: Sequence[CheckResult]
    rule: str | None = None
    reason: str | None = None


def judge(situation: Situation, extra_checks: Sequence[Check] = ()) -> Verdict:
    """What may be ordered of what is asked for.

    A halt stops everything. Otherwise the part that reduces a position is always allowed, and the rest as far
    as every check passes: the smallest of the quantities the failed ones would pass, in whole steps of the
    instrument. The rule named is the check that allows least.
    """
    with exact():
        halted = halt(situation)
        checks = [
            halted,
            *(result for limits in situation.limits for result in limit_checks(situation, limits)),
            *(check(situation) for check in extra_checks),
        ]
        if not halted.passed:
            return Verdict(RiskVerdict.HALTED, ZERO, checks, halted.check, halted.explanation())
        return _judge_size(situation, checks)


def _judge_size(situation: Situation, checks: list[CheckResult]) -> Verdict:
    asked, reduction = situation.quantity, situation.reduction

    def allows(check: CheckResult) -> Decimal:
        largest = check.largest_quantity
        return ZERO if largest is None or largest >= asked else largest

    tightest = min((check for check in checks if not check.passed), key=allows, default=None)
    allowed = asked if tightest is None else max(reduction, _whole_steps(situation, allows(tightest)))
    if allowed > reduction:
        for worth in min_notional(situation, allowed):
            checks.append(worth)
            if not worth.passed:
                allowed, tightest = reduction, worth
    if tightest is None:
        return Verdict(RiskVerdict.APPROVED, asked, checks)
    if allowed == asked:
        return Verdict(RiskVerdict.APPROVED, asked, checks, tightest.check, _IT_REDUCES)
    decision = RiskVerdict.RESIZED if allowed else RiskVerdict.REJECTED
    return Verdict(decision, allowed, checks, tightest.check, tightest.explanation())


def _whole_steps(situation: Situation, quantity: Decimal) -> Decimal:
    step = situation.instrument.quantity_step
    return steps_rounded_down(quantity, step or Decimal("1e-8"))
