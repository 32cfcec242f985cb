"""What a reconciliation found and did."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from gal_friday.money import canonical


class RepairKind(StrEnum):
    """What was stored because the exchange says so."""

    ORDER_ADOPTED = "ORDER_ADOPTED"
    STATUS = "STATUS"
    AMENDMENT = "AMENDMENT"
    FILL = "FILL"
    FEE = "FEE"


class DifferenceKind(StrEnum):
    """What no fact decides."""

    #: Sent or about to be, never acknowledged, and the exchange does not know it by our id.
    ORDER_IN_DOUBT = "ORDER_IN_DOUBT"
    #: We have it as working; the exchange knows no such order.
    ORDER_UNKNOWN_THERE = "ORDER_UNKNOWN_THERE"
    #: The exchange lists it without our id, and it looks like one of ours in doubt.
    ORDER_MAY_BE_OURS = "ORDER_MAY_BE_OURS"
    #: Several of its orders carry our id, or it is of another pair or side.
    ORDER_CONTRADICTS = "ORDER_CONTRADICTS"
    #: We asked for a cancel, and the order still works there.
    CANCEL_IN_DOUBT = "CANCEL_IN_DOUBT"
    STATUS = "STATUS"
    #: The exchange says more is filled than its executions show.
    FILLS_MISSING = "FILLS_MISSING"
    #: More is filled by its executions than the exchange says of the order.
    FILLS_IN_EXCESS = "FILLS_IN_EXCESS"
    FILL_DIFFERS = "FILL_DIFFERS"
    FILL_WITHOUT_ORDER = "FILL_WITHOUT_ORDER"
    FILL_REJECTED = "FILL_REJECTED"
    BALANCE = "BALANCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a repair or a difference is about, by whichever names it has."""

    order_id: UUID | None = None
    client_order_id: str | None = None
    exchange_order_id: str | None = None
    trading_pair: str | None = None
    fill_id: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was stored, or would be in a dry run."""

    kind: RepairKind
    subject: Subject
    detail: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not repaired: how it stands with us and with the exchange.

    `amount` is by how much they differ where that is an amount: theirs less ours.
    """

    kind: DifferenceKind
    subject: Subject
    ours: str | None
    theirs: str | None
    amount: Decimal | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it the same difference when it is seen again."""
        values = (self.amount,) if self.kind is DifferenceKind.BALANCE else (self.ours, self.theirs)
        names = (self.subject.exchange_order_id, self.subject.client_order_id, self.subject.trading_pair)
        return (self.kind, *names, self.subject.fill_id, self.subject.currency, *values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationReport:
    """The difference between us and the exchange, and what became of it.

    `failures` are questions the exchange did not answer: about what they concern nothing is said.
    `not_understood` are records that make no sense. `repairs` were stored (in a dry run: would be), and
    `differences` were not, since no fact decides them. Amounts are exact, times UTC.
    """

    account_id: str
    exchange: str
    dry_run: bool
    started_at: datetime
    finished_at: datetime
    since: datetime
    orders: int
    fills: int
    balances: int
    repairs: Sequence[Repair] = ()
    differences: Sequence[Difference] = ()
    not_understood: Sequence[str] = ()
    failures: Sequence[str] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the exchange answered everything it was asked, and all of it was understood."""
        return not self.failures and not self.not_understood

    @property
    def agrees(self) -> bool:
        """Whether nothing is known to differ and nothing is unknown."""
        return self.is_complete and not self.differences

    @property
    def orders_in_doubt(self) -> Sequence[Difference]:
        """Orders nobody can tell to be at the exchange, with the client ids to ask for."""
        return self.of_kind(DifferenceKind.ORDER_IN_DOUBT)

    @property
    def balance_differences(self) -> Sequence[Difference]:
        """Currencies of which the exchange has more or less than the books lead to."""
        return self.of_kind(DifferenceKind.BALANCE)

    def of_kind(self, kind: DifferenceKind) -> Sequence[Difference]:
        """Differences of one kind."""
        return [difference for difference in self.differences if difference.kind is kind]

    def repaired(self) -> Mapping[RepairKind, int]:
        """How many repairs of each kind there were."""
        return Counter(repair.kind for repair in self.repairs)

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON: amounts and times as text."""
        plain = _plain(asdict(self) | {"is_complete": self.is_complete, "agrees": self.agrees})
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(item) for name, item in value.items() if item is not None}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Decimal():
            return format(canonical(value), "f")
        case datetime():
            return value.isoformat()
        case StrEnum() | UUID():
            return str(value)
        case _:
            return value
