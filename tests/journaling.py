"""Logs to test with, and processes that write to one until they are killed."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from gal_friday.durable_log.log import DurableLog

ROOT = Path(__file__).parents[1]
PLENTY = 64 * 1024 * 1024


@asynccontextmanager
async def a_log(directory: Path, **options: Any) -> AsyncIterator[DurableLog]:
    log = await DurableLog.open(directory, **{"max_bytes": PLENTY, **options})
    try:
        yield log
    finally:
        await log.close()


async def payloads_in(directory: Path, **options: Any) -> list[bytes]:
    """All that is undelivered."""
    async with a_log(directory, **options) as log:
        return [record.payload for record in await log.read(limit=1_000_000)]


def segments_in(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


def only_segment(directory: Path) -> Path:
    (segment,) = segments_in(directory)
    return segment


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Writes beyond *size* bytes of any file fail, the part before it being written: as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Writer:
    """A process of its own that writes until it is killed."""

    def __init__(self, module: str, *arguments: str) -> None:
        # Of no one's settings; and what is killed leaves no data of its coverage.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GAL_FRIDAY_", "COVERAGE_"))
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def acknowledged(self, count: int) -> Sequence[str]:
        """The next *count* lines."""
        assert self._process.stdout is not None
        lines = [self._process.stdout.readline().decode().strip() for _ in range(count)]
        assert all(lines), "the writer ended"
        return lines

    def kill(self) -> Sequence[str]:
        """SIGKILL; the lines it had printed and nobody has read."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        with self._process.stdout as output:  # communicate() would pass over what is in its buffer already
            return output.read().decode().splitlines()


def copy_of(directory: Path, target: Path) -> Path:
    return Path(shutil.copytree(directory, target, dirs_exist_ok=True))
