"""A work item: what is done, how much of it, and by whom."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from benchmarks.harness.workbench import Workbench

T = TypeVar("T")

#: Does the work once for one input.
Operation = Callable[[T], Awaitable[object]]
#: Opens a peer and gives its operation.
Opening = Callable[[Workbench], AbstractAsyncContextManager[Operation[T]]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table: an item under one condition."""

    name: str = ""
    #: PostgreSQL's synchronous_commit.
    synchronous: bool = True
    tasks: int = 1
    #: Of every peer's pool; as many as there are tasks unless said otherwise.
    connections: int = 0
    #: How much of the item's size is a turn; at least one unit is.
    share: float = 1


#: With every commit on disk before it is acknowledged, and without waiting for it.
DURABILITY = (Variant("on"), Variant("off", synchronous=False))
CONCURRENCY = (Variant("sequential"), Variant("8 tasks", tasks=8))


async def _nothing(_: Workbench) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Item(Generic[T]):
    """One piece of work, the same for every peer.

    A turn is `prepare`, which is not timed, and then the peer's operation on each of the inputs it gave,
    which is. `Workbench.size` counts orders, rows or whatever `unit` names. A figure is units per second
    where that ends with "/s", and else the time of one.
    """

    key: str
    title: str
    unit: str
    #: Inputs of a turn: many for operations done one by one, a single one for a bulk.
    prepare: Callable[[Workbench], Awaitable[Sequence[T]]]
    #: Units in a turn of the long and the quick run.
    size: int
    quick_size: int
    #: Made once in the item's database, before any peer is opened.
    setup: Callable[[Workbench], Awaitable[None]] = _nothing
    variants: Sequence[Variant] = (Variant(),)
    #: The peer every other is compared with, in the same round.
    floor: str = "asyncpg"
    #: Whether peak memory is measured, in a process of its own for each peer.
    measures_memory: bool = False
    #: Rounds of a long run; turns that take seconds are repeated less.
    rounds: int = 11
    openings: dict[str, Opening[T]] = field(default_factory=dict)

    def peer(self, name: str) -> Callable[[Opening[T]], Opening[T]]:
        """Register how the peer *name*, as the table calls it, does this work."""

        def register(opening: Opening[T]) -> Opening[T]:
            self.openings[name] = opening
            return opening

        return register

    def row(self, variant: Variant) -> str:
        """The name of a row of the table, like "W1 on"."""
        return f"{self.key} {variant.name}".strip()


AnyItem = Item[Any]
