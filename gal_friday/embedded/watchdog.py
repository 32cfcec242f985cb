"""Keeps the server running for as long as someone uses it, and no longer.

A program of its own, started by launch.py as `python -I -S watchdog.py PLAN SERVER_FD WATCHDOG_FD`. PLAN is
plan.json; the numbers are inherited files that hold server.lock and watchdog.lock, -1 where not handed over.
It detaches itself, starts the postmaster (unless it takes over from a watchdog that was killed) and waits for
whatever comes first:

* users.lock is free: every user is gone, however they ended. After the linger time, unless pinned or someone
  came back, it stops the server cleanly and ends.
* the server has ended. If it was killed and is still in use, it is started again; else the watchdog ends too.

Nothing but the standard library is at hand here, and only what loads fast is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

if sys.platform != "win32":
    import fcntl

UNUSED, ENDED = "unused", "ended"
PROC = "/proc"  # of Linux; macOS has none
PIN_POLL_SECONDS = 0.5
STOP_POLL_SECONDS = 0.2
#: How often to see whether the children of a killed server have noticed, and when to stop waiting for that:
#: a long computation, or a recovery waiting for a helper that will never come, takes a minute or more.
CHILDREN_POLL_SECONDS = 0.05
CHILDREN_PATIENCE_SECONDS = 3.0
#: A server killed so often, each time so soon after its start, stays down.
SHORT_LIVES_ALLOWED = 3
SHORT_LIFE_SECONDS = 10.0


class Watchdog:
    """Watches over the server that the plan describes."""

    def __init__(self, plan_file: str, server_fd: int = -1, watchdog_fd: int = -1) -> None:
        with open(plan_file, encoding="utf-8") as file:  # noqa: PTH123  pathlib loads slowly
            plan = json.load(file)
        store = os.path.dirname(plan_file)  # noqa: PTH120  as above
        self._plan_file = plan_file
        self._command: list[str] = plan["command"]
        self._environment: dict[str, str] = plan["environment"]
        self._account: dict[str, int] = plan["account"]
        self._cluster: str = plan["cluster"]
        self._linger_seconds: float = plan["linger_seconds"]
        self._scratch_directory: str | None = plan["scratch_directory"]
        self._pin = f"{store}/pinned"
        self._server_lock_file = f"{store}/server.lock"
        # Open for good: the files may be deleted under a running server.
        self._start_lock = os.open(plan["start_lock"], os.O_RDWR)
        self._users_lock = os.open(f"{store}/users.lock", os.O_RDWR)
        self._server_lock = os.open(self._server_lock_file, os.O_RDWR)
        self._watchdog_lock = (
            watchdog_fd if watchdog_fd >= 0 else os.open(f"{store}/watchdog.lock", os.O_RDWR)
        )
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._postmaster: subprocess.Popen[bytes] | None = None
        self._started_at = time.monotonic()
        self._short_lives = 0
        if server_fd >= 0:
            self._launch(server_fd)

    def run(self) -> None:
        """Watch until the server has ended for good."""
        # Where it was not handed over, another watchdog has it, which is about to end.
        _in_background(lambda: fcntl.flock(self._watchdog_lock, fcntl.LOCK_EX))
        self._report_end()
        self._report_disuse()
        while True:
            event = self._events.get()
            if event == UNUSED:
                event = self._linger()
                if event == UNUSED and self._stop_if_unused():
                    break
                self._report_disuse()
            if event == ENDED:
                if not self._revive():
                    break
                self._report_end()
        if self._scratch_directory:
            # Not empty after a kill: then the next server uses it again.
            with contextlib.suppress(OSError):
                os.rmdir(self._scratch_directory)  # noqa: PTH106  pathlib loads slowly

    def _launch(self, server_fd: int) -> None:
        self._started_at = time.monotonic()
        self._postmaster = subprocess.Popen(  # noqa: S603  the command is ours, see launch.py
            self._command,
            cwd="/",
            env=self._environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[server_fd],
            user=self._account.get("user"),
            group=self._account.get("group"),
            extra_groups=[] if self._account else None,
        )
        os.close(server_fd)

    def _report_end(self) -> None:
        """ENDED as soon as our child has, or somebody else's server with all its children."""
        postmaster = self._postmaster

        def wait() -> None:
            if postmaster:
                postmaster.wait()
            else:
                fcntl.flock(self._server_lock, fcntl.LOCK_EX)
                fcntl.flock(self._server_lock, fcntl.LOCK_UN)
            self._events.put(ENDED)

        _in_background(wait)

    def _report_disuse(self) -> None:
        """UNUSED as soon as nobody shares users.lock."""

        def wait() -> None:
            fcntl.flock(self._users_lock, fcntl.LOCK_EX)
            fcntl.flock(self._users_lock, fcntl.LOCK_UN)
            self._events.put(UNUSED)

        _in_background(wait)

    def _linger(self) -> str:
        """ENDED if the server ends meanwhile; else UNUSED, once the time is over and nothing is pinned."""
        wait_seconds = self._linger_seconds
        while True:
            try:
                return self._events.get(timeout=wait_seconds)
            except queue.Empty:
                if not self._is_pinned():
                    return UNUSED
            wait_seconds = PIN_POLL_SECONDS

    def _stop_if_unused(self) -> bool:
        fcntl.flock(self._start_lock, fcntl.LOCK_EX)
        try:
            if self._is_needed():
                return False
            while True:
                if pid := self._postmaster_pid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGINT)  # PostgreSQL's fast shutdown; repeating it does no harm
                try:
                    self._events.get(timeout=STOP_POLL_SECONDS)
                except queue.Empty:
                    continue
                return True
        finally:
            fcntl.flock(self._start_lock, fcntl.LOCK_UN)

    def _revive(self) -> bool:
        """Start a server that was killed again; says whether it did."""
        if self._postmaster is None or self._postmaster.wait() >= 0:
            return False  # not ours to start, or it meant to end
        lived_seconds = time.monotonic() - self._started_at
        self._short_lives = self._short_lives + 1 if lived_seconds < SHORT_LIFE_SECONDS else 0
        if self._short_lives >= SHORT_LIVES_ALLOWED:
            return False
        began = time.monotonic()
        while True:
            fcntl.flock(self._start_lock, fcntl.LOCK_EX)
            try:
                # Without a plan the data directory has been deleted.
                if not self._is_needed() or not os.path.exists(self._plan_file):  # noqa: PTH110
                    return False
                server_fd = os.open(self._server_lock_file, os.O_RDWR)
                if _try_exclusive(server_fd):
                    self._launch(server_fd)
                    return True
                os.close(server_fd)
                if self._postmaster_pid():
                    return False  # somebody was faster, and started a watchdog too
                if time.monotonic() - began > CHILDREN_PATIENCE_SECONDS:
                    end_orphans(self._cluster)
            finally:
                fcntl.flock(self._start_lock, fcntl.LOCK_UN)
            time.sleep(CHILDREN_POLL_SECONDS)

    def _is_needed(self) -> bool:
        """Whether there are users, or a pin; asked while holding start.lock, so it stays true."""
        if self._is_pinned() or not _try_exclusive(self._users_lock):
            return True
        fcntl.flock(self._users_lock, fcntl.LOCK_UN)
        return False

    def _is_pinned(self) -> bool:
        return os.path.exists(self._pin)  # noqa: PTH110  pathlib loads slowly

    def _postmaster_pid(self) -> int | None:
        if self._postmaster and self._postmaster.poll() is None:
            return self._postmaster.pid
        try:
            with open(f"{self._cluster}/postmaster.pid", encoding="utf-8") as file:  # noqa: PTH123
                pid = int(file.readline())
        except (FileNotFoundError, ValueError):
            return None
        return pid if is_postgres_of(self._cluster, pid) else None


def is_postgres_of(cluster: str, pid: int) -> bool:
    """Whether process *pid* is PostgreSQL, the server of the directory *cluster* or a child of it."""
    if os.path.exists(f"{PROC}/self/cwd"):  # noqa: PTH110  pathlib loads slowly
        try:
            with open(f"{PROC}/{pid}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                name = file.read()
            return name.startswith("postgres") and os.path.samefile(f"{PROC}/{pid}/cwd", cluster)  # noqa: PTH121
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            return False  # ended, a zombie, or somebody else's
    done = subprocess.run(  # noqa: S603  no input from outside
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], stdout=subprocess.PIPE, text=True, check=False
    )
    return "postgres" in done.stdout and f"-D {cluster} " in done.stdout


def end_orphans(cluster: str) -> None:
    """End the children of a killed postmaster at once; for whoever knows that it is dead.

    Nothing they could still do would count: the next server discards the memory they share. Where there is no
    /proc they are not found, and have to be waited for.
    """
    for name in os.listdir(PROC) if os.path.exists(f"{PROC}/self/cwd") else ():  # noqa: PTH110, PTH208
        if name.isdigit() and is_postgres_of(cluster, int(name)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(name), signal.SIGQUIT)


def _in_background(task: Callable[[], object]) -> None:
    threading.Thread(target=task, daemon=True).start()


def _try_exclusive(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main() -> None:
    """Detach, then watch."""
    plan_file, server_fd, watchdog_fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if os.fork():
        # The starter waits for this half only; the other becomes a child of init.
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever shuts the machine down ends the users too, and with them this.
        signal.signal(number, lambda *_: None)
    Watchdog(plan_file, server_fd, watchdog_fd).run()
    os._exit(0)  # threads may still wait for a lock


if __name__ == "__main__":
    main()
