"""The client, seen from the bench."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


def unmeasured() -> dict[str, str]:
    """The environment of a process that is going to be killed: that leaves no figures of coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}


class ClientProcess:
    """A process of its own; *hear* is told each announcement as it arrives."""

    def __init__(self, process: asyncio.subprocess.Process, hear: Callable[[dict[str, Any]], None]) -> None:
        self._process = process
        self._hear = hear
        self._paused = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, arguments: Sequence[str], log: Path, hear: Callable[[dict[str, Any]], None]) -> Self:
        """A client that waits for work; what it logs goes to *log*."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.crash.client", *arguments),
                cwd=ROOT,
                env=unmeasured(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the bench
                limit=1 << 20,
            )
        return cls(process, hear)

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    def work(self, line: str) -> None:
        self._paused.clear()
        self._say(line)

    async def pause(self) -> None:
        """Return once every task has ended the call it was in, or the client has died."""
        self._say("pause")
        paused = asyncio.create_task(self._paused.wait())
        await asyncio.wait({paused, self._listening}, return_when=asyncio.FIRST_COMPLETED)
        paused.cancel()

    async def kill(self) -> None:
        """SIGKILL; all that it had announced is heard."""
        if self.is_alive:
            self._process.kill()
        await self._listening
        await self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if not line.endswith(b"\n"):
                break  # it was killed in the middle of it
            announcement = json.loads(line)
            if announcement["said"] == "paused":
                self._paused.set()
            else:
                self._hear(announcement)
