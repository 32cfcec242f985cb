"""One of the competing instances: killed, paused and started again, always under the same name."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from tests.simulation.bot import Desk
from tests.simulation.ccxt_shapes import Shape
from tests.simulation.exchange import Exchange
from tests.simulation.feed import Feed
from tests.simulation.gate import Fault, Gate
from tests.simulation.listening import hear, poll
from tests.simulation.process import Process
from tests.simulation.wire import Wire
from tests.simulation.world import World


class Instance:
    """What stays when its process dies: its place in the world. Each start is another process."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.starts = 0
        self.exchange = Exchange(world.venue, world.chance, name)
        self.feed = Feed(world.venue, world.agenda, world.chance, name)
        self.process: Process[Desk] | None = None
        self.is_calm = False
        self._world = world
        self._network = AsyncExitStack()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    async def start(self) -> None:
        """Begin anew, with nothing in memory."""
        if self.is_running:
            return
        await self._network.aclose()
        self.starts += 1
        name = f"{self.name}{self.starts}"
        gate = Gate(self._world.chance, name, self._noted, is_calm=self.is_calm)
        wire = Wire(self._world.url, gate, self._world.terminate)
        self.exchange.checkpoint = gate.call
        process: Process[Desk] = Process(name, gate, wire)
        self.process = process
        url = await self._network.enter_async_context(wire.url())

        async def life() -> None:
            settings = DatabaseSettings(
                application_name=name, pool_size=2, retry_timeout_seconds=self.patience_seconds
            )
            async with DatabaseConnectionPool(settings, url=url) as pool:
                desk = Desk.of(name, Database(pool), self.exchange, self._world.market, self._world.record)
                await poll(desk)
                await process.live(desk)

        self._world.record.note(name, "starts")
        await process.start(life)
        self.listen()
        self._mourn()

    patience_seconds = 10.0

    def listen(self) -> None:
        """Connect to the exchange's stream."""
        if self.is_running:
            self.feed.connect(self._hear)

    async def do(self, what: str, step: Callable[[Desk], Awaitable[None]]) -> None:
        """Have its process do *step*, if it has one."""
        if self.process is None or not self.process.is_running:
            return

        async def tried(desk: Desk) -> None:
            await desk.tried(what, lambda: step(desk))

        await self.process.do(tried)
        self._mourn()

    async def wake(self) -> None:
        """Let it go on where it was paused."""
        if self.process is not None and self.process.is_paused:
            self._world.record.note(self.process.name, "wakes")
            await self.process.wake()
            self._mourn()

    async def calm(self) -> None:
        """No more faults of its own: it runs."""
        self.is_calm = self.exchange.is_calm = True
        if self.process is not None:
            self.process.gate.is_calm = True
            self.process.wire.is_away = False
        await self.wake()
        await self.start()
        self.listen()

    async def close(self) -> None:
        if self.process is not None and self.process.is_running:
            await self.process.kill()
        await self._network.aclose()

    async def _hear(self, kind: str, shape: Shape) -> None:
        await self.do("hearing", lambda desk: hear(desk, kind, shape))

    def _noted(self, fault: Fault, place: int) -> None:
        assert self.process is not None
        self._world.record.note(self.process.name, "is", fault, "at", place)
        if fault in {Fault.KILL, Fault.KILL_AFTER}:
            self._world.record.dead.add(self.process.name)
        if fault is Fault.PAUSE:
            delay = self._world.chance.of("pause", self.name).randint(1, 8)
            self._world.agenda.after(timedelta(minutes=delay), self.wake)

    def _mourn(self) -> None:
        """Where it was killed, it starts again some time later."""
        if self.process is not None and not self.process.is_running:
            self.process = None
            self.feed.disconnect()
            delay = self._world.chance.of("restart", self.name).randint(1, 5)
            self._world.agenda.after(timedelta(minutes=delay), self.start)
