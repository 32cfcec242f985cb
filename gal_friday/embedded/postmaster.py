"""What a cluster's postmaster.pid says, and whether that is still true."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from gal_friday.embedded.endpoint import PORT
from gal_friday.embedded.watchdog import is_postgres_of

# Lines of postmaster.pid (PostgreSQL's pidfile.h).
PID, SOCKET_PORT, SOCKET_DIRECTORY, STATUS = 0, 3, 4, 7
CONNECT_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class PidFile:
    """postmaster.pid of a server that got far enough to write all its lines."""

    pid: int
    port: int
    socket_directory: Path
    status: str

    @property
    def socket(self) -> Path:
        """The Unix socket the server listens on."""
        return socket_file(self.socket_directory, self.port)


def socket_file(directory: Path, port: int) -> Path:
    """The path PostgreSQL and all its clients use for *port* in *directory*."""
    return directory / f".s.PGSQL.{port}"


def read_pid_file(cluster: Path) -> PidFile | None:
    """None while there is none, or it is not complete yet."""
    lines = _lines(cluster)
    if len(lines) <= STATUS or not lines[PID].isdigit() or not lines[SOCKET_PORT].isdigit():
        return None
    return PidFile(
        int(lines[PID]), int(lines[SOCKET_PORT]), Path(lines[SOCKET_DIRECTORY]), status=lines[STATUS].strip()
    )


def ready(cluster: Path) -> PidFile | None:
    """The pid file of *cluster*'s server if that accepts connections, else None."""
    before = read_pid_file(cluster)
    if before is None or not _accepts(before.socket):
        return None
    # Read after the connection: a killed server's file says "ready" too, but is replaced before the
    # next one listens.
    now = read_pid_file(cluster)
    return now if now and now.status == "ready" and now.socket == before.socket else None


def live_postmaster(cluster: Path) -> int | None:
    """The pid of *cluster*'s postmaster if that process is alive and is no other's."""
    lines = _lines(cluster)
    if not lines or not lines[PID].isdigit():
        return None
    pid = int(lines[PID])
    return pid if is_postgres_of(str(cluster), pid) else None


def remove_remains(cluster: Path, socket_directory: Path) -> None:
    """Delete what would keep the next server from starting; only for the holder of server.lock.

    PostgreSQL clears up after a killed server itself, but takes its files for a live server's if their
    process id is in use again, or if a full disk left them empty.
    """
    lines = _lines(cluster)
    if not lines or not lines[PID].isdigit() or _is_alive(int(lines[PID])):
        (cluster / "postmaster.pid").unlink(missing_ok=True)
    socket_file(socket_directory, PORT).unlink(missing_ok=True)
    (socket_directory / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_TIMEOUT_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError, TimeoutError):
            return False
        return True


def _lines(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
