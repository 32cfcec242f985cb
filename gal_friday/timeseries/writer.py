"""TimeSeriesWriter: points go to their store in the background; whoever measures never waits."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from gal_friday.config import SpoolSettings
from gal_friday.errors import LogFull, LogUnwritable, PersistenceError
from gal_friday.timeseries.batches import Batch
from gal_friday.timeseries.delivery import BatchDelivery, TakesPoints, is_held_up
from gal_friday.timeseries.line_protocol import encode
from gal_friday.timeseries.points import Measured
from gal_friday.timeseries.spool import Spool
from gal_friday.timeseries.writer_stats import WriterStats

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.05, 2.0
#: Points encoded in one go: a piece of memory that is given up as a whole.
ENCODED_AT_ONCE = 500
#: Line protocol that makes a batch, however few lines that is.
BATCH_BYTES = 1024 * 1024
#: How long a batch waits for the store while memory fills up behind it.
PRESSED_PATIENCE_SECONDS = 0.05
#: How long a batch waits for the store at the end.
LAST_TRY_SECONDS = 1.0
_READ_AT_ONCE = 8

log = logging.getLogger(__name__)


class _Piece(NamedTuple):
    """Line protocol, and of how many points."""

    lines: bytes
    points: int


class TimeSeriesWriter:
    """Points on their way to one store.

    `write` puts them into memory and returns. A task makes batches of them and brings them to the store;
    where that has no answer in `patience_seconds`, where anything waits on disk already, or where memory
    fills up, a batch goes to the spool instead, which another task delivers in order. For one event loop,
    not for threads.
    """

    def __init__(self, store: TakesPoints, spool: Spool, settings: SpoolSettings) -> None:
        self._settings = settings
        self._spool = spool
        self._delivery = BatchDelivery(store, spool)
        self._stats = WriterStats(adopted=spool.pending, damaged=tuple(spool.damaged))
        self._pieces: deque[_Piece] = deque()
        self._bytes = 0
        self._taken = 0  # points that are no longer among the pieces
        self._settled = 0  # points that have left memory, wherever to
        self._lost_meanwhile = 0  # points behind the batch in hand, which has not left it yet
        self._has_batch_in_hand = False
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._delivering: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        # Of its own, so that nobody's slow work holds points up.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="time-series")
        self._pumping = asyncio.create_task(self._pump(), name="time-series-writer")
        self._pumping.add_done_callback(self._tell_of_its_end)
        self._deliver_soon()

    @classmethod
    async def open(cls, store: TakesPoints, directory: Path, settings: SpoolSettings) -> Self:
        """The writer for *store*, with what was left for it in *directory*.

        Raises LogUnwritable and LogFull where nothing can be written there.
        """
        return cls(store, await Spool.open(directory, max_bytes=settings.max_bytes), settings)

    def write(self, *points: Measured) -> None:
        """Hand *points* over; never waits. They are safe once a `flush` that comes after has returned.

        Raises InvalidValue for a point that cannot be stored; then none is taken. Where memory is full, as
        neither store nor disk keeps up, the oldest points go, counted and logged.
        """
        self.write_all(points)

    def write_all(self, points: Iterable[Measured]) -> None:
        """`write` for many."""
        if self._is_closing:
            raise LogUnwritable("the writer is closed", directory=str(self._spool.directory))
        given = tuple(points)
        few = [given[begin : begin + ENCODED_AT_ONCE] for begin in range(0, len(given), ENCODED_AT_ONCE)]
        pieces = [_Piece(encode(each), len(each)) for each in few]
        self._pieces.extend(pieces)
        self._bytes += sum(len(piece.lines) for piece in pieces)
        self._stats.accepted += len(given)
        while self._bytes > self._settings.max_buffered_bytes:
            self._drop_oldest()
        if self._bytes >= self._settings.max_buffered_bytes // 2:
            self._hurry.set()
        buffered = self._stats.accepted - self._taken
        if buffered >= self._settings.batch_size or self._bytes >= BATCH_BYTES:
            self._wake.set()
        elif buffered and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._settings.flush_interval_seconds, self._wake.set)

    async def flush(self) -> None:
        """Return once every point handed over so far is with the store or on disk."""
        if self._settled < self._stats.accepted:
            flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._flushes.append((self._stats.accepted, flushed))
            self._wake.set()
            await flushed

    async def drain(self) -> None:
        """Return once the store has everything. Raises why it does not take it; that waits on disk then."""
        await self.flush()
        while await self._deliver_some():
            pass

    def stats(self) -> WriterStats:
        """Figures as of now."""
        return replace(
            self._stats,
            buffered=self._stats.accepted - self._settled,
            pending=self._spool.pending,
            bytes=self._spool.size,
            dropped=self._stats.dropped + self._spool.dropped,
        )

    async def close(self) -> None:
        """Bring what is in memory to the store or to the disk; what waits on the disk stays there."""
        if self._is_closing:
            return
        self._is_closing = True
        self._hurry.set()
        self._wake.set()
        try:
            await self._pumping
        finally:
            tasks = [task for task in (self._delivering, *self._abandoned) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if pending := self._spool.pending:
                facts = {"points": pending, "directory": str(self._spool.directory)}
                log.warning("points stay in the spool", extra=facts | {"error": self._stats.last_error})
            self._thread.shutdown()
            await self._spool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _pump(self) -> None:
        while not (self._is_closing and not self._pieces):
            await self._wake.wait()
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            until = self._stats.accepted
            while self._pieces and self._settled < until:
                piece = self._next_batch()
                self._has_batch_in_hand = True
                loop = asyncio.get_running_loop()
                await self._bring(await loop.run_in_executor(self._thread, Batch.of, *piece))
                self._has_batch_in_hand = False
                self._settle(piece.points + self._lost_meanwhile)
                self._lost_meanwhile = 0

    def _next_batch(self) -> "_Piece":
        """As many of the oldest points as make a batch."""
        pieces: list[_Piece] = []
        points = size = 0
        while self._pieces and points < self._settings.batch_size and size < BATCH_BYTES:
            pieces.append(self._pieces.popleft())
            points += pieces[-1].points
            size += len(pieces[-1].lines)
        self._taken += points
        self._bytes -= size
        if self._bytes < self._settings.max_buffered_bytes // 2 and not self._is_closing:
            self._hurry.clear()
        return _Piece(b"\n".join(piece.lines for piece in pieces), points)

    def _settle(self, points: int) -> None:
        self._settled += points
        while self._flushes and self._flushes[0][0] <= self._settled:
            _, flushed = self._flushes.popleft()
            if not flushed.done():
                flushed.set_result(None)

    async def _bring(self, batch: Batch) -> None:
        """*batch* to the store or, where that does not take it now, to the disk; until one of them has it."""
        wait_seconds = FIRST_WAIT_SECONDS
        while True:
            if self._spool.is_empty and await self._try_directly(batch):
                return
            try:
                await self._spool.keep(batch)
            except (LogFull, LogUnwritable) as error:
                self._hold_up(error)
                if self._is_closing:
                    self._lose(batch.points, "points are lost at the end: neither store nor disk takes them")
                    return
                await self._pause(wait_seconds)
                wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)
            else:
                self._stats.spooled += batch.points
                self._deliver_soon()
                return

    async def _try_directly(self, batch: Batch) -> bool:
        """Whether the store has dealt with *batch* in time."""
        attempt = asyncio.create_task(self._delivery.deliver(batch))
        pressed = asyncio.create_task(self._hurry.wait())
        try:
            patience_seconds = self._settings.patience_seconds
            either = asyncio.FIRST_COMPLETED
            await asyncio.wait({attempt, pressed}, timeout=patience_seconds, return_when=either)
            if not attempt.done() and pressed.done():
                rest_seconds = LAST_TRY_SECONDS if self._is_closing else PRESSED_PATIENCE_SECONDS
                await asyncio.wait({attempt}, timeout=min(patience_seconds, rest_seconds))
        finally:
            pressed.cancel()
            if not attempt.done():
                self._abandon(attempt)
        if not attempt.done():
            self._hold_up(TimeoutError("no answer in time"))
            return False
        if error := attempt.exception():
            self._hold_up(error)
            return False
        self._took(batch, attempt.result())
        return True

    def _abandon(self, attempt: "asyncio.Task[int]") -> None:
        attempt.cancel()
        self._abandoned.add(attempt)
        attempt.add_done_callback(self._forget)

    def _forget(self, attempt: "asyncio.Task[int]") -> None:
        self._abandoned.discard(attempt)
        if not attempt.cancelled():
            attempt.exception()  # it is of no interest any more

    def _deliver_soon(self) -> None:
        if self._delivering is None and not self._is_closing and not self._spool.is_empty:
            self._delivering = asyncio.create_task(self._keep_delivering(), name="time-series-spool")

    async def _keep_delivering(self) -> None:
        wait_seconds = FIRST_WAIT_SECONDS
        try:
            while True:
                try:
                    if not await self._deliver_some():
                        return
                    wait_seconds = FIRST_WAIT_SECONDS
                except Exception as error:  # noqa: BLE001 -- who delivers must not end while points wait
                    self._hold_up(error)
                    await self._pause(max(wait_seconds, _asked_for(error)))
                    wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)
        finally:
            self._delivering = None

    async def _deliver_some(self) -> bool:
        """Deliver some of what waits on disk; False where nothing does. Raises why it is not possible."""
        async with self._one_at_a_time:
            found = await self._spool.first(_READ_AT_ONCE)
            for waiting in found:
                if not self._spool.is_waiting(waiting):  # it was dropped to make room
                    continue
                batch = Batch.decode(waiting.record.payload)
                refused = await self._delivery.deliver(batch)
                self._took(batch, refused)
                await self._spool.done(waiting)
            return bool(found)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * random.uniform(0.5, 1))  # noqa: S311 -- no secret

    def _took(self, batch: Batch, refused: int) -> None:
        self._stats.delivered += batch.points - refused
        self._stats.refused += refused
        self._stats.last_error = None

    def _drop_oldest(self) -> None:
        """Neither store nor disk keeps up: as many of the oldest lines as make a batch."""
        lost = self._next_batch().points
        self._lose(lost, "memory is full, and neither store nor disk keeps up: the oldest were dropped")
        if self._has_batch_in_hand:
            self._lost_meanwhile += lost
        else:
            self._settle(lost)

    def _tell_of_its_end(self, pumping: "asyncio.Task[None]") -> None:
        error = None if pumping.cancelled() else pumping.exception()
        if error is not None:
            log.critical("points are no longer taken to their store", exc_info=error)
        for _, flushed in self._flushes:
            if not flushed.done():
                flushed.set_exception(error or LogUnwritable("the writer was broken off"))

    def _lose(self, points: int, what: str) -> None:
        self._stats.dropped += points
        log.error(what, extra={"points": points, "error": self._stats.last_error})

    def _hold_up(self, error: BaseException) -> None:
        """Count and, unless that is known, log why points do not get on."""
        self._stats.failures += 1
        known, self._stats.last_error = self._stats.last_error, str(error) or type(error).__name__
        if known == self._stats.last_error:
            return
        facts = {"points": self._spool.pending, "error": self._stats.last_error}
        if isinstance(error, TimeoutError) or is_held_up(error):
            log.warning("points go to the spool", extra=facts)
        else:
            is_ours = isinstance(error, PersistenceError)
            log.error("points do not get to their store", extra=facts, exc_info=None if is_ours else error)


def _asked_for(error: Exception) -> float:
    """How long the server asks to be left alone."""
    seconds = error.facts.get("retry_after_seconds") if isinstance(error, PersistenceError) else None
    return seconds if isinstance(seconds, float) else 0.0
