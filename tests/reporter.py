"""`python -m tests.reporter ORDER`: a process of its own that reports one fill again and again."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Self
from uuid import UUID

from sqlalchemy import URL

from gal_friday.config import Settings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from tests.ledger import a_report
from tests.replays import environment_of

TIMES = 5


class Reporter:
    """The process, seen from the tests."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: URL, order_id: UUID) -> Self:
        """It is connected, knows the order, and waits for `report`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.reporter", str(order_id)),
            cwd=Path(__file__).parents[1],
            env={**os.environ, **environment_of(url)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return cls(process)

    async def report(self, fill_id: str) -> list[str]:
        """What became of the fill of this id each time; then the process is gone."""
        told, _ = await self._process.communicate(fill_id.encode())
        assert self._process.returncode == 0
        return told.decode().split()


async def main(order_id: UUID) -> None:
    async with DatabaseConnectionPool(Settings.load().database) as pool:
        database = Database(pool)
        order = await database.orders.one(order_id)
        print("ready", flush=True)  # noqa: T201 -- its output is its answer
        fill_id = await asyncio.to_thread(sys.stdin.read)
        for _ in range(TIMES):
            outcome = await database.execution.apply_fill(a_report(order, fill_id=fill_id))
            print(outcome.result)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(UUID(sys.argv[1])))
