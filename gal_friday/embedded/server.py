"""The embedded PostgreSQL server as its users see it: start, stop, status."""

import itertools
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from types import TracebackType
from typing import NoReturn

from gal_friday.config import EmbeddedSettings
from gal_friday.embedded.binaries import find_installation
from gal_friday.embedded.cluster import ClusterMaker, data_major
from gal_friday.embedded.endpoint import DATABASE, SUPERUSER, Endpoint, ServerStatus
from gal_friday.embedded.failures import explained, log_since, program_failed
from gal_friday.embedded.launch import Plan, launch, start_watchdog
from gal_friday.embedded.postmaster import PidFile, live_postmaster, ready
from gal_friday.embedded.privileges import server_account
from gal_friday.embedded.store import (
    Store,
    find_store,
    make_store,
    prepare_data_directory,
    start_lock_of,
)
from gal_friday.embedded.watchdog import CHILDREN_PATIENCE_SECONDS, end_orphans
from gal_friday.errors import EmbeddedServerError
from gal_friday.locks import Deadline, FileLock, is_held

# Levels at which PostgreSQL, and Python for the watchdog, report why they end.
GAVE_UP = ("FATAL: ", "PANIC: ", "Traceback")
START_ATTEMPTS = 3


class EmbeddedServer:
    """A PostgreSQL server of one's own, shared by all processes that name the same data directory.

    Each instance holds a share from start() to stop(), or to the end of its process, however that comes. When
    the last share is gone the server outlives it by `linger_seconds` and is then stopped cleanly. A server
    that is killed is started again while it has users. All calls block; from asyncio, use asyncio.to_thread.
    """

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._data_directory = settings.data_directory.absolute()
        self._share: FileLock | None = None
        self._one_at_a_time = threading.Lock()

    def start(self) -> Endpoint:
        """Join this data directory's server, or start it, on the first call ever with a new database.

        Called again it does the same without taking another share. Raises EmbeddedServerError after at most
        `start_timeout_seconds`.
        """
        with self._serialised() as (data_directory, deadline):
            store = make_store(data_directory)
            share = self._share or FileLock(store.users_lock)
            try:
                share.shared()
                endpoint = self._ensure_running(store, deadline)
            except BaseException:
                if self._share is None:
                    share.close()
                raise
            self._share = share
            return endpoint

    def stop(self) -> None:
        """Give up the share; whoever gives up the last one does not wait for the server to stop."""
        with self._one_at_a_time, explained(self._data_directory):
            if self._share:
                self._leave_watched()
            self._give_up_share()

    def pin(self) -> Endpoint:
        """start(), and keep the server running without users until stop_now()."""
        endpoint = self.start()
        with self._serialised() as (data_directory, _):
            if store := find_store(data_directory):
                store.pin.touch()
        return endpoint

    def stop_now(self) -> bool:
        """Stop the server cleanly whoever uses it, and wait for its end; says whether it was running.

        Raises EmbeddedServerError if it has not ended after `start_timeout_seconds`.
        """
        _refuse_windows()
        if not self._data_directory.exists():
            return False
        with self._serialised() as (data_directory, deadline):
            if (store := find_store(data_directory)) is None:
                return False
            store.pin.unlink(missing_ok=True)
            signalled = None
            with FileLock(store.server_lock) as lock:
                was_running = not lock.try_exclusive()
                while was_running and not lock.try_exclusive():
                    pid = live_postmaster(store.cluster)
                    if pid and pid != signalled:
                        os.kill(pid, SIGINT)  # PostgreSQL's fast shutdown
                        signalled = pid
                    if not deadline.pause():
                        raise self._timed_out("the server still ran", store, deadline)
            self._give_up_share()
            return was_running

    def status(self) -> ServerStatus:
        """What can be seen without waiting for anyone or changing anything."""
        _refuse_windows()
        data_directory = self._data_directory.resolve()
        with explained(data_directory):
            store = find_store(data_directory)
            if store is None:
                return ServerStatus("stopped", False, False, None, None, data_directory, None)
            running = is_held(store.server_lock)
            pid_file = ready(store.cluster) if running else None
            return ServerStatus(
                state="running" if pid_file else "busy" if running else "stopped",
                in_use=is_held(store.users_lock),
                pinned=running and store.pin.exists(),
                pid=pid_file.pid if pid_file else None,
                endpoint=_endpoint(store, pid_file) if pid_file else None,
                data_directory=store.cluster,
                log_file=store.log,
            )

    def exec_psql(self, arguments: Sequence[str] = ()) -> NoReturn:
        """Become psql, connected to the server, with the share kept until psql ends."""
        endpoint = self.start()
        program = endpoint.bin_directory / "psql"
        if not program.exists():
            raise EmbeddedServerError(
                "this installation has no psql", bin_directory=str(endpoint.bin_directory)
            )
        assert self._share is not None
        os.set_inheritable(self._share.fd, True)
        os.execv(program, [str(program), "--dbname", endpoint.dsn, *arguments])  # noqa: S606  becoming it is the point

    def __enter__(self) -> Endpoint:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @contextmanager
    def _serialised(self) -> Iterator[tuple[Path, Deadline]]:
        """Hold the start lock of the data directory, which is made if missing."""
        _refuse_windows()
        deadline = Deadline(self._settings.start_timeout_seconds)
        with self._one_at_a_time, explained(self._data_directory):
            data_directory = prepare_data_directory(self._data_directory)
            with FileLock(start_lock_of(data_directory)) as start_lock:
                if not start_lock.exclusive(deadline):
                    raise EmbeddedServerError(
                        f"another process kept starting or stopping the server for {deadline.seconds:g} s",
                        data_directory=str(data_directory),
                    )
                yield data_directory, deadline

    def _leave_watched(self) -> None:
        """See to it that the server has a watchdog; one may have been killed."""
        store = find_store(self._data_directory.resolve())
        if store is None or is_held(store.watchdog_lock) or not is_held(store.server_lock):
            return
        with FileLock(store.start_lock) as start_lock:
            # Whoever starts the server at this moment sees to it just so.
            if start_lock.try_exclusive():
                start_watchdog(store)

    def _give_up_share(self) -> None:
        if self._share:
            self._share.close()
            self._share = None

    def _ensure_running(self, store: Store, deadline: Deadline) -> Endpoint:
        log_offset = 0
        for attempt in itertools.count():
            with FileLock(store.server_lock) as server_lock:
                if endpoint := self._join(store, server_lock, deadline):
                    return endpoint
                # Nothing of an earlier server is alive, not even of the one started here.
                said = log_since(store.log, log_offset)
                # One that was killed could not say why it ended.
                if attempt == START_ATTEMPTS or (attempt and any(word in said for word in GAVE_UP)):
                    raise program_failed(
                        "the server ended while starting", said, store.directory, log_file=str(store.log)
                    )
                log_offset = self._start(store, server_lock, deadline)
            # From here on only the server holds its lock.
        raise AssertionError("unreachable: the attempts end above")

    def _join(self, store: Store, server_lock: FileLock, deadline: Deadline) -> Endpoint | None:
        """The running server's endpoint; None with *server_lock* taken, so that there is no server."""
        patience = Deadline(CHILDREN_PATIENCE_SECONDS)
        while not server_lock.try_exclusive():
            if pid_file := ready(store.cluster):
                start_watchdog(store)
                return _endpoint(store, pid_file)
            if live_postmaster(store.cluster):
                patience = Deadline(CHILDREN_PATIENCE_SECONDS)
            elif not patience.remaining_seconds:
                end_orphans(str(store.cluster))
            if not deadline.pause():
                raise self._timed_out("the server was not ready", store, deadline)
        return None

    def _start(self, store: Store, server_lock: FileLock, deadline: Deadline) -> int:
        """Start the server, and make its cluster if there is none; returns where its log begins."""
        if pid := live_postmaster(store.cluster):
            raise EmbeddedServerError(
                "another PostgreSQL server, started by hand, runs in this directory; stop it first",
                pid=pid,
                data_directory=str(store.cluster),
            )
        account = server_account(store.cluster)
        major = data_major(store.cluster)
        installation = find_installation(self._settings, account, data_major=major)
        if major is None:
            ClusterMaker(store, account, installation, server_lock.fd, deadline).make()
        store.pin.unlink(missing_ok=True)  # it was for a server that has ended
        return launch(store, account, installation, self._settings, server_lock)

    def _timed_out(self, what: str, store: Store, deadline: Deadline) -> EmbeddedServerError:
        pid = live_postmaster(store.cluster)
        why = "it is starting, recovering or stopping" if pid else "children of a killed server still run"
        return program_failed(
            f"{what} after {deadline.seconds:g} s: {why}; try again, or raise"
            " GAL_FRIDAY_EMBEDDED__START_TIMEOUT_SECONDS",
            log_since(store.log, 0),
            store.directory,
            log_file=str(store.log),
            pid=pid,
        )


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise EmbeddedServerError(
            "it needs Linux or macOS; on Windows install PostgreSQL and give its address in"
            " GAL_FRIDAY_DATABASE__URL"
        )


def _endpoint(store: Store, pid_file: PidFile) -> Endpoint:
    plan = Plan.read(store.plan)
    if plan is None:
        raise EmbeddedServerError(
            "this file, written before every start, is gone or of another version of gal_friday; end"
            " the process named (kill -INT), then start again",
            file=str(store.plan),
            pid=pid_file.pid,
        )
    return Endpoint(
        socket_directory=pid_file.socket_directory,
        host=str(pid_file.socket_directory),
        port=pid_file.port,
        user=SUPERUSER,
        database=DATABASE,
        password=None,
        bin_directory=Path(plan.bin_directory),
        data_directory=store.cluster,
        version=plan.version,
    )
