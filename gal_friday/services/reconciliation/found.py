"""What one reading of both sides came to, and what two of them agree on."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gal_friday.services.reconciliation.report import Difference, Repair


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Counts of what was read, and what came of it."""

    orders: int
    fills: int
    balances: int
    repairs: list[Repair] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def with_answers(self, problems: Iterable[str], failures: Iterable[str]) -> "Found":
        """Together with what was not understood and not answered."""
        return replace(
            self,
            problems=list(dict.fromkeys([*problems, *self.problems])),
            failures=list(dict.fromkeys([*failures, *self.failures])),
        )

    def confirmed_by(self, again: "Found", *, repaired_before: bool) -> "Found":
        """The differences both readings show, and what both stored where the first one did store it."""
        seen = {difference.identity for difference in self.differences}
        confirmed = [difference for difference in again.differences if difference.identity in seen]
        stored = [*self.repairs, *again.repairs] if repaired_before else again.repairs
        both = replace(again, repairs=stored, differences=confirmed)
        return both.with_answers(self.problems, self.failures)
