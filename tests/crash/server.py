"""The bench's server: durable, on a disk of its own that can be filled up."""

import contextlib
import os
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.servers import DEADLINE_SECONDS, PostgresServer

DISK_BYTES = 4 << 30
#: With no spare segments the WAL, too, soon needs more of a full disk.
SETTINGS = {
    "wal_recycle": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    "recovery_init_sync_method": "syncfs",  # a thousand recoveries, each of a thousand files
}
MKFS = ("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal")

# Outlives even a SIGKILL of the bench: its input ends with the bench, and soon nothing uses the disk. The
# server's own watchdog may not delete what the client, another user, has written.
CLEANER = """
cat >/dev/null
for _ in $(seq 100); do
    grep -q " $1 " /proc/mounts || break
    umount "$1" 2>/dev/null || sleep 0.1
done
rm -rf "$2"
"""


@cache
def why_no_disk() -> str | None:
    """Why no disk can be mounted here, which is found out by mounting one; None where it can."""
    if os.geteuid() != 0:
        return "only root may mount a disk to be filled up"
    with tempfile.TemporaryDirectory() as name:
        image, place = Path(name, "disk"), Path(name, "mounted")
        place.mkdir()
        try:
            _mount(image, place, size=1 << 20)
            subprocess.run(["umount", place], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", None) or str(error)
            return f"no disk can be mounted: {told.splitlines()[0]}"
    return None


def _mount(image: Path, place: Path, *, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    for command in ((*MKFS, image), ("mount", "-o", "loop", image, place)):
        subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)


class CrashServer(PostgresServer):
    """Struck in every way there is, and brought back each time."""

    def __init__(self, bin_directory: Path) -> None:
        super().__init__(bin_directory, durable=True, settings=SETTINGS)
        #: Where the client keeps what the server cannot take.
        self.journal = self.directory / "journal"
        self._cleaner = subprocess.Popen(
            ["sh", "-c", CLEANER, "cleaner", str(self.data_directory), str(self.journal)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if why_no_disk() is None:
            self._use_own_disk()

    def close(self) -> None:
        if self._process:
            self.stop("immediate")
        assert self._cleaner.stdin is not None
        self._cleaner.stdin.close()
        self._cleaner.wait(DEADLINE_SECONDS)
        super().close()

    def fill_disk(self) -> None:
        """Leave no byte free."""
        free = os.statvfs(self.data_directory)
        with self._ballast.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
            while True:  # what the figures left out
                file.seek(0, os.SEEK_END)
                file.write(bytes(4096))
                file.flush()

    def free_disk(self) -> None:
        self._ballast.unlink()

    def processes(self) -> list[int]:
        """The postmaster, then its children."""
        listing = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True, check=False
        )
        return [self.pid, *map(int, listing.stdout.split())]

    def signal_all(self, which: signal.Signals) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)

    def revive(self) -> None:
        """Start it where it has given up: where there was no room to recover in, it does."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.kill()
            self.start()

    @property
    def _ballast(self) -> Path:
        return self.data_directory / "ballast"

    def _use_own_disk(self) -> None:
        self.data_directory.mkdir(mode=0o700)
        _mount(self.directory / "disk", self.data_directory, size=DISK_BYTES)
        (self.data_directory / "lost+found").rmdir()  # initdb wants an empty directory
        self.hand_over(self.data_directory)
        self.data_directory.chmod(0o700)
