"""The bench's server: durable, on a disk of its own that can be filled up."""

import contextlib
import os
import shutil
import signal
import subprocess
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


def why_no_disk() -> str | None:
    """Why no disk can be mounted here; None where it can."""
    if os.geteuid() != 0:
        return "only root may mount a disk to be filled up"
    for program in ("mkfs.ext4", "mount", "umount", "losetup"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    found = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return found.stderr.strip() if found.returncode else None


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
            self._mount()

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

    def _mount(self) -> None:
        image = self.directory / "disk"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run([*MKFS, image], check=True)
        self.data_directory.mkdir(mode=0o700)
        subprocess.run(["mount", "-o", "loop", image, self.data_directory], check=True)
        (self.data_directory / "lost+found").rmdir()  # initdb wants an empty directory
        self.hand_over(self.data_directory)
        self.data_directory.chmod(0o700)
