"""`python -m tests.crash.client URL SEED JOURNAL`: the bot whose calls are struck.

It reads a line of work, makes calls in several tasks at once until it reads the next line, and announces
each before and after, one line each, straight to the pipe: what was written outlives it.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.journal import FactJournal
from gal_friday.database import Database
from gal_friday.errors import LeaseLost
from gal_friday.state.leases import Lease, hold_lease
from gal_friday.state.recovery import recover
from tests.crash.calls import Caller
from tests.crash.lifecycles import TASKS, Lifecycle, Name, account_of, accounts_of
from tests.waiting import until

APPLICATION = "crash-client"
SETTINGS = DatabaseSettings(
    application_name=APPLICATION,
    pool_size=TASKS,
    max_overflow=2,
    connect_timeout_seconds=2,
    acquire_timeout_seconds=5,
    statement_timeout_seconds=5,
    idle_in_transaction_timeout_seconds=1,
    retry_timeout_seconds=10,
)
#: How long a task that has failed twice waits before it tries again.
PAUSE_SECONDS = 0.05

JOURNAL_BYTES = 1 << 26
#: How long a fact waits for the database before it goes to the journal.
PATIENCE_SECONDS = 0.3

LEASE_SECONDS = 2.0
#: Where the process before was killed, its lease has to expire; where it was stopped, its transaction.
LONGEST_WAIT_SECONDS = 60.0


@asynccontextmanager
async def a_journal(pool: DatabaseConnectionPool, directory: Path) -> AsyncIterator[FactJournal]:
    """The facts left in *directory*, delivered, and place for more."""
    journal = await FactJournal.open(
        pool, directory, max_bytes=JOURNAL_BYTES, patience_seconds=PATIENCE_SECONDS
    )
    try:
        await journal.drain()
        yield journal
    finally:
        await journal.close()


def lead(database: Database, account_id: str) -> AbstractAsyncContextManager[Lease]:
    return hold_lease(
        database, account_id=account_id, ttl_seconds=LEASE_SECONDS, wait_seconds=LONGEST_WAIT_SECONDS
    )


def announce(said: str, **facts: Any) -> None:
    line = json.dumps({"said": said, "at": time.monotonic(), **facts})
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


class Leader:
    """Leads the accounts that are traded in, and has recovered them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._generation: int | None = None
        self._leases = AsyncExitStack()
        #: A call was refused for want of the lease.
        self.was_refused = False

    async def lead(self, generation: int) -> None:
        if generation == self._generation and not self.was_refused:
            return
        await self._leases.aclose()
        for account in accounts_of(generation):
            lease = await self._leases.enter_async_context(lead(self._database, account))
            journal = self._database.journal
            (await recover(self._database, account_id=account, lease=lease, journal=journal)).require()
        self._generation, self.was_refused = generation, False


class Task:
    """One of the tasks: its lifecycles one after the other, the unfinished ones first."""

    def __init__(
        self,
        database: Database,
        leader: Leader,
        *,
        seed: int,
        generation: int,
        number: int,
        stopping: asyncio.Event,
    ) -> None:
        self._database = database
        self._leader = leader
        self._caller = Caller(database, account_of(generation, number))
        self._seed = seed
        self._generation = generation
        self._number = number
        self._stopping = stopping
        self._has_set_aside = False

    async def run(self, unfinished: list[tuple[int, int]], following: int) -> None:
        for number, done in unfinished:
            await self._go_through(number, done)
        while not self._stopping.is_set():
            await self._go_through(following, 0)
            following += 1

    async def _go_through(self, number: int, done: int) -> None:
        name = Name(self._generation, self._number, number)
        plan = Lifecycle(self._seed, name)
        while done < len(plan.calls) and not self._stopping.is_set():
            if await self._make(plan, done):
                done += 1
            elif not self._has_set_aside:
                # Nobody touches it until it was looked at: it must be there whole, or not at all.
                self._has_set_aside = True
                return
            else:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _is_stored(self) -> bool:
        """Whether what the next call builds on is in the database, and no longer in the journal."""
        return not self._database.journal.pending()

    async def _make(self, plan: Lifecycle, place: int) -> bool:
        call = {"of": plan.name, "call": place, "what": plan.calls[place].what}
        announce("began", **call)
        try:
            answer = await self._caller.make(plan, plan.calls[place])
        except Exception as error:  # noqa: BLE001 -- whatever it is, the bench judges it
            self._leader.was_refused |= isinstance(error, LeaseLost)
            announce("failed", **call, error=type(error).__name__, message=str(error)[:500])
            return False
        announce("acknowledged", **call, answer=answer)
        await until(self._is_stored, "the journal is not delivered", seconds=LONGEST_WAIT_SECONDS)
        return True


async def do(
    database: Database, leader: Leader, seed: int, work: dict[str, Any], stopping: asyncio.Event
) -> None:
    """Lead the accounts, and trade in them until *stopping* is set."""
    await leader.lead(work["generation"])
    async with asyncio.TaskGroup() as tasks:
        for number, task in enumerate(work["tasks"]):
            options = {"seed": seed, "generation": work["generation"], "number": number}
            worker = Task(database, leader, stopping=stopping, **options)
            tasks.create_task(worker.run(task["unfinished"], task["next"]))


async def main(url: str, seed: int, journal: Path) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        os._exit(0)  # the bench is gone

    threading.Thread(target=read, daemon=True).start()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(DatabaseConnectionPool(SETTINGS, url=make_url(url)))
        kept = await stack.enter_async_context(a_journal(pool, journal))
        database = Database(pool, kept)
        leader = Leader(database)
        while True:
            stopping = asyncio.Event()
            work = json.loads(await lines.get())
            working = asyncio.create_task(do(database, leader, seed, work, stopping))
            await lines.get()
            stopping.set()
            await working
            announce("paused")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
