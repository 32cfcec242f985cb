"""`gal-friday replay` in a process of its own, to be waited for, stopped and killed."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from gal_friday.config import ENV_PREFIX
from gal_friday.errors import PersistenceError


class ReplayFailed(PersistenceError):
    """A replay in a process of its own did not do what it was started for."""


class ReplayProcess:
    """Started when made; ended, whatever it does then, with the block it is used in.

    *application* is the name its connections have in pg_stat_activity. Nothing of this process's own settings
    reaches it but *environment*; *directory* is where it runs and where its output is kept.
    """

    def __init__(self, arguments: Sequence[str], *, environment: Mapping[str, str], directory: Path) -> None:
        self.application = f"replay-{random.randrange(16**12):012x}"  # noqa: S311 -- a name, not a secret
        self._log = directory / f"{self.application}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        named = {f"{ENV_PREFIX}DATABASE__APPLICATION_NAME": self.application}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program, its arguments a list
                [sys.executable, "-m", "gal_friday", "replay", *arguments],
                cwd=directory,
                env={**inherited, **environment, **named},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def check_alive(self) -> None:
        """Raise ReplayFailed when it has ended by itself."""
        if (status := self._process.poll()) is not None:
            raise ReplayFailed("it ended before it could be killed", status=status, output=self.output)

    async def finish(self) -> None:
        """Wait until it has done all there was to do. Raises ReplayFailed when it could not."""
        if status := await asyncio.to_thread(self._process.wait):
            raise ReplayFailed("it ended with an error", status=status, output=self.output)

    def stop(self) -> None:
        """Hold it where it is, in the middle of whatever it does."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `stop`."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it with SIGKILL, stopped or not, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
