"""Time, compressed: what happens next happens now. Nobody sleeps."""

import heapq
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 1, 5, tzinfo=UTC)

#: Something that happens, once its time has come.
Happening = Callable[[], Awaitable[None]]


@dataclass(order=True, slots=True)
class _Entry:
    at: datetime
    number: int
    happening: Happening = field(compare=False)


@dataclass(slots=True)
class Agenda:
    """The clock of a simulation, and what is yet to happen.

    One thing happens after the other, by time, then in the order they were put down.
    """

    now: datetime = BEGINNING
    _entries: list[_Entry] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def elapsed(self) -> timedelta:
        """Time since the beginning."""
        return self.now - BEGINNING

    def after(self, delay: timedelta, happening: Happening) -> None:
        heapq.heappush(self._entries, _Entry(self.now + delay, next(self._numbers), happening))

    async def run_until(self, end: datetime) -> None:
        """Let everything up to *end* happen."""
        while self._entries and self._entries[0].at <= end:
            entry = heapq.heappop(self._entries)
            self.now = max(self.now, entry.at)
            await entry.happening()
        self.now = end
