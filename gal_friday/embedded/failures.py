"""What went wrong, in words that say what to do about it."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gal_friday.errors import EmbeddedServerError

TAIL_LINES = 12
TAIL_BYTES = 8_192

DISK_FULL = "the disk is full; make room, or choose another GAL_FRIDAY_EMBEDDED__DATA_DIRECTORY"
#: What PostgreSQL prints (its messages are English, see cluster.py), and what that means.
MEANINGS = {
    "No space left on device": DISK_FULL,
    "Disk quota exceeded": DISK_FULL,
    "File too large": "a file may not grow as large as PostgreSQL needs; raise the limit (ulimit -f)",
    "Read-only file system": "the data directory lies on a read-only file system",
    "Permission denied": "PostgreSQL may not use one of its files; restore their owner and permissions",
    "Cannot allocate memory": "there is not enough memory; lower shared_buffers in postgresql.conf",
    "user does not exist": "the account has no entry in the password database (/etc/passwd); add one",
    "could not locate a valid checkpoint record": "the write-ahead log is damaged; restore a backup",
    'configuration file "': "postgresql.conf has a mistake; correct the line named",
}
ERRNO_MEANINGS = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EFBIG: MEANINGS["File too large"],
    errno.EROFS: MEANINGS["Read-only file system"],
    errno.EACCES: "permission denied; run as the owner of the data directory, or choose another one",
    errno.EPERM: "not permitted; root needs the right to change owner and user (CAP_CHOWN, CAP_SETUID)",
    errno.EINVAL: "refused by the system; in a user namespace the account to run as may not be mapped",
    errno.ENOTDIR: "a part of the path is a file where a directory is needed",
    errno.EEXIST: "there is a file where a directory is needed",
    errno.ELOOP: "a symbolic link is not followed here",
    errno.ENAMETOOLONG: "the path is too long",
}


@contextmanager
def explained(data_directory: Path) -> Iterator[None]:
    """Turn what the operating system refuses into EmbeddedServerError."""
    try:
        yield
    except OSError as error:
        reason = ERRNO_MEANINGS.get(error.errno or 0, error.strerror or str(error))
        raise EmbeddedServerError(
            reason, data_directory=str(data_directory), path=error.filename, system_error=error.strerror
        ) from error


def program_failed(what: str, output: str, data_directory: Path, **facts: object) -> EmbeddedServerError:
    """The error for a failure of PostgreSQL's own: its meaning if known, and the end of its *output*."""
    meaning = next((meaning for text, meaning in MEANINGS.items() if text in output), None)
    free_bytes = _free_bytes(data_directory)
    if meaning is None and free_bytes == 0:
        meaning = DISK_FULL  # and so the log could not say it
    tail = "\n".join(f"  | {line}" for line in output.strip().splitlines()[-TAIL_LINES:])
    explanation = f"{what}; {meaning}" if meaning else what
    if tail:
        explanation += f"; the last it said:\n{tail}\n"
    return EmbeddedServerError(
        explanation, data_directory=str(data_directory), free_bytes=free_bytes, **facts
    )


def log_size(log_file: Path) -> int:
    """Bytes written so far; 0 if there is no such file."""
    return log_file.stat().st_size if log_file.exists() else 0


def log_since(log_file: Path, offset: int) -> str:
    """The end of what was logged after the first *offset* bytes."""
    if not log_file.exists():
        return ""
    with log_file.open("rb") as file:
        file.seek(max(offset, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return file.read().decode(errors="replace")


def _free_bytes(directory: Path) -> int | None:
    existing = next((path for path in (directory, *directory.parents) if path.exists()), None)
    return shutil.disk_usage(existing).free if existing else None
