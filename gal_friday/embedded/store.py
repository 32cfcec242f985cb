"""Where an embedded server keeps what is its own.

Normally that is `postgresql/` in the data directory. Root's server runs as an unprivileged account; where
that account cannot get to the data directory (a checkout under /root), the store lies in one of
SYSTEM_DIRECTORIES and the file `postgresql.location` in the data directory says where.
"""

import hashlib
import itertools
import os
import secrets
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gal_friday.embedded.privileges import Account, server_account
from gal_friday.errors import EmbeddedServerError

# Trusted only as far as check_owner goes.
SYSTEM_DIRECTORIES = (Path("/var/lib/gal_friday"), Path("/var/tmp/gal_friday"))  # noqa: S108  see above
STORE, LOCATION, BELONGS_TO = "postgresql", "postgresql.location", "belongs_to"


@dataclass(frozen=True, slots=True)
class Store:
    """One server's directory: cluster, socket, locks, log."""

    directory: Path
    start_lock: Path  # in the data directory: held while the store itself is being found

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.directory / "cluster"

    @property
    def socket_directory(self) -> Path:
        """Where the socket is, unless this path is too long for one."""
        return self.directory / "socket"

    @property
    def users_lock(self) -> Path:
        """Shared by everyone who uses the server."""
        return self.directory / "users.lock"

    @property
    def server_lock(self) -> Path:
        """Held by PostgreSQL's own processes, which inherit it: once it is free, the last of them is gone."""
        return self.directory / "server.lock"

    @property
    def watchdog_lock(self) -> Path:
        """Held by the watchdog while it lives."""
        return self.directory / "watchdog.lock"

    @property
    def plan(self) -> Path:
        """How the server was last started, for the watchdog and for those who join."""
        return self.directory / "plan.json"

    @property
    def pin(self) -> Path:
        """Exists while the server is to run without users."""
        return self.directory / "pinned"

    @property
    def log(self) -> Path:
        """What the server and the watchdog print."""
        return self.directory / "server.log"


def prepare_data_directory(directory: Path) -> Path:
    """*directory* with its links resolved, made if missing; one that exists is left as it is."""
    directory = directory.resolve()
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)  # others may be starting, too
        # Root's server needs to pass through, and no more than that.
        directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
        (directory / ".gitignore").write_text("*\n")
    return directory


def start_lock_of(data_directory: Path) -> Path:
    """The lock that serialises everything done to the server of *data_directory*."""
    return data_directory / "start.lock"


def find_store(data_directory: Path) -> Store | None:
    """The store of *data_directory* if it has one; changes nothing.

    Raises EmbeddedServerError where it belongs to someone else, or is not where `postgresql.location` says.
    """
    location = data_directory / LOCATION
    if location.exists():
        directory = Path(location.read_text().strip())
        _check_location(location, directory, data_directory)
    else:
        directory = data_directory / STORE
        if not directory.exists():
            return None
        check_owner(directory)
    return Store(directory, start_lock_of(data_directory))


def make_store(data_directory: Path) -> Store:
    """The store of *data_directory*, made where there is none; only under its start lock."""
    store = find_store(data_directory) or Store(data_directory / STORE, start_lock_of(data_directory))
    if store.cluster.exists():
        return store
    account = server_account(store.cluster)
    if _furnish(store, account) or store.directory.parent != data_directory:
        return store
    # What lies in the account's way is not ours to open; and there is no cluster yet that could get lost.
    shutil.rmtree(store.directory)
    token = _token_in(store.start_lock)
    store = Store(_free_system_store(account, data_directory, token), store.start_lock)
    _furnish(store, account)
    write_atomically(store.directory / BELONGS_TO, f"{data_directory}\n{token}\n")
    write_atomically(data_directory / LOCATION, f"{store.directory}\n")
    return store


def _furnish(store: Store, account: Account) -> bool:
    """Make what is missing of *store*; says whether *account* can use it."""
    if not store.directory.exists():
        store.directory.mkdir()
        store.directory.chmod(0o700 if account.is_caller else 0o711)
    account.make_directory(store.socket_directory)
    return account.is_caller or account.can_write_in(store.socket_directory)


def _token_in(start_lock: Path) -> str:
    """What tells this data directory from a later one at the same path: that one begins anew."""
    token = start_lock.read_text().strip()
    if not token:
        token = secrets.token_hex(8)
        start_lock.write_text(f"{token}\n")
    return token


def _free_system_store(account: Account, data_directory: Path, token: str) -> Path:
    digest = hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:16]
    base = system_directory(account)
    for number in itertools.count():
        directory = base / f"{digest}-{number}"
        if not directory.exists():
            return directory
        check_owner(directory)
        belongs_to = directory / BELONGS_TO
        if not belongs_to.exists() or belongs_to.read_text().split("\n")[:2] == [str(data_directory), token]:
            return directory  # `postgresql.location` was lost, or never written; the data is here
    raise AssertionError("unreachable: the numbers do not end")


def system_directory(account: Account) -> Path:
    """The first usable one of SYSTEM_DIRECTORIES, made if missing; for root only.

    Raises EmbeddedServerError if there is none.
    """
    problems = {}
    for directory in SYSTEM_DIRECTORIES:
        try:
            if not directory.exists():
                directory.mkdir()
                directory.chmod(0o755)
            check_owner(directory)
            with tempfile.TemporaryDirectory(dir=directory) as probe:
                os.chown(probe, account.uid, account.gid)
                if account.can_write_in(Path(probe)):
                    return directory
            problems[str(directory)] = f"out of reach for {account.name}"
        except (OSError, EmbeddedServerError) as error:
            problems[str(directory)] = str(error)
    raise EmbeddedServerError(
        f"root's server runs as {account.name}, who can use neither the data directory nor those tried;"
        " choose a GAL_FRIDAY_EMBEDDED__DATA_DIRECTORY open to that account",
        tried=problems,
    )


def check_owner(directory: Path) -> None:
    """Raise EmbeddedServerError unless *directory* is one, is the caller's, and no one else may change it."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise EmbeddedServerError("this must be a directory, not a link or a file", path=str(directory))
    if status.st_uid != os.geteuid():
        raise EmbeddedServerError(
            "this belongs to another user; run as that user, or choose another data directory",
            path=str(directory),
            owner_uid=status.st_uid,
            own_uid=os.geteuid(),
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedServerError("others may write here; chmod go-w it", path=str(directory))


def write_atomically(path: Path, content: str) -> None:
    """Replace *path* so that a reader, or the next start after a crash, finds all of *content* or none."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise


def _check_location(location: Path, directory: Path, data_directory: Path) -> None:
    if not directory.is_absolute() or not (directory / BELONGS_TO).is_file():
        raise EmbeddedServerError(
            "the data is not where this file says; restore it there, correct the file, or delete the file to"
            " look in the usual places and begin anew if there is nothing",
            file=str(location),
            content=str(directory),
        )
    check_owner(directory)
    owner_path, token, *_ = [*(directory / BELONGS_TO).read_text().split("\n"), ""]
    owner = Path(owner_path)
    if owner == data_directory:
        return
    if (owner / LOCATION).exists():
        raise EmbeddedServerError(
            "this data directory is a copy of another one, whose data it would share; delete the file to"
            " begin with an empty database",
            file=str(location),
            copied_from=str(owner),
        )
    write_atomically(directory / BELONGS_TO, f"{data_directory}\n{token}\n")  # it was moved
