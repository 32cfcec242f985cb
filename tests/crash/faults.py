"""What can go wrong, and how it is done: each fault really happens, and is over when its function returns."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import text

from gal_friday.database import Database
from tests.crash.client import APPLICATION, LONGEST_WAIT_SECONDS, lead
from tests.crash.lifecycles import TASKS, accounts_of
from tests.crash.process import ClientProcess
from tests.crash.record import Record
from tests.crash.server import CrashServer, why_no_disk
from tests.crash.wire import Wire
from tests.waiting import until

T = TypeVar("T")

BACKENDS = text(
    "SELECT pid FROM pg_stat_activity WHERE application_name = :application ORDER BY backend_start, pid"
)
TERMINATE = text("SELECT pg_terminate_backend(:pid)")
#: The WAL's next segment has to be made, which takes room.
SWITCH_WAL = text("SELECT pg_switch_wal()")

#: The longest a process is stopped or a network gone.
LONGEST_SECONDS = 1.0
#: Calls acknowledged while the disk is full before it has room again: not each needs any.
ENOUGH_CALLS = 300
LONGEST_FULL_SECONDS = 5.0


class Kind(StrEnum):
    CLIENT_KILLED = "client killed"
    BACKEND_KILLED = "one backend killed"
    POSTMASTER_KILLED = "postmaster killed"
    BACKEND_TERMINATED = "pg_terminate_backend"
    RESTART_IMMEDIATE = "restart -m immediate"
    RESTART_FAST = "restart -m fast"
    NETWORK_CUT = "network cut"
    NETWORK_HALF_OPEN = "network half-open"
    ANSWERS_LOST = "answers to COMMIT lost"
    CLIENT_STOPPED = "client stopped (SIGSTOP)"
    SERVER_STOPPED = "server stopped (SIGSTOP)"
    LEASE_OUTLIVED = "client stopped past its lease"
    DISK_FULL = "disk full"


def kinds_not_run() -> dict[Kind, str]:
    """Faults that cannot be made to happen here, and why."""
    reason = why_no_disk()
    return {} if reason is None else {Kind.DISK_FULL: reason}


@dataclass
class Scene:
    """What there is to strike."""

    server: CrashServer
    wire: Wire
    client: ClientProcess
    database: Database
    record: Record
    dice: random.Random
    #: From when on the recovery counts.
    began_at: float = field(default_factory=time.monotonic, init=False)
    #: What is acknowledged after that has outlived it: an answer from before may take a while to be told.
    struck_at: float = field(default=0.0, init=False)
    #: The client has to take it again before it can intend anything.
    lease_is_lost: bool = field(default=False, init=False)

    def struck(self) -> None:
        """It is done: from its beginning on, recovery counts."""
        self.struck_at = time.monotonic()

    async def hold(self) -> None:
        """Let it last."""
        await asyncio.sleep(self.dice.uniform(0.05, LONGEST_SECONDS))

    def over(self) -> None:
        """Its cause is gone; it lasted as long as the dice wanted, and from now on recovery counts."""
        self.began_at = self.struck_at = time.monotonic()


async def in_thread(work: Callable[[], T]) -> T:
    """What *work* gives; where that is no longer wanted, it is waited for all the same."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


async def _client_killed(scene: Scene) -> None:
    await scene.client.kill()
    scene.struck()


async def _backend_killed(scene: Scene) -> None:
    pids: list[int] = []

    async def is_killed() -> bool:
        pids[:] = await _backends(scene)
        try:
            os.kill(scene.dice.choice(pids), signal.SIGKILL)
        except (IndexError, ProcessLookupError):  # it has just gone by itself
            return False
        return True

    async def all_gone() -> bool:  # the postmaster ends the others, which may still answer until then
        return set(pids).isdisjoint(await in_thread(scene.server.processes))

    async def is_back() -> bool:
        return (await scene.database.pool.health_check(timeout_seconds=1)).ok

    await until(is_killed, "there is no backend to kill")
    await until(all_gone, "the postmaster does not notice")
    await until(is_back, "the server does not come back", seconds=LONGEST_WAIT_SECONDS)
    scene.struck()


async def _postmaster_killed(scene: Scene) -> None:
    await in_thread(scene.server.kill)
    await in_thread(scene.server.start)
    scene.struck()


async def _backend_terminated(scene: Scene) -> None:
    async def is_terminated() -> bool:
        pids = await _backends(scene)
        async with scene.database.pool.session() as session:
            return bool(pids and await session.scalar(TERMINATE, {"pid": scene.dice.choice(pids)}))

    await until(is_terminated, "there is no backend to end")
    scene.struck()


async def _restart_immediate(scene: Scene) -> None:
    await in_thread(lambda: scene.server.stop("immediate"))
    await in_thread(scene.server.start)
    scene.struck()


async def _restart_fast(scene: Scene) -> None:
    await in_thread(lambda: scene.server.stop("fast"))
    await in_thread(scene.server.start)
    scene.struck()


async def _network_cut(scene: Scene) -> None:
    scene.wire.cut()
    await scene.hold()
    scene.wire.mend()
    scene.over()


async def _network_half_open(scene: Scene) -> None:
    scene.wire.fall_silent()
    await scene.hold()
    scene.wire.reset_silent()
    scene.over()


async def _answers_lost(scene: Scene) -> None:
    before = scene.wire.answers_lost
    count = scene.dice.randint(1, 8)
    scene.wire.lose_answers(count)

    async def all_lost() -> bool:
        return scene.wire.answers_lost == before + count

    await until(all_lost, "nobody commits any more")
    scene.struck()


async def _client_stopped(scene: Scene) -> None:
    scene.client.stop()
    await scene.hold()
    scene.client.resume()
    scene.over()


async def _server_stopped(scene: Scene) -> None:
    scene.server.signal_all(signal.SIGSTOP)
    try:
        await scene.hold()
    finally:
        scene.server.signal_all(signal.SIGCONT)
    scene.over()


async def _lease_outlived(scene: Scene) -> None:
    """Another process leads the accounts when it wakes up, and until it has noticed."""
    record = scene.record
    scene.client.stop()
    async with AsyncExitStack() as stack:
        stack.callback(scene.client.resume)
        for account in accounts_of(record.generation):
            await stack.enter_async_context(lead(scene.database, account))
        taken_at = time.monotonic()
        scene.client.resume()

        async def all_refused() -> bool:
            return len({name.task for begun_at, name in record.refused if begun_at > taken_at}) == TASKS

        await until(all_refused, "what was not refused may go on intending", seconds=LONGEST_WAIT_SECONDS)
    scene.lease_is_lost = True
    intended = record.lead_by_another_since(taken_at)
    record.unexcused += [f"intended though another process led: {text}" for text in intended]


async def _disk_full(scene: Scene) -> None:
    failures, acknowledged = len(scene.record.failures), scene.record.acknowledged
    deadline = time.monotonic() + LONGEST_FULL_SECONDS
    needs_new_wal = scene.dice.random() < 0.5
    if needs_new_wal:
        async with scene.database.pool.autocommit() as connection:
            await connection.execute(SWITCH_WAL)
    scene.server.fill_disk()

    async def was_felt() -> bool:
        return (
            len(scene.record.failures) > failures
            or scene.record.acknowledged > acknowledged + ENOUGH_CALLS
            or time.monotonic() > deadline
        )

    try:
        await until(was_felt, "the deadline passes")
        await scene.hold()
    finally:
        scene.server.free_disk()
    scene.over()


async def _backends(scene: Scene) -> list[int]:
    """Those that serve the client."""
    async with scene.database.pool.session() as session:
        return list(await session.scalars(BACKENDS, {"application": APPLICATION}))


FAULTS: Mapping[Kind, Callable[[Scene], Awaitable[None]]] = {
    Kind.CLIENT_KILLED: _client_killed,
    Kind.BACKEND_KILLED: _backend_killed,
    Kind.POSTMASTER_KILLED: _postmaster_killed,
    Kind.BACKEND_TERMINATED: _backend_terminated,
    Kind.RESTART_IMMEDIATE: _restart_immediate,
    Kind.RESTART_FAST: _restart_fast,
    Kind.NETWORK_CUT: _network_cut,
    Kind.NETWORK_HALF_OPEN: _network_half_open,
    Kind.ANSWERS_LOST: _answers_lost,
    Kind.CLIENT_STOPPED: _client_stopped,
    Kind.SERVER_STOPPED: _server_stopped,
    Kind.LEASE_OUTLIVED: _lease_outlived,
    Kind.DISK_FULL: _disk_full,
}
