"""The cluster: made once, whole or not at all, and served with settings that keep what was acknowledged."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gal_friday.embedded.binaries import Installation
from gal_friday.embedded.endpoint import PORT, SUPERUSER
from gal_friday.embedded.failures import program_failed
from gal_friday.embedded.privileges import Account
from gal_friday.embedded.store import Store
from gal_friday.errors import EmbeddedServerError
from gal_friday.locks import Deadline

UNFINISHED_PREFIX = "cluster-unfinished-"
# Trust, because only the owner of the socket's directory (and root) gets as far as being asked.
INITDB_OPTIONS = (
    *("--username", SUPERUSER, "--auth-local", "trust", "--auth-host", "reject"),
    *("--encoding", "UTF8", "--locale", "C", "--data-checksums", "--no-instructions"),
)
BUILTIN_LOCALE_SINCE = 17
BUILTIN_LOCALE_OPTIONS = ("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8")
CREATE_DATABASE = "CREATE DATABASE gal_friday;\n"  # the one endpoint.py names
# Appended to initdb's postgresql.conf; the owner may change these.
CONFIGURATION = """
# gal_friday
max_connections = 200  # several processes, each with a pool
timezone = 'GMT'       # UTC, by the name that needs no time zone files
log_timezone = 'GMT'
log_line_prefix = '%m [%p] %u %a '
"""
# On the command line, where neither postgresql.conf nor ALTER SYSTEM overrides them.
FIXED_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "log_destination": "stderr",
    "logging_collector": "off",
}
# There fsync() leaves the data in the drive's cache.
MACOS_SETTINGS = {"wal_sync_method": "fsync_writethrough"}


def data_major(cluster: Path) -> int | None:
    """Major version that made *cluster*; None while there is none."""
    if not cluster.exists():
        return None
    version_file = cluster / "PG_VERSION"
    major = version_file.read_text().partition(".")[0].strip() if version_file.exists() else ""
    if not major.isdecimal():
        raise EmbeddedServerError(
            "the cluster is damaged (see its PG_VERSION); restore a backup, or move it away to begin anew",
            cluster=str(cluster),
        )
    return int(major)


@dataclass(frozen=True, slots=True)
class ClusterMaker:
    """Makes the cluster of *store*.

    The programs inherit *server_lock*: if we are killed, the next one waits until they, too, have ended.
    """

    store: Store
    account: Account
    installation: Installation
    server_lock: int
    deadline: Deadline

    def make(self) -> None:
        """Killed at any instant, this leaves nothing in the way of the next attempt.

        Raises EmbeddedServerError with what initdb said.
        """
        for leftover in self.store.directory.glob(f"{UNFINISHED_PREFIX}*"):
            shutil.rmtree(leftover)
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=self.store.directory))
        try:
            self.account.make_directory(unfinished)
            locale = BUILTIN_LOCALE_OPTIONS if self.installation.major >= BUILTIN_LOCALE_SINCE else ()
            self._run("initdb", "-D", str(unfinished), *INITDB_OPTIONS, *locale)
            with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
                file.write(CONFIGURATION)
            single_user = ("--single", "-D", str(unfinished), "-c", "exit_on_error=on", "template1")
            self._run("postgres", *single_user, stdin=CREATE_DATABASE)
            unfinished.rename(self.store.cluster)
        except BaseException:
            # A killed initdb's children may still write; the next attempt removes what stays.
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        _sync_directory(self.store.directory)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        try:
            done = self.account.run(
                [self.installation.bin_directory / program, *arguments],
                self.installation.environment,
                timeout_seconds=self.deadline.remaining_seconds,
                stdin=stdin,
                pass_fds=[self.server_lock],
            )
        except subprocess.TimeoutExpired as error:
            output = error.output.decode(errors="replace") if isinstance(error.output, bytes) else ""
            raise self._failed(f"{program} took longer than {self.deadline.seconds:g} s", output) from None
        if done.returncode != 0:
            raise self._failed(f"{program} failed", done.stdout)

    def _failed(self, what: str, output: str) -> EmbeddedServerError:
        return program_failed(
            what, output, self.store.directory, bin_directory=str(self.installation.bin_directory)
        )


def server_command(installation: Installation, cluster: Path, socket_directory: Path) -> list[str]:
    """The postmaster's command line."""
    fixed = {**FIXED_SETTINGS, **(MACOS_SETTINGS if sys.platform == "darwin" else {})}
    quoted = str(socket_directory).replace('"', '""')  # the setting is a list
    settings = {**fixed, "unix_socket_directories": f'"{quoted}"'}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(installation.bin_directory / "postgres"), "-D", str(cluster), *options]


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
