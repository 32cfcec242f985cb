"""psycopg 3 with its pool, in autocommit mode: a statement alone is one round trip."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg_pool import AsyncConnectionPool

from benchmarks.harness.workbench import Workbench


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Any]:
    pool = AsyncConnectionPool(
        bench.url, min_size=1, max_size=bench.pool_size, kwargs={"autocommit": True}, open=False
    )
    await pool.open(wait=True)
    try:
        yield pool
    finally:
        await pool.close()
