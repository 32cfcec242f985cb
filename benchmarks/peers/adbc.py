"""ADBC's PostgreSQL driver, which gives Arrow; it blocks, and so is measured alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from adbc_driver_postgresql import dbapi

from benchmarks.harness.workbench import Workbench


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Any]:
    with dbapi.connect(bench.url, autocommit=True) as connection:
        yield connection
