"""FactJournal: what the exchange says is on disk at once while the database is away, and in it afterwards."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.journal.delivery import FactDelivery, is_away
from gal_friday.dal.journal.facts import heard_at
from gal_friday.dal.journal.stats import JournalStats
from gal_friday.durable_log.log import DurableLog
from gal_friday.durable_log.merging import first_of
from gal_friday.durable_log.refused import RefusedRecords
from gal_friday.durable_log.slots import Slots, claim, give_up
from gal_friday.errors import DatabaseUnavailable, LogFull, LogUnwritable, PersistenceError

T = TypeVar("T")

LARGEST_BATCH = 256
LAST_TRY_SECONDS = 5.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.05, 1.0

log = logging.getLogger(__name__)


class FactJournal:
    """Facts that wait for one database, on disk.

    While any waits, the next are put behind it, and a task in the background takes them to the database in
    order, each once. Without slots (`enabled` is off) there is no journal: facts wait for the database only.
    """

    def __init__(
        self,
        pool: DatabaseConnectionPool,
        directory: Path | None = None,
        slots: Slots | None = None,
        *,
        patience_seconds: float = 1.0,
    ) -> None:
        self._directory = directory
        self._slots = slots
        self._patience_seconds = patience_seconds
        self._stats = JournalStats()
        self._idle = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._delivering: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._batch = LARGEST_BATCH
        self._done: dict[DurableLog, int] = {}
        self._is_closing = False
        if directory is not None and slots is not None:
            self._refused = RefusedRecords(directory)
            self._delivery = FactDelivery(pool, self._refused, self._stats)
            self._stats.adopted = self.pending()
            self._stats.refused = len(self._refused.lines())
            self._stats.damaged = tuple(str(each.facts["file"]) for each in slots.damaged)

    @classmethod
    async def open(
        cls, pool: DatabaseConnectionPool, directory: Path, *, max_bytes: int, patience_seconds: float
    ) -> Self:
        """The journal of the database of *pool* in *directory*, with the facts that were left there.

        Raises LogUnwritable and LogFull where nothing can be written there.
        """
        slots = await claim(directory, max_bytes=max_bytes)
        return cls(pool, directory, slots, patience_seconds=patience_seconds)

    @property
    def is_enabled(self) -> bool:
        """Whether facts are put on disk while the database is away."""
        return self._slots is not None

    def pending(self) -> int:
        """How many facts wait for the database."""
        return sum(each.pending for each in self._logs)

    def stats(self) -> JournalStats:
        """Figures as of now."""
        return replace(self._stats, pending=self.pending(), bytes=sum(each.bytes for each in self._logs))

    async def take(
        self, direct: Callable[[], Coroutine[Any, Any, T]], facts: Callable[[], Sequence[bytes]]
    ) -> T | None:
        """What *direct* gives; None where the database is away, and *facts* are on disk instead.

        It is given `patience_seconds`, and not tried while facts wait already. What it raises otherwise is
        raised. Where the disk does not take them, it is *direct* that counts, however long it takes.
        """
        if self._slots is None:
            return await direct()
        if not self.pending():
            attempt = asyncio.create_task(direct())
            try:
                await asyncio.wait({attempt}, timeout=self._patience_seconds)
            finally:
                if not attempt.done():
                    self._abandon(attempt)
            if attempt.done():
                error = attempt.exception()
                if error is None:
                    return attempt.result()
                if not is_away(error):
                    raise error
            log.warning("the database is away, facts go to the journal", extra={"error": _cause(attempt)})
        try:
            await self.keep(facts())
        except (LogFull, LogUnwritable) as error:
            log.error("facts cannot be journaled", extra={"error": str(error)})  # noqa: TRY400 -- no bug
            return await direct()
        return None

    async def keep(self, facts: Sequence[bytes]) -> None:
        """Put *facts* on disk, behind those that wait, and see to their delivery.

        Raises LogFull and LogUnwritable.
        """
        assert self._slots is not None, "there is no journal"
        self._idle.clear()
        try:
            await self._slots.own.append(facts)
        finally:
            self._idle_if_nothing_waits()
        self._stats.journaled += len(facts)
        self.deliver_soon()

    def deliver_soon(self) -> None:
        """See to it that what waits is delivered, in the background, as soon as the database takes it."""
        if self._delivering is None and not self._is_closing and self.pending():
            self._delivering = asyncio.create_task(self._keep_delivering())
            self._delivering.add_done_callback(_tell_of_its_end)

    async def drain(self) -> JournalStats:
        """Deliver what waits, now. Raises why it is not possible; what was not delivered waits on then."""
        while await self._deliver_some():
            pass
        return self.stats()

    async def drain_or_wait(self) -> None:
        """Deliver what waits, now if the database takes it, else in the background."""
        try:
            await self.drain()
        except PersistenceError as error:
            log.warning("facts wait", extra={"facts": self.pending(), "error": str(error)})
            self.deliver_soon()

    async def caught_up(self) -> None:
        """Return once nothing waits. Raises DatabaseUnavailable after `patience_seconds`."""
        if self.pending():
            try:
                async with asyncio.timeout(self._patience_seconds):
                    await self._idle.wait()
            except TimeoutError:
                raise DatabaseUnavailable(
                    "facts wait in the journal for it", facts=self.pending(), error=self._stats.last_error
                ) from None

    async def retry_refused(self) -> int:
        """Put what was refused back into the journal, once the reason is gone; how many facts that were."""
        if not self._refused.lines():
            return 0
        with await asyncio.to_thread(self._refused.locked):
            if facts := self._refused.records():
                await self.keep(facts)
            self._refused.path.unlink()
            self._stats.refused = 0
        return len(facts)

    async def close(self) -> None:
        """Deliver what the database takes now, and leave nothing on disk but what it does not."""
        if self._slots is None or self._is_closing:
            return
        self._is_closing = True
        tasks = [task for task in (self._delivering, *self._abandoned) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            try:
                while True:
                    async with asyncio.timeout(LAST_TRY_SECONDS):
                        if not await self._deliver_some():
                            break
            except Exception as error:  # noqa: BLE001 -- the facts stay on disk, and the log is given up
                self._hold_up(error)
        if pending := self.pending():
            log.warning(
                "facts stay in the journal",
                extra={"facts": pending, "directory": str(self._directory), "error": self._stats.last_error},
            )
        assert self._directory is not None
        await give_up(self._directory, self._slots)

    @property
    def _logs(self) -> Sequence[DurableLog]:
        return [] if self._slots is None else self._slots.all

    def _abandon(self, attempt: "asyncio.Task[Any]") -> None:
        attempt.cancel()
        self._abandoned.add(attempt)
        attempt.add_done_callback(self._forget)

    def _forget(self, attempt: "asyncio.Task[Any]") -> None:
        self._abandoned.discard(attempt)
        if not attempt.cancelled():
            attempt.exception()  # it is of no interest any more

    async def _keep_delivering(self) -> None:
        wait_seconds = FIRST_WAIT_SECONDS
        try:
            while True:
                try:
                    if not await self._deliver_some():
                        return
                    wait_seconds = FIRST_WAIT_SECONDS
                except Exception as error:  # noqa: BLE001 -- who delivers must not end while facts wait
                    self._hold_up(error)
                    await asyncio.sleep(wait_seconds)
                    wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)
        finally:
            self._delivering = None

    async def _deliver_some(self) -> bool:
        """Deliver a batch; False where there was none. Raises why it is not possible."""
        async with self._one_at_a_time:
            await self._advance()
            batch = await first_of(self._logs, self._batch, heard_at)
            if not batch:
                self._stats.last_error = None
                self._idle_if_nothing_waits()
                return False
            dealt_with = iter(batch)

            def done(count: int) -> None:
                for each in islice(dealt_with, count):
                    self._done[each.log] = each.record.sequence

            try:
                await self._delivery.deliver([each.record.payload for each in batch], done)
            except BaseException:
                self._batch = max(1, self._batch // 2)  # a batch may be more than the server does in its time
                raise
            else:
                self._batch = min(LARGEST_BATCH, 2 * self._batch)
            finally:
                await self._advance()
            return True

    async def _advance(self) -> None:
        """Put on disk what is dealt with; where that fails, it is for the next time, and not done again."""
        for each, sequence in self._done.items():
            if sequence > each.delivered:
                await each.advance(sequence)

    def _idle_if_nothing_waits(self) -> None:
        if not self.pending():
            self._idle.set()

    def _hold_up(self, error: Exception) -> None:
        """Note and, unless that is known, log why delivery does not get on."""
        known, self._stats.last_error = self._stats.last_error, str(error) or type(error).__name__
        facts = {"facts": self.pending(), "error": self._stats.last_error}
        if isinstance(error, PersistenceError) and is_away(error):
            if known is None:
                log.warning("facts wait", extra=facts)
        elif known != self._stats.last_error:
            log.error("facts wait, and not for the database", extra=facts, exc_info=error)


def _tell_of_its_end(delivering: "asyncio.Task[None]") -> None:
    if not delivering.cancelled() and (error := delivering.exception()):
        log.critical("facts are no longer delivered", exc_info=error)


def _cause(attempt: "asyncio.Task[Any]") -> str:
    if attempt.done() and not attempt.cancelled() and (error := attempt.exception()):
        return str(error)
    return "no answer in time"
