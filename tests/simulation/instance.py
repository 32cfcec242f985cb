"""One of the competing instances: killed, paused and started again, always under the same name."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from gal_friday.errors import DatabaseUnavailable
from tests.simulation.bot import Desk
from tests.simulation.ccxt_shapes import Shape
from tests.simulation.checking import check_restored
from tests.simulation.exchange import Exchange
from tests.simulation.feed import Feed
from tests.simulation.gate import Fault, Gate
from tests.simulation.journal import open_journal
from tests.simulation.listening import deliver, hear
from tests.simulation.process import Process
from tests.simulation.recovering import come_to_lead
from tests.simulation.upkeep import manage
from tests.simulation.wire import Wire
from tests.simulation.world import World

log = logging.getLogger(__name__)

#: How long a lease outlives its holder's last sign of life.
TTL = timedelta(minutes=3)
PATIENCE_SECONDS = 3.0
#: For how long to try again while the database is away, which it is for minutes.
IMPATIENCE_SECONDS = 0.01


class Instance:
    """What stays when its process dies: its place in the world. Each start is another process."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.starts = 0
        self.exchange = Exchange(world.venue, world.chance, name)
        self._disk = world.disk / name
        self.feed = Feed(world.venue, world.agenda, world.chance, name)
        self.process: Process[Desk] | None = None
        self.is_calm = False
        self._world = world
        self._pool: DatabaseConnectionPool | None = None
        self._signs_of_life = world.agenda.now
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
        gate = Gate(self._world.chance, name, self._world.weather, self._noted, is_calm=self.is_calm)
        wire = Wire(self._world.url, gate, self._world.terminate)
        self.exchange.checkpoint = gate.call
        process: Process[Desk] = Process(name, gate, wire)
        self.process = process
        url = await self._network.enter_async_context(wire.url())

        async def life() -> None:
            settings = DatabaseSettings(
                application_name=name, pool_size=2, retry_timeout_seconds=PATIENCE_SECONDS
            )
            async with DatabaseConnectionPool(settings, url=url) as pool:
                self._pool = pool
                journal = await open_journal(pool, self._disk)
                desk = Desk.of(
                    name,
                    Database(pool, journal),
                    self.exchange,
                    self._world.market,
                    self._world.record,
                    on_restored=partial(check_restored, self._world),
                )
                try:
                    await process.live(desk)
                finally:
                    self._set_patience(IMPATIENCE_SECONDS)  # nobody hears what it still tries
                    await asyncio.gather(journal.drop(), desk.leave())

        self._world.record.note(name, "starts")
        await self._held(process.start(life))
        self.listen()
        await self.do("competing", come_to_lead)

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

        await self._held(self.process.do(tried))

    async def live_on(self) -> None:
        """What a process does every minute: it renews its lease, asks for one, leads."""
        if self._can_renew:
            self._signs_of_life = self._world.agenda.now
        elif self.process is not None and self._world.agenda.now - self._signs_of_life >= TTL:
            await self._world.expire_lease_of(self.process.name)
        await self.do("delivering", deliver)
        await self.do("competing", come_to_lead)
        await self.do("managing", manage)

    @property
    def _can_renew(self) -> bool:
        process = self.process
        return (
            process is not None and process.is_running and not process.is_paused and not process.wire.is_away
        )

    async def go_away(self) -> None:
        """The database cannot be reached any more; what takes half a minute else takes no time here."""
        if self.process is not None and self._pool is not None:
            self._world.record.note(self.process.name, "database away")
            self._world.record.counts["database away"] += 1
            self.process.wire.is_away = True
            self.process.wire.cut()
            self._set_patience(IMPATIENCE_SECONDS)

    async def come_back(self) -> None:
        if self.process is not None and self._pool is not None and self.process.wire.is_away:
            self._world.record.note(self.process.name, "database back")
            self.process.wire.is_away = False
            self._set_patience(PATIENCE_SECONDS)

    def _set_patience(self, seconds: float) -> None:
        assert self._pool is not None
        settings = self._pool._settings
        self._pool._settings = settings.model_copy(update={"retry_timeout_seconds": seconds})

    async def wake(self) -> None:
        """Let it go on where it was paused."""
        if self.process is not None and self.process.is_paused:
            self._world.record.note(self.process.name, "wakes")
            await self._held(self.process.wake())

    async def calm(self) -> None:
        """No more faults of its own: it runs."""
        self.is_calm = self.exchange.is_calm = True
        if self.process is not None:
            self.process.gate.is_calm = True
        await self.come_back()
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
        self._world.record.counts[fault] += 1
        if fault in {Fault.KILL, Fault.KILL_AFTER}:
            self._world.record.dead.add(self.process.name)
        if fault is Fault.PAUSE:
            delay = self._world.chance.of("pause", self.name).randint(1, 8)
            self._world.agenda.after(timedelta(minutes=delay), self.wake)

    async def _held(self, doing: Awaitable[None]) -> None:
        try:
            await doing
        except DatabaseUnavailable:  # it had just begun, and was not even connected
            self._world.record.note(self.name, "ends with", DatabaseUnavailable.__name__)
        except Exception as error:
            name = self.process and self.process.name
            self._world.record.note(self.name, "ends with", type(error).__name__)
            self._world.record.violated("P21", f"process {name} ended with {error!r}")
            log.exception("a process ended by itself")
        self._mourn()

    def _mourn(self) -> None:
        """Where it was killed, it starts again some time later."""
        if self.process is not None and not self.process.is_running:
            self._world.agenda.after(TTL, partial(self._world.expire_lease_of, self.process.name))
            self.process = None
            self.feed.disconnect()
            delay = self._world.chance.of("restart", self.name).randint(1, 5)
            self._world.agenda.after(timedelta(minutes=delay), self.start)
