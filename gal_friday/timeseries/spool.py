"""The spool: batches of points that wait on disk for their store, and outlast any crash there."""

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from gal_friday.durable_log.log import DurableLog
from gal_friday.durable_log.merging import Waiting, first_of
from gal_friday.durable_log.refused import RefusedRecords
from gal_friday.durable_log.slots import Slots, claim, give_up
from gal_friday.timeseries.batches import Batch, made_at, points_in

#: The name of a point in `refused.jsonl`.
REFUSED_NAME = "line"
_REFUSED_BYTES = 64 * 1024 * 1024
_COUNTED_AT_ONCE = 64


class Spool:
    """What waits in a process's slots of a directory, in the order it was made, by whichever process.

    Past *max_bytes* the oldest segments go; `dropped` counts their points. What a store refuses for good is
    set aside in `refused.jsonl`. The same points may be delivered twice, to the same effect.
    """

    def __init__(self, directory: Path, slots: Slots) -> None:
        self.directory = directory
        self.refused = RefusedRecords(directory, REFUSED_NAME, max_bytes=_REFUSED_BYTES)
        self.dropped = 0
        self._slots = slots
        self._counts: dict[DurableLog, deque[tuple[int, int]]] = {log: deque() for log in slots.all}
        self._points = 0

    @classmethod
    async def open(cls, directory: Path, *, max_bytes: int) -> Self:
        """The spool in *directory*, made if missing, with what processes that ended have left there.

        Raises LogUnwritable and LogFull where nothing can be written there.
        """
        slots = await claim(directory, max_bytes=max_bytes, drop_oldest=True)
        spool = cls(directory, slots)
        try:
            for log in slots.all:
                await spool._count(log)
        except BaseException:
            await spool.close()
            raise
        return spool

    @property
    def pending(self) -> int:
        """How many points wait."""
        return self._points

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, not even what is being written."""
        return not any(log.pending for log in self._slots.all)

    @property
    def size(self) -> int:
        """What it takes on disk, in bytes."""
        return sum(log.bytes for log in self._slots.all)

    @property
    def damaged(self) -> Sequence[str]:
        """Files that cannot be read to their end, which nobody may have before a person has looked."""
        return [str(error.facts["file"]) for error in self._slots.damaged]

    async def keep(self, batch: Batch) -> None:
        """Put *batch* on disk, behind what waits. Raises LogFull and LogUnwritable."""
        own = self._slots.own
        sequence = await own.append([batch.encode()])
        self._counts[own].append((sequence, batch.points))
        self._points += batch.points
        self.dropped += self._forget(own, own.delivered)

    async def first(self, limit: int) -> Sequence[Waiting]:
        """At most *limit* of the batches that wait. Raises LogCorrupted and LogUnwritable."""
        return await first_of(self._slots.all, limit, made_at)

    def is_waiting(self, waiting: Waiting) -> bool:
        """Whether it was neither delivered nor dropped since it was read."""
        return waiting.record.sequence > waiting.log.delivered

    async def done(self, waiting: Waiting) -> None:
        """*waiting* and what is before it in its slot is dealt with. Raises LogFull and LogUnwritable."""
        if not self.is_waiting(waiting):  # it was dropped on its way, and has arrived all the same
            self.dropped -= points_in(waiting.record.payload)
        self._forget(waiting.log, waiting.record.sequence)
        # Who closes meanwhile does not want it delivered again.
        await asyncio.shield(waiting.log.advance(waiting.record.sequence))

    async def set_aside(self, refused: Sequence[tuple[bytes, str]]) -> bool:
        """Put lines into `refused.jsonl`, each with its reason; False where that is full.

        Raises LogFull, LogUnwritable and LogInUse.
        """
        return await asyncio.to_thread(self.refused.add_all, refused)

    async def close(self) -> None:
        """Give the spool up, and leave nothing on disk but what waits."""
        await give_up(self.directory, self._slots)

    async def _count(self, log: DurableLog) -> None:
        after = log.delivered
        while found := await log.read(after, limit=_COUNTED_AT_ONCE):
            counted = [(record.sequence, points_in(record.payload)) for record in found]
            self._counts[log] += counted
            self._points += sum(points for _, points in counted)
            after = found[-1].sequence

    def _forget(self, log: DurableLog, sequence: int) -> int:
        """Count no more what *log* had up to *sequence*; how many points that was."""
        counts, forgotten = self._counts[log], 0
        while counts and counts[0][0] <= sequence:
            forgotten += counts.popleft()[1]
        self._points -= forgotten
        return forgotten
