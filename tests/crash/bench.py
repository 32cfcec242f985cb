"""Rounds: trade, strike, wait for the recovery, check; on one database, so that damage would add up."""

import asyncio
import math
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sqlalchemy import make_url, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from tests.conftest import make_template
from tests.crash.check import Verdict, check
from tests.crash.client import APPLICATION, a_journal
from tests.crash.faults import FAULTS, Kind, Scene, in_thread
from tests.crash.lifecycles import accounts_of, lifecycle
from tests.crash.process import ClientProcess
from tests.crash.record import Record
from tests.crash.server import CrashServer
from tests.crash.wire import Wire
from tests.factories import a_strategy
from tests.servers import TRADER, postgres_bin_directories
from tests.waiting import until

ROUNDS_PER_GENERATION = 6
#: Calls acknowledged in a round before it is struck: at least one, at most so many.
MOST_CALLS = 40
LONGEST_MOMENT_SECONDS = 0.02
RECOVERY_SECONDS = 60.0
#: Nothing that must end may take longer.
DEADLINE_SECONDS = 60.0

IS_BUSY = text(
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = :application"
    " AND (state <> 'idle' OR backend_xid IS NOT NULL OR :is_gone)"
)


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one.

    *acknowledged* calls were new since the round before, and so many of them facts that were *journaled*.
    *recovery_seconds* is the time to the first call
    acknowledged again: from the kill, for faults that last from their end, for a client that was killed or
    has lost its lease from its next start.
    """

    number: int
    kind: Kind
    acknowledged: int
    journaled: int
    verdict: Verdict
    recovery_seconds: float


class Bench:
    """A server, a wire and a client; used as an async context manager."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rounds = 0
        self.records: list[Record] = []
        self._dice = random.Random(seed)
        self._client: ClientProcess | None = None
        self._is_working = False
        self._acknowledged_at: list[float] = []

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._server = CrashServer(next(iter(postgres_bin_directories().values())))
            self._log = self._server.directory / "client.log"
            stack.push_async_callback(in_thread, self._server.close)
            await in_thread(self._server.start)
            name = await make_template(self._server)
            owner = make_url(self._server.url(name))
            pool = DatabaseConnectionPool(DatabaseSettings(), url=owner)
            self._database = Database(await stack.enter_async_context(pool))
            self._wire = await stack.enter_async_context(Wire(self._server.port, self._dice))
            self._url = owner.set(username=TRADER, port=self._wire.port).render_as_string()
            stack.push_async_callback(self._end_client)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def record(self) -> Record:
        return self.records[-1]

    async def round(self, kind: Kind) -> Round:
        """Strike once at a moment of the dice, and check what is there afterwards."""
        number = self.rounds
        self.rounds += 1
        if number % ROUNDS_PER_GENERATION == 0:
            await self._begin_generation()
        client = await self._working()
        await self._trade(self._dice.randint(1, MOST_CALLS))
        await asyncio.sleep(self._dice.uniform(0, LONGEST_MOMENT_SECONDS))
        self._acknowledged_at.clear()
        scene = Scene(self._server, self._wire, client, self._database, self.record, self._dice)
        await FAULTS[kind](scene)
        if client.is_alive is (kind is Kind.CLIENT_KILLED):
            self.record.unexcused.append(f"the client died by itself: {self._log.read_text()[-2000:]}")
        goes_on = client.is_alive and not scene.lease_is_lost
        if goes_on:
            recovery = await self._recovery_seconds(scene.struck_at, since=scene.began_at)
        await self._pause()
        await self._server_answers()
        await self._client_is_quiet(is_gone=not client.is_alive)
        if not client.is_alive:
            async with a_journal(self._database.pool, self._server.journal):
                pass  # what it was told and could not store; whoever comes next delivers that
        verdict = await check(self._database, self.record, self.seed)
        acknowledged = self.record.acknowledged - self.record.counted
        self.record.counted += acknowledged
        if not goes_on:
            restarted_at = time.monotonic()
            await self._working()
            recovery = await self._recovery_seconds(restarted_at, since=restarted_at)
        verdict.violations += self.record.unexcused
        self.record.unexcused.clear()
        journaled, self.record.journaled = self.record.journaled, 0
        return Round(number, kind, acknowledged, journaled, verdict, recovery)

    async def check_all(self) -> Verdict:
        """Everything since the beginning, with nobody trading."""
        await self._pause()
        await self._client_is_quiet(is_gone=False)
        verdict = Verdict()
        for record in self.records:
            verdict += await check(self._database, record, self.seed)
        return verdict

    async def _begin_generation(self) -> None:
        await self._pause()
        self.records.append(await begin_generation(self._database, len(self.records)))

    async def _working(self) -> ClientProcess:
        """The client at work; a new one where it is dead."""
        if self._client is None or not self._client.is_alive:
            arguments = [self._url, str(self.seed), str(self._server.journal)]
            self._client = await ClientProcess.start(arguments, self._log, self._hear)
            self._is_working = False
        if not self._is_working:
            lengths = {name: len(lifecycle(self.seed, name).calls) for name in self.record.courses}
            self._client.work(self.record.work(lengths))
            self._is_working = True
        return self._client

    async def _pause(self) -> None:
        if self._client is not None and self._is_working:
            await self._client.pause()
            self._is_working = False

    async def _end_client(self) -> None:
        if self._client is not None:
            await self._client.kill()

    def _hear(self, announcement: dict[str, Any]) -> None:
        self.record.hear(announcement)
        if announcement["said"] == "acknowledged":
            self._acknowledged_at.append(announcement["at"])

    async def _trade(self, calls: int) -> None:
        enough = self.record.acknowledged + calls

        async def is_enough() -> bool:
            return self.record.acknowledged >= enough

        await until(is_enough, "the client makes no progress", seconds=DEADLINE_SECONDS)

    async def _recovery_seconds(self, moment: float, *, since: float) -> float:
        """How long it was from *since* to the first call acknowledged after *moment*."""

        async def has_recovered() -> bool:
            await in_thread(self._server.revive)
            return any(at > moment for at in self._acknowledged_at)

        try:
            await until(has_recovered, "no call succeeds after the fault", seconds=RECOVERY_SECONDS)
        except TimeoutError as error:  # what is stored tells why
            self.record.unexcused.append(str(error))
            return math.inf
        return next(at for at in self._acknowledged_at if at > moment) - since

    async def _server_answers(self) -> None:
        async def answers() -> bool:
            await in_thread(self._server.revive)
            return (await self._database.pool.health_check(timeout_seconds=1)).ok

        await until(answers, "the server does not come back", seconds=DEADLINE_SECONDS)

    async def _client_is_quiet(self, *, is_gone: bool) -> None:
        """Return once the server does nothing any more of what the client had asked for."""
        who = {"application": APPLICATION, "is_gone": is_gone}

        async def is_quiet() -> bool:
            async with self._database.pool.session() as session:
                return bool(await session.scalar(IS_BUSY, who) == 0)

        await until(is_quiet, "the client's transactions do not end", seconds=DEADLINE_SECONDS)


async def begin_generation(database: Database, generation: int) -> Record:
    """Accounts nobody has traded in, each with a strategy of its name."""
    async with database.transaction() as uow:
        for account in accounts_of(generation):
            await uow.accounts.open_account(account)
            await uow.strategies.add(a_strategy(strategy_id=account, name=account))
    return Record(generation)
