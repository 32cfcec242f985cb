"""Copies of PostgreSQL's programs for an account that cannot reach the original.

Root's virtual environment may lie under /root, closed to the account root's server runs as.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from gal_friday.embedded.privileges import Account
from gal_friday.embedded.store import check_owner, system_directory
from gal_friday.locks import Deadline, FileLock

COPYING_TIMEOUT_SECONDS = 60.0
#: What a server and its tools need of an installation.
PARTS = ("bin", "lib", "share")


def reachable_copy(bin_directory: Path, account: Account) -> Path:
    """The bin directory of a copy of *bin_directory*'s installation that everyone can read; made only once.

    Raises OSError or EmbeddedServerError where it cannot be made.
    """
    programs = system_directory(account) / "programs"
    if not programs.exists():
        programs.mkdir(exist_ok=True)
        programs.chmod(0o755)
    check_owner(programs)
    copy = programs / _key(bin_directory)
    with FileLock(programs / "copying.lock") as lock:
        if not lock.exclusive(Deadline(COPYING_TIMEOUT_SECONDS)):
            raise TimeoutError(f"another process kept copying to {programs}")
        if not copy.exists():
            for unfinished in programs.glob("unfinished-*"):
                shutil.rmtree(unfinished)
            _copy(bin_directory.parent, Path(tempfile.mkdtemp(prefix="unfinished-", dir=programs)), copy)
    return copy / bin_directory.relative_to(bin_directory.parent.parent.parent)


def _key(bin_directory: Path) -> str:
    """Differs wherever another build may lie at the same path."""
    program = (bin_directory / "postgres").stat()
    identity = f"{bin_directory}\n{program.st_size}\n{program.st_mtime_ns}"
    return hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]


def _copy(installation: Path, unfinished: Path, target: Path) -> None:
    package = installation.parent
    for part in (
        *(installation / name for name in PARTS),
        # Where the tools that make wheels self-contained put libraries, found relative to the programs.
        package.parent / f"{package.name}.libs",
        package / ".dylibs",
    ):
        if part.is_dir():
            shutil.copytree(part, unfinished / part.relative_to(package.parent))
    for path in (unfinished, *unfinished.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    unfinished.rename(target)
