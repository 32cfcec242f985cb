"""A process of the bot, simulated: it does one step after the other, and can be killed or paused in any."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from tests.simulation.gate import Gate
from tests.simulation.wire import Wire

T = TypeVar("T")

#: Something a process does with what it has in memory.
Step = Callable[[T], Awaitable[None]]
#: The whole life of a process: it opens what it needs, and hands it to `Process.live`.
Life = Callable[[], Awaitable[None]]


class Process(Generic[T]):
    """One life, from its start to its kill. What it has in memory ends with it."""

    def __init__(self, name: str, gate: Gate, wire: Wire) -> None:
        self.name = name
        self.gate = gate
        self.wire = wire
        self._inbox: asyncio.Queue[Step[T]] = asyncio.Queue()
        self._is_waiting = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._life is not None and not self._life.done()

    @property
    def is_paused(self) -> bool:
        return self.gate.paused.is_set()

    async def start(self, life: Life) -> None:
        """Begin, and return once it waits for its first step, or is held."""
        self._life = asyncio.ensure_future(life())
        await self._follow()

    async def do(self, step: Step[T]) -> None:
        """Have it do *step*, and return when it is done or held; later, where it is paused."""
        if not self.is_running:
            return
        self._inbox.put_nowait(step)
        self._is_waiting.clear()
        if not self.is_paused:
            await self._follow()

    async def wake(self) -> None:
        """Let it go on where it was paused, and do what came meanwhile."""
        if self.is_running and self.is_paused:
            self.gate.wake()
            await self._follow()

    async def kill(self) -> None:
        """End it where it is. Nothing it would do about that reaches anybody."""
        self.gate.killed.set()
        self.gate.wake()
        await self.wire.cut_and_settled()
        assert self._life is not None
        while not self._life.done():
            self._life.cancel()
            await asyncio.wait({self._life}, timeout=0.05)
        if not self._life.cancelled() and (error := self._life.exception()) is not None:
            del error  # whatever it felt as it died

    async def live(self, memory: T) -> None:
        """Do the steps as they come, with what it has in *memory*."""
        while True:
            if self._inbox.empty():
                self._is_waiting.set()
            step = await self._inbox.get()
            await step(memory)

    async def _follow(self) -> None:
        """Return when it has nothing to do, is paused, or was killed. Raises what ended it otherwise."""
        assert self._life is not None
        held = [self._is_waiting, self.gate.killed, self.gate.paused]
        waits = [asyncio.ensure_future(event.wait()) for event in held]
        await asyncio.wait([self._life, *waits], return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self.gate.killed.is_set():
            await self.kill()
        elif self._life.done():
            self._life.result()
