"""Caches of rows: the interface, and L1, which keeps them in this process.

A cache is asked first and told last. Whoever reads or writes the database takes a `moment` before, and hands
it over with the row after: a row that was on its way while someone else wrote it is not kept.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from gal_friday.dal.detached import column_values, detached_entity

R = TypeVar("R", bound=Any)

DEFAULT_CAPACITY = 10_000
DEFAULT_MAX_AGE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in the life of one cache: *told* writes had been told by then; *seconds* are its clock's."""

    told: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Figures of a cache since it was made; *hits* and *misses* are answers of `get`.

    *expired* of the misses were entries that had grown too old. *evicted* entries made room for others,
    *refused* rows came too late to be kept.
    """

    size: int
    hits: int
    misses: int
    expired: int
    evicted: int
    refused: int


class Cache(Protocol[R]):
    """Rows of one table by key. What goes in and what comes out are copies: changing one leaves the others.

    A row is an entity with `created_at` and `row_version`.
    """

    def moment(self) -> Moment:
        """Now: to be taken before the database is asked."""
        ...

    async def get(self, key: Hashable) -> R | None:
        """The row, or None where it is not kept or is too old."""
        ...

    async def put(self, key: Hashable, row: R, *, since: Moment, written: bool = False) -> None:
        """Keep *row*, of a read or, with *written*, a committed write that began after the moment *since*.

        A later state of the row stays. Where none is kept but a write was told since, nothing is kept: nobody
        knows which came last.
        """
        ...

    async def discard(self, key: Hashable) -> None:
        """The row was written or removed, as yet unknown how."""
        ...

    async def clear(self) -> None:
        """Any row may have been written."""
        ...

    def stats(self) -> CacheStats:
        """Figures so far."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    model: type[Any]
    values: dict[str, Any]
    state: tuple[datetime, int]
    age_from: float


class L1Cache(Generic[R]):
    """At most *capacity* rows in this process, those asked for least recently making room.

    Rows read longer ago than *max_age_seconds* are not given out (None: at any age, 0: never), which bounds
    for how long a write of another process can stay unseen. For one event loop.
    """

    def __init__(
        self,
        *,
        capacity: int = DEFAULT_CAPACITY,
        max_age_seconds: float | None = DEFAULT_MAX_AGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._told = 0
        #: At which count each key's last write was told; of keys told before those, `_told_before` says.
        self._told_of: OrderedDict[Hashable, int] = OrderedDict()
        self._told_before = 0
        self._hits = self._misses = self._expired = self._evicted = self._refused = 0

    def moment(self) -> Moment:
        return Moment(self._told, self._clock())

    async def get(self, key: Hashable) -> R | None:
        entry = self._entries.get(key)
        if entry is not None and not self._is_fresh(entry):
            del self._entries[key]
            self._expired += 1
            entry = None
        if entry is None:
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        row: R = detached_entity(entry.model, entry.values)
        return row

    async def put(self, key: Hashable, row: R, *, since: Moment, written: bool = False) -> None:
        entry = self._entries.get(key)
        # Larger for later states: a row that was removed and stored again counts its versions anew.
        state = row.created_at, row.row_version
        if entry is not None and self._is_fresh(entry):
            is_too_late = entry.state > state
        else:
            is_too_late = self._told_of.get(key, self._told_before) > since.told
        if written:
            self._tell(key)
        if is_too_late:
            self._refused += 1
            return
        self._entries[key] = _Entry(type(row), column_values(row), state, since.seconds)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
            self._evicted += 1

    async def discard(self, key: Hashable) -> None:
        self._entries.pop(key, None)
        self._tell(key)

    async def clear(self) -> None:
        self._entries.clear()
        self._told_of.clear()
        self._told += 1
        self._told_before = self._told

    def stats(self) -> CacheStats:
        return CacheStats(
            len(self._entries), self._hits, self._misses, self._expired, self._evicted, self._refused
        )

    def _is_fresh(self, entry: _Entry) -> bool:
        return self._max_age_seconds is None or self._clock() - entry.age_from < self._max_age_seconds

    def _tell(self, key: Hashable) -> None:
        self._told += 1
        self._told_of[key] = self._told
        self._told_of.move_to_end(key)
        if len(self._told_of) > self._capacity:
            _, self._told_before = self._told_of.popitem(last=False)
