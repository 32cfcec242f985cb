"""After a crash: is what was acknowledged there, what was not whole or absent, and all of it once?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import select

from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import Fill
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.state.verification import verify
from tests.crash.audit import audit_differences
from tests.crash.calls import JOURNALED
from tests.crash.expected import differences, expected_rows
from tests.crash.lifecycles import FILLS, Lifecycle, What, accounts_of, lifecycle
from tests.crash.record import Course, Record
from tests.crash.rows import Rows, stored_rows

Answers = Mapping[str, dict[str, Any]]


@dataclass
class Verdict:
    """*checked* calls must be there, and are but for *violations*; of calls in flight some were, some not."""

    checked: int = 0
    whole: int = 0
    absent: int = 0
    violations: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Verdict") -> Self:
        self.checked += other.checked
        self.whole += other.whole
        self.absent += other.absent
        self.violations += other.violations
        return self


async def check(database: Database, record: Record, seed: int) -> Verdict:
    """As `check_in`, of what is committed."""
    async with database.transaction(read_only=True, snapshot=True) as uow:
        return await check_in(uow, record, seed)


async def check_in(uow: UnitOfWork, record: Record, seed: int) -> Verdict:
    """Compare all there is in the accounts of *record* with what was announced.

    Of a call in flight it is known from then on whether it happened.
    """
    accounts = accounts_of(record.generation)
    plans = {name: lifecycle(seed, name) for name in record.courses}
    stored = await stored_rows(uow, accounts, plans.values())
    answers = await _stored_fills(uow, accounts)
    verdict = Verdict(violations=await audit_differences(uow, accounts))
    for account in accounts:
        outcome = await verify(uow, account_id=account)
        verdict.violations += [f"the books of {account} differ: {each}" for each in outcome.differences]
    for line in differences({}, stored.get(None, {})):
        verdict.violations.append(f"rows nobody asked for: {line}")
    for name, course in record.courses.items():
        verdict += _check_course(plans[name], course, stored.get(name, {}))
        verdict.violations += _answers(plans[name], course, answers)
    return verdict


def _check_course(plan: Lifecycle, course: Course, stored: Rows) -> Verdict:
    verdict = Verdict(checked=course.done)
    certain = list(differences(expected_rows(plan, course.done), stored))
    if not course.in_flight:
        verdict.violations += [_named(plan, course, line) for line in certain]
        return verdict
    possible = list(differences(expected_rows(plan, course.begun), stored))
    if not possible:
        # Where a call leaves no row, as a fill that comes again, it makes no difference.
        course.done = course.begun
        verdict.whole += 1
    elif not certain:
        course.begun = course.done
        verdict.absent += 1
    else:
        closest = min(certain, possible, key=len)
        verdict.violations += [_named(plan, course, line) for line in closest]
    return verdict


def _named(plan: Lifecycle, course: Course, line: str) -> str:
    last = plan.calls[course.done - 1] if course.done else "nothing"
    doing = f", in flight: {plan.calls[course.done]}" if course.in_flight else ""
    return f"lifecycle {plan.key} (acknowledged up to call {course.done}: {last}{doing}): {line}"


def _answers(plan: Lifecycle, course: Course, stored: Answers) -> Iterator[str]:
    """What acknowledged calls gave back, against what is stored."""
    for place, answer in course.answers.items():
        call = plan.calls[place]
        for told in answer:
            if told.get("result") == JOURNALED:
                continue  # what became of it was not known yet
            if call.what is What.MOVE_STOP:
                if told != {"row_version": 2}:
                    yield _named(plan, course, f"{call} answered {told}")
                continue
            once = told["result"] == FillResult.DUPLICATE or call.what in FILLS
            facts = {name: value for name, value in told.items() if name not in {"result", "fill"}}
            if told["result"] not in {FillResult.APPLIED, FillResult.DUPLICATE} or not once:
                yield _named(plan, course, f"{call} was answered {told['result']}")
            elif stored.get(told["fill"]) != facts:
                yield _named(plan, course, f"{call} answered {told}, stored is {stored.get(told['fill'])}")


async def _stored_fills(uow: UnitOfWork, accounts: Iterable[str]) -> Answers:
    columns = (Fill.id, Fill.position_id, Fill.trade_id, Fill.applied_seq, Fill.realized_pnl)
    rows = await uow.session.execute(select(*columns).where(Fill.account_id.in_(accounts)))
    return {
        str(row.id): {
            "position_id": str(row.position_id),
            "trade_id": str(row.trade_id),
            "applied_seq": row.applied_seq,
            "realized_pnl": _text(row.realized_pnl),
        }
        for row in rows
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)
