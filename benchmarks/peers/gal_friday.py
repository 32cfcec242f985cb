"""gal_friday as its users have it: `open_database`, nothing switched off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness.workbench import Workbench
from gal_friday import Database, Settings, open_database


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Database]:
    settings = Settings.load(
        database={"url": bench.url, "pool_size": bench.pool_size, "max_overflow": 0},
        journal={"directory": bench.directory / "journal"},
    )
    async with open_database(settings) as database:
        yield database
