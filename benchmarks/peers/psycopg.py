"""psycopg 3 with its pool, in autocommit mode: a statement alone is one round trip."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncRawCursor
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.harness.workbench import Workbench

#: Parameters are $1, $2, … as they are for asyncpg, and rows are asked for their columns by name.
HOW = {"autocommit": True, "cursor_factory": AsyncRawCursor, "row_factory": dict_row}


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Any]:
    pool = AsyncConnectionPool(bench.url, min_size=1, max_size=bench.pool_size, kwargs=HOW, open=False)
    await pool.open(wait=True)
    try:
        yield pool
    finally:
        await pool.close()
