"""What the bench's client does: lifecycles from a signal to a position closed, each from its name alone."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import NamedTuple
from uuid import NAMESPACE_OID, UUID, uuid5

from gal_friday.dal.models import Side
from tests.factories import NOON

TASKS = 8
TASKS_PER_ACCOUNT = 4
_PAIRS = ("BTC/USD", "ETH/USD")


class Name(NamedTuple):
    """A lifecycle: the *number*-th of a *task*, in the accounts of one *generation* of rounds."""

    generation: int
    task: int
    number: int

    def __str__(self) -> str:
        return f"{self.generation}.{self.task}.{self.number}"


def account_of(generation: int, task: int) -> str:
    """Several tasks trade in one account, and get in each other's way there."""
    return f"crash-{generation}-{task // TASKS_PER_ACCOUNT}"


def accounts_of(generation: int) -> list[str]:
    return sorted({account_of(generation, task) for task in range(TASKS)})


class What(StrEnum):
    """A call of the API; each of them can be made again when it is not known what came of it."""

    TAKE_SIGNAL = "take signal"
    DECIDE = "decide"
    SUBMIT = "submit"
    ACKNOWLEDGE = "acknowledge"
    FILL = "fill"
    FILL_IN_UNIT_OF_WORK = "fill in a unit of work"
    FILL_TWICE_AT_ONCE = "fill, twice at once"
    FILL_AGAIN = "fill, again"
    SAVE_ENTRY = "save entry"
    MOVE_STOP = "move stop"
    SAVE_PORTFOLIO = "save portfolio"
    REQUEST_CANCEL = "request cancel"
    CANCELED = "canceled"


FILLS = frozenset({What.FILL, What.FILL_IN_UNIT_OF_WORK, What.FILL_TWICE_AT_ONCE})
#: What the exchange says, and is stored whoever leads the account; a unit of work intends something besides.
FACTS = frozenset(
    {
        What.ACKNOWLEDGE,
        What.FILL,
        What.FILL_TWICE_AT_ONCE,
        What.FILL_AGAIN,
        What.CANCELED,
        What.SAVE_PORTFOLIO,
    }
)


@dataclass(frozen=True, slots=True)
class OrderPlan:
    role: str
    order_id: UUID
    client_order_id: str
    exchange_order_id: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    signal_id: UUID | None = None
    parent_order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class FillPlan:
    fill_id: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    filled_at: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """One call; *fills* are reported together, all or none."""

    what: What
    order: OrderPlan | None = None
    fills: tuple[FillPlan, ...] = ()

    def __str__(self) -> str:
        parts = [
            self.what.value,
            *([self.order.role] if self.order else []),
            *(f.fill_id for f in self.fills),
        ]
        return " ".join(parts)


@dataclass
class Lifecycle:
    """The plan of lifecycle *name* of a bench with this *seed*."""

    seed: int
    name: Name
    calls: tuple[Call, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.seed}:{self.name}")
        self.account_id = account_of(self.name.generation, self.name.task)
        self.strategy_id = self.account_id
        self.key = f"{self.account_id}:{self.name}"
        self.pair = self.dice.choice(_PAIRS)
        self.side = self.dice.choice(list(Side))
        self.price = Decimal(self.dice.randint(1_000, 99_999)).scaleb(-1)
        self.fingerprint = hashlib.sha256(f"{self.seed}:{self.key}".encode()).hexdigest()
        self.signal_id = self.id("signal")
        self.decision_id = self.id("decision")
        self.calls = tuple(self._calls())

    def id(self, what: str) -> UUID:
        return uuid5(NAMESPACE_OID, f"{self.seed}:{self.key}:{what}")

    def at(self, seconds: int) -> datetime:
        """A moment of the exchange's clock."""
        return NOON + timedelta(minutes=self.name.number, seconds=seconds)

    @property
    def orders(self) -> list[OrderPlan]:
        return list(dict.fromkeys(call.order for call in self.calls if call.order is not None))

    def _calls(self) -> Iterator[Call]:
        entry = self._order("entry", self.side, Decimal(3), signal_id=self.signal_id)
        stop = self._order("stop", _opposite(self.side), Decimal(2), parent_order_id=entry.order_id)
        # Five flip the position: three close it, two open the other side.
        leave = self._order("exit", _opposite(self.side), self.dice.choice((Decimal(3), Decimal(5))))
        yield Call(What.TAKE_SIGNAL)
        yield Call(What.DECIDE)
        yield Call(What.SUBMIT, entry)
        yield Call(What.ACKNOWLEDGE, entry)
        for number in range(3):
            fill = self._fill(entry, number, Decimal(1))
            yield Call(self.dice.choice(sorted(FILLS)), entry, (fill,))
            if self.dice.random() < 0.3:
                yield Call(What.FILL_AGAIN, entry, (fill,))
        yield Call(What.SAVE_ENTRY)
        yield Call(What.SUBMIT, stop)
        yield Call(What.ACKNOWLEDGE, stop)
        yield Call(What.MOVE_STOP)
        if self.dice.random() < 0.5:
            yield Call(What.FILL, stop, (self._fill(stop, 0, Decimal(1)),))
        yield Call(What.REQUEST_CANCEL, stop)
        yield Call(What.CANCELED, stop)
        yield Call(What.SUBMIT, leave)
        first, last = self._fill(leave, 0, Decimal(1)), self._fill(leave, 1, leave.quantity - 1)
        if self.dice.random() < 0.5:
            yield Call(self.dice.choice((What.FILL, What.FILL_IN_UNIT_OF_WORK)), leave, (first, last))
        else:
            yield Call(What.FILL, leave, (first,))
            yield Call(self.dice.choice(sorted(FILLS)), leave, (last,))
        yield Call(What.SAVE_PORTFOLIO)

    def _order(
        self,
        role: str,
        side: Side,
        quantity: Decimal,
        *,
        signal_id: UUID | None = None,
        parent_order_id: UUID | None = None,
    ) -> OrderPlan:
        name = f"{self.key}:{role}"
        return OrderPlan(
            role=role,
            order_id=self.id(role),
            client_order_id=name,
            exchange_order_id=f"venue:{name}",
            side=side,
            quantity=quantity,
            limit_price=self.price,
            signal_id=signal_id,
            parent_order_id=parent_order_id,
        )

    def _fill(self, order: OrderPlan, number: int, quantity: Decimal) -> FillPlan:
        return FillPlan(
            fill_id=f"{order.client_order_id}:{number}",
            quantity=quantity,
            price=self.price + Decimal(self.dice.randint(-500, 500)).scaleb(-2),
            commission=Decimal(self.dice.randint(0, 300)).scaleb(-2),
            filled_at=self.at(10 + number),
        )


def _opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


@cache
def lifecycle(seed: int, name: Name) -> Lifecycle:
    """The plan of *name*, made once."""
    return Lifecycle(seed, name)
