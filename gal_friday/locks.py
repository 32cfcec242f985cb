"""Locks of files, which the kernel gives back when their holder ends, however it ends."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

if sys.platform != "win32":
    import fcntl

POLL_SECONDS = 0.01


class Deadline:
    """A point in time by which something has to have happened."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def remaining_seconds(self) -> float:
        """Never below zero."""
        return max(0.0, self._end - time.monotonic())

    def pause(self) -> bool:
        """Wait one polling interval; False once the deadline has passed."""
        if not self.remaining_seconds:
            return False
        time.sleep(POLL_SECONDS)
        return True


class FileLock:
    """An flock(2) on the file *path*, which is created if missing.

    The lock belongs to the open file: it lasts until the last process that has it open, by inheritance too,
    has closed it or ended. So it is given up by closing the file, never by unlocking it.
    """

    def __init__(self, path: Path) -> None:
        # No symbolic link: as root, in someone else's directory, it could lead anywhere.
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def try_exclusive(self) -> bool:
        """Take the lock if no other open file has any; says whether it was taken."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def exclusive(self, deadline: Deadline) -> bool:
        """Take the lock before *deadline*; says whether it was taken."""
        while not self.try_exclusive():
            if not deadline.pause():
                return False
        return True

    def shared(self) -> None:
        """Take the lock together with others who share it, after whoever has it exclusively."""
        fcntl.flock(self.fd, fcntl.LOCK_SH)

    def close(self) -> None:
        """Close the file; others that inherited it keep the lock."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def is_held(path: Path) -> bool:
    """Whether any process holds the lock *path* in any way."""
    if not path.exists():
        return False
    with FileLock(path) as lock:
        return not lock.try_exclusive()
