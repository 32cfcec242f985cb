"""Where an instance can be stopped: before each request to the database and around each call to the exchange.

The places are numbered; what happens at which number is drawn from the seed, so that it happens there again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tests.simulation.chance import Chance, weighted


class Fault(StrEnum):
    KILL = "killed"
    KILL_AFTER = "killed before the answer"
    PAUSE = "paused"
    CUT = "connection cut"
    CUT_AFTER = "connection cut before the answer"
    TERMINATE = "backend terminated"


#: Faults of a connection, which can happen to requests only.
OF_CONNECTIONS = (Fault.CUT, Fault.CUT_AFTER, Fault.TERMINATE)

_WEIGHTS = [
    (Fault.KILL, 15),
    (Fault.KILL_AFTER, 15),
    (Fault.PAUSE, 20),
    (Fault.CUT, 15),
    (Fault.CUT_AFTER, 20),
    (Fault.TERMINATE, 15),
]


@dataclass(slots=True)
class Gate:
    """Counts the places one instance passes, and holds it where the next fault is due."""

    chance: Chance
    name: str
    mean_distance: int
    on_fault: Callable[[Fault, int], None]
    is_calm: bool = False
    passed: int = 0
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    _due: int = 0
    _fault: Fault = Fault.KILL

    def __post_init__(self) -> None:
        self.awake.set()
        self._plan()

    def wake(self) -> None:
        """Let a paused instance go on."""
        self.paused.clear()
        self.awake.set()

    async def call(self) -> None:
        """A call to the exchange, or its answer, passes here."""
        await self._stay_dead()
        fault = self._next(is_request=False)
        if fault is not None:
            await self._hold(fault)

    async def request(self, before_pause: Callable[[], Awaitable[None]]) -> Fault | None:
        """A request to the database passes here; gives back what is to happen to its connection."""
        await self._stay_dead()
        fault = self._next(is_request=True)
        if fault in {Fault.KILL, Fault.PAUSE}:
            await self._hold(fault, before_pause)
            return None
        return fault

    def answered(self, fault: Fault) -> None:
        """The server has answered the request that this is to happen after."""
        if fault is Fault.KILL_AFTER:
            self.killed.set()

    async def _stay_dead(self) -> None:
        if self.killed.is_set():
            await asyncio.Event().wait()

    async def _hold(self, fault: Fault, before_pause: Callable[[], Awaitable[None]] | None = None) -> None:
        if fault is not Fault.PAUSE:
            self.killed.set()
            await asyncio.Event().wait()
        self.awake.clear()
        if before_pause is not None:
            await before_pause()
        self.paused.set()
        await self.awake.wait()
        await self._stay_dead()

    def _next(self, *, is_request: bool) -> Fault | None:
        self.passed += 1
        if self.passed < self._due or self.is_calm:
            return None
        if not is_request and self._fault in OF_CONNECTIONS:
            return None  # at the next place where it can happen
        fault = self._fault
        self.on_fault(fault, self.passed)
        self._plan()
        return fault

    def _plan(self) -> None:
        generator = self.chance.of("gate", self.name)
        self._fault = weighted(generator, _WEIGHTS)
        self._due = self.passed + generator.randint(1, 2 * self.mean_distance)
