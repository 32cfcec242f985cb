"""Debian's VictoriaMetrics: a server of others that takes line protocol, to see that ours arrives."""

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

from tests.servers import reserved_port
from tests.waiting import until


class VictoriaMetrics:
    """A server of its own on a free port, with its data in *directory*."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("victoria-metrics", path=f"{os.environ['PATH']}:/usr/bin:/usr/sbin")
        assert program, "victoria-metrics is not installed"
        self._program = program
        self._directory = directory
        self._reserved = reserved_port()
        self.port: int = self._reserved.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()

    async def start(self) -> None:
        self._spawn()

        async def answers() -> bool:
            with suppress(urllib.error.URLError, ConnectionError):
                return self._get("/health") == b"OK"
            return False

        await until(answers, "VictoriaMetrics answers")

    def _spawn(self) -> None:
        self._process = subprocess.Popen(
            [
                self._program,
                f"-storageDataPath={self._directory}",
                f"-httpListenAddr=127.0.0.1:{self.port}",
                "-retentionPeriod=100y",
                "-search.latencyOffset=0s",
                "-memory.allowedBytes=100MB",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        """SIGTERM: what it has in memory is on disk afterwards."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=60)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=60)
        self._reserved.close()

    def points(self, measurement: str) -> Mapping[tuple[str, str, int], list[float]]:
        """All values of *measurement* by field, the tag `exchange` and milliseconds."""
        self._get("/internal/force_flush")
        match = urlencode({"match[]": f'{{__name__=~"{measurement}_.*"}}', "reduce_mem_usage": "1"})
        found: dict[tuple[str, str, int], list[float]] = {}
        for line in self._get(f"/api/v1/export?{match}").splitlines():
            series = json.loads(line)
            field = series["metric"]["__name__"].removeprefix(f"{measurement}_")
            for value, at in zip(series["values"], series["timestamps"], strict=True):
                found.setdefault((field, series["metric"]["exchange"], at), []).append(value)
        return found

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return bytes(answer.read())
