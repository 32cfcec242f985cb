"""Starting the watchdog, and with it the server."""

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from gal_friday.config import EmbeddedSettings
from gal_friday.embedded import watchdog
from gal_friday.embedded.binaries import Installation
from gal_friday.embedded.cluster import server_command
from gal_friday.embedded.endpoint import PORT
from gal_friday.embedded.failures import log_since, log_size, program_failed
from gal_friday.embedded.postmaster import remove_remains, socket_file
from gal_friday.embedded.privileges import Account
from gal_friday.embedded.store import Store, write_atomically
from gal_friday.errors import EmbeddedServerError
from gal_friday.locks import FileLock

# Linux takes 107 bytes, macOS 103.
LONGEST_SOCKET_PATH = 103
# Other characters mean something in PostgreSQL's list of directories or in a URL's list of hosts.
PLAIN_PATH = re.compile(r"[\w./+@=~-]+")
LONGEST_LOG_BYTES = 10_000_000
WATCHDOG_START_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """plan.json: how the server is run."""

    bin_directory: str
    version: str
    cluster: str
    start_lock: str
    command: list[str]
    environment: dict[str, str]
    account: dict[str, int]
    linger_seconds: float
    scratch_directory: str | None

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None where the server has never been started, or by another version of this package."""
        if not path.exists():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**content) if content.keys() == {field.name for field in fields(cls)} else None


def launch(
    store: Store,
    account: Account,
    installation: Installation,
    settings: EmbeddedSettings,
    server_lock: FileLock,
) -> int:
    """Start the watchdog, which starts the server; *server_lock*, held here, passes to the server.

    Returns where in the log this server begins.
    """
    scratch_directory = _scratch_directory(store, account)
    plan = Plan(
        bin_directory=str(installation.bin_directory),
        version=installation.version,
        cluster=str(store.cluster),
        start_lock=str(store.start_lock),
        command=server_command(installation, store.cluster, scratch_directory or store.socket_directory),
        environment=installation.environment,
        account={} if account.is_caller else {"user": account.uid, "group": account.gid},
        linger_seconds=settings.linger_seconds,
        scratch_directory=str(scratch_directory) if scratch_directory else None,
    )
    write_atomically(store.plan, json.dumps(asdict(plan), indent=2))
    if log_size(store.log) > LONGEST_LOG_BYTES:
        store.log.replace(store.log.with_suffix(".log.1"))
    log_offset = log_size(store.log)
    remove_remains(store.cluster, scratch_directory or store.socket_directory)
    start_watchdog(store, server_lock)
    return log_offset


def start_watchdog(store: Store, server_lock: FileLock | None = None) -> None:
    """Start a watchdog unless one is alive; with *server_lock* always, and the server with it."""
    with FileLock(store.watchdog_lock) as watchdog_lock:
        # One whose server has just ended may still be alive; the new one then waits for its lock.
        handed_over = watchdog_lock.try_exclusive()
        if not handed_over and server_lock is None:
            return
        fds = [server_lock.fd if server_lock else -1, watchdog_lock.fd if handed_over else -1]
        _spawn(store, fds)


def _spawn(store: Store, fds: list[int]) -> None:
    if not sys.executable:
        raise EmbeddedServerError(
            "Python does not know its own program (sys.executable), the watchdog needs it"
        )
    size = log_size(store.log)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(store.log, flags, 0o600)
    try:
        done = subprocess.run(  # noqa: S603  our own program, no input from outside
            [sys.executable, "-I", "-S", watchdog.__file__, str(store.plan), *map(str, fds)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[fd for fd in fds if fd >= 0],
            start_new_session=True,  # Ctrl-C is for the terminal's program, not for the server
            timeout=WATCHDOG_START_TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        os.close(log)
    if done.returncode != 0:
        raise program_failed(
            "the watchdog did not start", log_since(store.log, size), store.directory, log_file=str(store.log)
        )


def _scratch_directory(store: Store, account: Account) -> Path | None:
    """A short directory for the socket where the store's own path does not do for one."""
    path = socket_file(store.socket_directory, PORT)
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH and PLAIN_PATH.fullmatch(str(path)):
        return None
    last = Plan.read(store.plan)
    if last and last.scratch_directory and _is_private(Path(last.scratch_directory), account):
        return Path(last.scratch_directory)
    directory = Path(tempfile.mkdtemp(prefix="gal_friday_", dir="/tmp"))  # TMPDIR may be a long path itself
    account.make_directory(directory)
    return directory


def _is_private(directory: Path, account: Account) -> bool:
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    is_closed = stat.S_IMODE(status.st_mode) == stat.S_IRWXU
    return stat.S_ISDIR(status.st_mode) and is_closed and status.st_uid == account.uid
