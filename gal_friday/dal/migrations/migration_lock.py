"""One migrates, the others wait: an advisory lock on a connection of its own.

The lock is polled. A session waiting inside pg_advisory_lock holds a snapshot, and CREATE INDEX
CONCURRENTLY in the session that migrates waits for every older snapshot: neither would ever end.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import BigInteger, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gal_friday.errors import ConnectionLost, MigrationLockTimeout

log = logging.getLogger(__name__)

T = TypeVar("T")

LOCK_KEY = int.from_bytes(b"gal_frid")  # in each database its own: advisory locks are the database's
POLL_SECONDS = 0.1

# Alembic keeps the environment it works in in globals of the process.
_this_process = threading.Lock()
_jitter = random.SystemRandom()

_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)").bindparams(bindparam("key", LOCK_KEY, BigInteger))
_HOLDER = text("""
    SELECT activity.pid, activity.application_name
    FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
    WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
      AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND held.classid::bigint = :key >> 32 AND held.objid::bigint = :key & 4294967295
""").bindparams(bindparam("key", LOCK_KEY, BigInteger))


class MigrationLock:
    """The lock while it is held."""

    def __init__(self, waited_seconds: float) -> None:
        self.waited_seconds = waited_seconds
        #: Set once the connection holding the lock broke: from then on another process may migrate.
        self.lost = asyncio.Event()

    async def while_held(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work*, which is cancelled if the lock is lost before it is done.

        Raises ConnectionLost then.
        """
        task, lost = asyncio.ensure_future(work), asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ConnectionLost("it held the migration lock; stopped, because others may migrate now")
            return task.result()
        finally:
            for unfinished in (task, lost):
                unfinished.cancel()
            await asyncio.wait((task, lost))


@asynccontextmanager
async def migration_lock(engine: AsyncEngine, *, wait_seconds: float) -> AsyncIterator[MigrationLock]:
    """Hold the lock of *engine*'s database.

    Raises MigrationLockTimeout, naming who holds it, after *wait_seconds*.
    """
    start = time.monotonic()
    await _wait_for_this_process(start, wait_seconds)
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await _wait_for_server(connection, start, wait_seconds)
            lock = MigrationLock(time.monotonic() - start)
            driver_connection: Any = (await connection.get_raw_connection()).driver_connection
            driver_connection.add_termination_listener(lambda _: lock.lost.set())
            yield lock  # closing the connection releases the lock
    finally:
        _this_process.release()


async def _wait_for_this_process(start: float, wait_seconds: float) -> None:
    while not _this_process.acquire(blocking=False):
        await _pause(start, wait_seconds, {"holder": "this process"})


async def _wait_for_server(connection: AsyncConnection, start: float, wait_seconds: float) -> None:
    announced = False
    while not await connection.scalar(_TRY_LOCK):
        holder = (await connection.execute(_HOLDER)).one_or_none()
        facts: dict[str, Any] = (
            {"pid": holder.pid, "application_name": holder.application_name} if holder else {}
        )
        if not announced:
            log.info("waiting for another process to migrate", extra=facts)
            announced = True
        await _pause(start, wait_seconds, facts)


async def _pause(start: float, wait_seconds: float, holder: dict[str, Any]) -> None:
    waited_seconds = time.monotonic() - start
    if waited_seconds >= wait_seconds:
        raise MigrationLockTimeout(**holder, waited_seconds=round(waited_seconds, 1))
    await asyncio.sleep(_jitter.uniform(0.5, 1.5) * POLL_SECONDS)
