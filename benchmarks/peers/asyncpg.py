"""Raw asyncpg: connections that are held, which is the least a program by hand can pay."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg  # type: ignore[import-untyped]  # it has no type hints

from benchmarks.harness.workbench import Workbench


class HeldConnections:
    """One connection for each task, lent without asking the server anything."""

    def __init__(self, connections: list["asyncpg.Connection[asyncpg.Record]"]) -> None:
        self._free = connections

    @contextmanager
    def lent(self) -> Iterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = self._free.pop()
        try:
            yield connection
        finally:
            self._free.append(connection)


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[HeldConnections]:
    """As many connections as the pools of the others may open."""
    connections = [await asyncpg.connect(bench.url) for _ in range(bench.pool_size)]
    held = HeldConnections(list(connections))
    try:
        yield held
    finally:
        for connection in connections:
            await connection.close()
