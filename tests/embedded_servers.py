"""Data directories for embedded servers, and processes that use them."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import asyncpg  # type: ignore[import-untyped]  # it has no type hints

from gal_friday.config import EmbeddedSettings
from gal_friday.embedded import EmbeddedServer, Endpoint
from gal_friday.embedded.postmaster import read_pid_file
from gal_friday.embedded.store import Store, find_store
from gal_friday.locks import is_held
from tests.servers import wait_for

USER_PROGRAM = """
import sys
from gal_friday.config import EmbeddedSettings
from gal_friday.embedded import EmbeddedServer

with EmbeddedServer(EmbeddedSettings.model_validate_json(sys.argv[1])) as endpoint:
    print(endpoint.dsn, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def a_data_directory(name: str = "data") -> Iterator[Path]:
    """A place for a data directory; at the end its server is stopped, and nothing of it may be left.

    Not in tmp_path, which is closed to the account root's servers run as.
    """
    outer = Path(tempfile.mkdtemp(prefix="gal_friday_test_", dir="/tmp"))
    outer.chmod(0o711)
    data_directory = outer / name
    try:
        yield data_directory
    finally:
        end_everything(data_directory)
        shutil.rmtree(outer)


def end_everything(data_directory: Path) -> None:
    """Stop the server of *data_directory* and wait for its last process."""
    EmbeddedServer(embedded_settings(data_directory)).stop_now()
    if store := find_store(data_directory.resolve()):
        wait_for(lambda: not is_running(store), f"something of {store.directory} still runs")


def embedded_settings(data_directory: Path, **settings: Any) -> EmbeddedSettings:
    """Settings that let the server go as soon as nobody uses it."""
    return EmbeddedSettings(data_directory=data_directory, **{"linger_seconds": 0, **settings})


def store_of(data_directory: Path) -> Store:
    store = find_store(data_directory.resolve())
    assert store, "there has been no server yet"
    return store


def is_running(store: Store) -> bool:
    """Whether the server, a child of it, or its watchdog is alive."""
    return is_held(store.server_lock) or is_held(store.watchdog_lock)


def wait_until_stopped(data_directory: Path) -> None:
    store = store_of(data_directory)
    wait_for(lambda: not is_running(store), "the server did not stop by itself")


def postmaster_pid(data_directory: Path) -> int:
    pid_file = read_pid_file(store_of(data_directory).cluster)
    assert pid_file, "the server is not running"
    return pid_file.pid


def watchdog_pid(data_directory: Path) -> int:
    """The process whose arguments name this server's plan."""
    plan = str(store_of(data_directory).plan)
    listing = subprocess.check_output(["ps", "-ww", "-eo", "pid=,args="], text=True)
    (pid,) = (line.split()[0] for line in listing.splitlines() if plan in line)
    return int(pid)


def server_log(data_directory: Path) -> str:
    return store_of(data_directory).log.read_text()


async def fetch_value(endpoint: Endpoint | str, query: str) -> Any:
    connection = await asyncpg.connect(endpoint if isinstance(endpoint, str) else endpoint.dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


class UserProcess:
    """A process of its own that uses the server until it is told to go, or killed."""

    def __init__(
        self,
        settings: EmbeddedSettings,
        *,
        environment: dict[str, str] | None = None,
        program: str = USER_PROGRAM,
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, settings.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for_server(self) -> str:
        """The address of the server, once that runs."""
        assert self._process.stdout is not None
        dsn = self._process.stdout.readline().strip()
        assert dsn, self._end()
        return dsn

    def leave(self) -> None:
        output = self._end()
        assert self._process.returncode == 0, output

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self._end()

    def press_ctrl_c(self) -> str:
        """SIGINT for the whole process group, as from a terminal; returns what was printed."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._end()

    def _end(self) -> str:
        """Close its input and return its errors."""
        return self._process.communicate(timeout=60)[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()


@contextlib.contextmanager
def users(count: int, settings: EmbeddedSettings) -> Iterator[Sequence[UserProcess]]:
    """*count* processes that start using the server at the same time."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(UserProcess(settings)) for _ in range(count)]
