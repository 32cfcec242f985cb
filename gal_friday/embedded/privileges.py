"""Who PostgreSQL runs as: the caller, or an unprivileged account where the caller is root."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gal_friday.errors import EmbeddedServerError

if sys.platform != "win32":
    import pwd

ACCOUNTS_FOR_ROOT = ("postgres", "_postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine; *is_caller* where nothing has to be dropped."""

    name: str
    uid: int
    gid: int
    is_caller: bool

    def popen_options(self) -> dict[str, Any]:
        """What subprocess needs to start a process as this account, with none of the caller's groups."""
        if self.is_caller:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def make_directory(self, path: Path) -> None:
        """Make *path* a directory of this account's own that nobody else can enter."""
        path.mkdir(mode=0o700, exist_ok=True)
        if not self.is_caller:
            os.chown(path, self.uid, self.gid)

    def can_write_in(self, directory: Path) -> bool:
        """Asks the kernel, as this account: modes, ACLs and read-only mounts all count."""
        command: list[str | Path] = ["/bin/sh", "-c", 'test -w "$1" && test -x "$1"', "sh", directory]
        return self.run(command, {}, timeout_seconds=10).returncode == 0

    def run(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        timeout_seconds: float,
        stdin: str = "",
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* as this account; its standard error is in the output.

        Raises OSError where the command cannot be started, subprocess.TimeoutExpired after killing it.
        """
        return subprocess.run(  # noqa: S603  PostgreSQL's programs with our arguments
            command,
            cwd="/",  # the caller's directory may be closed to this account
            env=environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            start_new_session=True,
            pass_fds=pass_fds,
            check=False,
            **self.popen_options(),
        )


def server_account(cluster: Path) -> Account:
    """The account PostgreSQL runs as: *cluster*'s owner if it exists, as root never root itself.

    Raises EmbeddedServerError where root finds nobody to run it as.
    """
    uid = os.geteuid()
    if uid != 0:
        return Account(_name_of(uid), uid, os.getegid(), is_caller=True)
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid, is_caller=False)
    for name in ACCOUNTS_FOR_ROOT:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid, is_caller=False)
    raise EmbeddedServerError(
        "PostgreSQL does not run as root; create one of the accounts named, to run it as",
        accounts=ACCOUNTS_FOR_ROOT,
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
