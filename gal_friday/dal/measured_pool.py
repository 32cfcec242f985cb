"""A connection pool that knows how long its users wait, and lends connections for single statements."""

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import exc
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util.concurrency import await_only, greenlet_spawn

from gal_friday.dal.error_translation import DRIVER_ERRORS, connection_failure
from gal_friday.errors import PoolTimeout

#: Upper bounds of the wait histogram's buckets, in seconds.
WAIT_BOUNDS_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, float("inf"))


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment; `acquisitions`, `timeouts` and the histogram count from its opening."""

    size: int
    checked_out: int
    checked_in: int
    overflow: int
    waiting: int
    timeouts: int
    acquisitions: int
    #: Pairs (upper bound in seconds, acquisitions within it and above the bound before): the time from asking
    #: for a connection to having it, opening it included.
    wait_seconds: tuple[tuple[float, int], ...]


@dataclass(slots=True)
class Lent:
    """A connection lent for single statements, and when it was first."""

    connection: PoolProxiedConnection
    since: float = field(default_factory=time.monotonic)

    @property
    def is_broken(self) -> bool:
        driver: Any = self.connection.driver_connection
        return driver is None or bool(driver.is_closed())

    @property
    def age(self) -> float:
        return time.monotonic() - self.since


@dataclass(slots=True)
class _Counters:
    waiting: int = 0
    timeouts: int = 0
    acquisitions: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * len(WAIT_BOUNDS_SECONDS))


class MeasuredPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's asyncio pool, measured; exhausted, it raises PoolTimeout with the figures."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._counters = _Counters()
        self._disposed = False
        self._recycle_seconds: float = options["recycle"]
        #: Lent before and given back, each with the moment it was first lent at: out of SQLAlchemy's hands.
        self._kept: list[Lent] = []

    async def lend(self) -> "Lent":
        """A connection for single statements, each a transaction of its own. Raises as `connect` does."""
        while self._kept:
            lent = self._kept.pop()
            if lent.is_broken or lent.age > self._recycle_seconds:
                self.drop(lent)
                continue
            self._counters.acquisitions += 1
            self._counters.buckets[0] += 1
            return lent
        return Lent(await greenlet_spawn(self.connect))

    async def give_back(self, lent: "Lent") -> None:
        """Take back what was lent; kept for the next statement, unless somebody waits for a connection."""
        if self._disposed:
            lent.connection.invalidate()
        elif self._counters.waiting and self.checkedin() < self.size():
            await greenlet_spawn(self._return, lent)  # where the pool has enough it would be closed
        elif self.overflow() > 0 and len(self._kept) >= self.size():
            self.drop(lent)  # the burst it was opened for is over
        else:
            self._kept.append(lent)

    def _return(self, lent: "Lent") -> None:
        """Give what was lent back to SQLAlchemy, as it was before; where that fails it is dropped."""
        driver: Any = lent.connection.driver_connection
        try:
            await_only(driver.unname())
        except (OSError, *DRIVER_ERRORS):
            self.drop(lent)
        except BaseException:
            self.drop(lent)
            raise
        else:
            lent.connection.close()

    def drop(self, lent: "Lent") -> None:
        """Take back what was lent and is of no more use: broken, or too old."""
        lent.connection.invalidate()

    def connect(self) -> PoolProxiedConnection:
        counters = self._counters
        is_exhausted = self.checkedin() == 0 and self._overflow >= self._max_overflow
        if is_exhausted and self._kept:
            self._return(self._kept.pop(0))
            is_exhausted = False
        counters.waiting += is_exhausted
        started = time.monotonic()
        try:
            connection = super().connect()
        except exc.TimeoutError:
            counters.timeouts += 1
            raise self._exhausted() from None
        except (OSError, *DRIVER_ERRORS) as error:  # lost between opening the connection and setting it up
            raise connection_failure(error) from error
        finally:
            counters.waiting -= is_exhausted
        counters.acquisitions += 1
        counters.buckets[bisect_left(WAIT_BOUNDS_SECONDS, time.monotonic() - started)] += 1
        return connection

    def stats(self) -> PoolStats:
        counters = self._counters
        return PoolStats(
            size=self.size(),
            checked_out=self.checkedout() - len(self._kept),
            checked_in=self.checkedin() + len(self._kept),
            overflow=max(0, self.overflow()),
            waiting=counters.waiting,
            timeouts=counters.timeouts,
            acquisitions=counters.acquisitions,
            wait_seconds=tuple(zip(WAIT_BOUNDS_SECONDS, counters.buckets, strict=True)),
        )

    def dispose(self) -> None:
        self._disposed = True
        while self._kept:
            self._kept.pop().connection.close()
        super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if self._disposed:
            record.close()  # nobody would ever take it out again
        else:
            super()._do_return_conn(record)

    def _exhausted(self) -> PoolTimeout:
        stats = self.stats()
        return PoolTimeout(
            size=stats.size,
            checked_out=stats.checked_out,
            overflow=stats.overflow,
            waiting=stats.waiting,
            acquire_timeout_seconds=self.timeout(),
        )
