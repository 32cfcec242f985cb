"""Steps of a reconciliation, stored many at a time; a bad record does not hide the others."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import AlreadyExists, ConstraintViolated, InvalidValue, NotFound
from gal_friday.services.reconciliation.rehearsal import Store
from gal_friday.services.reconciliation.report import Difference, Repair

Finding = Repair | Difference
Work = Callable[[UnitOfWork], Awaitable[Sequence[Finding]]]

_AT_ONCE = 50
#: What is wrong with one record and says nothing of the others.
_OF_ONE_RECORD = (AlreadyExists, ConstraintViolated, InvalidValue, NotFound)


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done, and about which of the exchange's records."""

    about: str
    work: Work


class StepRunner:
    """Does steps in a store. `problems` has those that could not be done, and why."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.problems: list[str] = []

    async def do(self, steps: Sequence[Step]) -> list[Finding]:
        """Do each of *steps*, some of them in one transaction."""
        found: list[Finding] = []
        for start in range(0, len(steps), _AT_ONCE):
            some = steps[start : start + _AT_ONCE]
            found += await self.do_together(partial(_one_after_the_other, some), some)
        return found

    async def do_together(self, together: Work, one_by_one: Sequence[Step]) -> Sequence[Finding]:
        """Do *together*, or where a record is in its way, the same *one_by_one*."""
        try:
            return await self._store.do(together)
        except _OF_ONE_RECORD:
            found: list[Finding] = []
            for step in one_by_one:
                try:
                    found += await self._store.do(step.work)
                except _OF_ONE_RECORD as error:
                    self.problems.append(f"{step.about}: {error}")
            return found


async def _one_after_the_other(steps: Sequence[Step], uow: UnitOfWork) -> Sequence[Finding]:
    return [each for step in steps for each in await step.work(uow)]
