"""Leading an account: one process at a time, by a lease it renews while it runs."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from sqlalchemy import func, select, text

from gal_friday.dal.connection_pool import DatabaseConnectionPool, lease_clock
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, AccountLease, InstanceStatus, new_id
from gal_friday.dal.open_database import OpenDatabase
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import (
    InvalidValue,
    LeaseHeld,
    LeaseLost,
    LockTimeout,
    PersistenceError,
)

log = logging.getLogger(__name__)

#: A lease is renewed this many times before it would expire.
RENEWALS = 3

#: Markers of commits removed with each renewal, at most: more than are left between two of them.
PRUNED_AT_A_TIME = 10_000


#: How long transactions in the way of a takeover are looked for, at each try.
MAKING_WAY_SECONDS = 1.0

# A process may stop between two messages of a statement. The server takes its transaction for active, waits
# for the next message, and none of its timeouts, for statements or for idle transactions, ends that.
END_WHO_IS_STOPPED = text(
    "SELECT pg_terminate_backend(session.pid)"
    " FROM unnest(pg_blocking_pids(:waiting)) AS blocking (pid)"
    " JOIN pg_stat_activity AS session ON session.pid = blocking.pid"
    " WHERE session.wait_event = 'ClientRead' AND NOT EXISTS ("
    "SELECT FROM account_leases JOIN instance_metadata ON instance_id = holder"
    " WHERE account_leases.account_id = :account_id AND lease_expires_at > clock_timestamp())"
)


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """The right to act for an account, from one process's *epoch* to the next one's.

    `lost` is set once the server has said that somebody else leads the account, and at the end. Until then
    the server decides with every intent; nothing here is a promise.
    """

    account_id: str
    instance_id: str
    epoch: int
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    def check(self) -> None:
        """Raise LeaseLost where it is known to be lost."""
        if self.lost.is_set():
            raise LeaseLost(account_id=self.account_id, epoch=self.epoch, instance_id=self.instance_id)


@asynccontextmanager
async def hold_lease(
    database: OpenDatabase,
    *,
    account_id: str = DEFAULT_ACCOUNT_ID,
    ttl_seconds: float = 15.0,
    wait_seconds: float = 0.0,
    metadata: dict[str, Any] | None = None,
) -> AsyncIterator[Lease]:
    """Lead the account for as long as the block lasts: what *database* intends in it is stored, others' not.

    This process becomes an instance of its own in `instance_metadata`, with *metadata*, and its lease
    expires *ttl_seconds* after it last gave a sign of life. While another leads, it is asked again for
    *wait_seconds*, then LeaseHeld is raised with the holder and when its lease expires, or LockTimeout
    where its holder has stopped amid a transaction; who waits ends such a transaction once the lease has
    expired. At the end of the block the lease is given up, so that the next process need not wait. Reload
    what may have been changed by the one before: recovery does, and `DatabaseStateManager.clear_cache`.
    Raises NotFound for an unknown account, InvalidValue where this process leads it already.

    While it is held, markers of old commits are pruned.
    """
    pool = database.pool
    if account_id in pool.leases:
        raise InvalidValue("this process leads the account already", account_id=account_id)
    duration = timedelta(seconds=ttl_seconds)
    instance_id = f"{socket.gethostname()[:40]}-{os.getpid()}-{new_id().hex}"
    instance = {
        "account_id": account_id,
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "app_version": version("gal_friday"),
        "extra": metadata or {},
    }

    asked_at = lease_clock()

    async def take(uow: UnitOfWork) -> AccountLease:
        nonlocal asked_at
        asked_at = lease_clock()
        await uow.instances.register(instance_id, **instance)
        return await uow.leases.take(instance_id, duration=duration, account_id=account_id)

    ask_every = ttl_seconds / RENEWALS
    taken = await _once_free(pool, take, account_id, wait_seconds=wait_seconds, ask_every=ask_every)
    if account_id in pool.leases:  # another task of this process was waiting for it, too
        await _give_up(pool, instance_id)
        raise InvalidValue("this process leads the account already", account_id=account_id)
    lease = Lease(account_id, instance_id, taken.epoch)
    pool.leases[account_id] = lease.epoch
    pool.lease_deadlines[account_id] = asked_at + ttl_seconds
    log.info("lease taken", extra={"account": account_id, "epoch": lease.epoch, "instance": instance_id})
    renewing = asyncio.create_task(_renew(pool, taken, lease, duration))
    try:
        yield lease
    finally:
        del pool.leases[account_id], pool.lease_deadlines[account_id]
        await asyncio.shield(_end(pool, renewing, instance_id))


async def _once_free(
    pool: DatabaseConnectionPool,
    take: Callable[[UnitOfWork], Awaitable[AccountLease]],
    account_id: str,
    *,
    wait_seconds: float,
    ask_every: float,
) -> AccountLease:
    deadline = asyncio.get_running_loop().time() + wait_seconds
    while True:
        try:
            return await pool.retrying(take, actor="lease")
        except (LeaseHeld, LockTimeout) as error:  # it is held, or its holder has stopped amid a transaction
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise
            if isinstance(error, LockTimeout):
                await _make_way(pool, account_id)
            else:
                await asyncio.sleep(min(ask_every, left))


async def _make_way(pool: DatabaseConnectionPool, account_id: str) -> None:
    """End transactions of this login that hold an expired lease while the server waits for their process."""
    lock = select(AccountLease.epoch).where(AccountLease.account_id == account_id).with_for_update()
    limit = {"lock_timeout": f"{MAKING_WAY_SECONDS:g}s"}
    async with pool.session(limit) as waiting, pool.session() as watching:
        who = {"waiting": await waiting.scalar(select(func.pg_backend_pid())), "account_id": account_id}
        locking = asyncio.create_task(waiting.execute(lock))
        try:
            while not locking.done():
                if ended := (await watching.execute(END_WHO_IS_STOPPED, who)).all():
                    log.warning(
                        "ended transactions in the way", extra={"account": account_id, "n": len(ended)}
                    )
                await asyncio.wait({locking}, timeout=MAKING_WAY_SECONDS / 10)
        finally:
            with contextlib.suppress(LockTimeout):
                await locking


async def _renew(
    pool: DatabaseConnectionPool, taken: AccountLease, lease: Lease, duration: timedelta
) -> None:
    facts = {"account": lease.account_id, "epoch": lease.epoch}
    try:
        while True:
            await asyncio.sleep(duration.total_seconds() / RENEWALS)
            asked_at = lease_clock()
            try:
                async with pool.transaction(actor="lease") as uow:
                    is_ours = await uow.leases.renew(taken, duration=duration)
            except PersistenceError as error:  # nobody can tell us; whoever can be told decides
                log.warning("lease not renewed", extra=facts | {"error": str(error)})
                continue
            if not is_ours:
                log.error("lease lost", extra=facts)
                return
            pool.lease_deadlines[lease.account_id] = asked_at + duration.total_seconds()
            await _prune_markers(pool)
    except Exception:
        log.exception("the lease is no longer renewed", extra=facts)
        raise
    finally:
        lease.lost.set()


async def _prune_markers(pool: DatabaseConnectionPool) -> None:
    try:
        async with pool.transaction(actor="lease") as uow:
            await uow.commit_markers.prune(limit=PRUNED_AT_A_TIME)
    except PersistenceError as error:
        log.warning("old markers not pruned", extra={"error": str(error)})


async def _end(pool: DatabaseConnectionPool, renewing: asyncio.Task[None], instance_id: str) -> None:
    renewing.cancel()
    await asyncio.wait({renewing})
    await _give_up(pool, instance_id)


async def _give_up(pool: DatabaseConnectionPool, instance_id: str) -> None:
    try:
        async with pool.transaction(actor="lease") as uow:
            await uow.instances.heartbeat(instance_id, status=InstanceStatus.STOPPED)
    except PersistenceError as error:
        log.warning("lease left to expire", extra={"instance": instance_id, "error": str(error)})
