"""The InfluxDBs tests run on: the tests' own, and a real one where the environment names it."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest

from gal_friday.config import InfluxSettings
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.errors import BucketMissing
from tests.influx.endpoint import InfluxEndpoint

OWN, REAL = "endpoint", "influxdb"
_PREFIX = "GAL_FRIDAY_TEST_INFLUXDB_"


def real_server() -> Mapping[str, str]:
    """What leads to a real InfluxDB 2.x; nothing where the environment names none."""
    names = ("url", "token", "org")
    found = {
        name: os.environ[f"{_PREFIX}{name.upper()}"]
        for name in names
        if f"{_PREFIX}{name.upper()}" in os.environ
    }
    return found if len(found) == len(names) else {}


def servers() -> Sequence[Any]:
    """The parameters of a fixture."""
    return [OWN, *([pytest.param(REAL, marks=pytest.mark.influxdb)] if real_server() else [])]


@asynccontextmanager
async def served(kind: str, **settings: Any) -> AsyncIterator[InfluxSettings]:
    """What leads to an empty bucket of one's own."""
    if kind == OWN:
        async with InfluxEndpoint() as endpoint:
            yield InfluxSettings(**{**endpoint.settings, **settings})
        return
    name = f"test-{uuid4().hex}"
    given = InfluxSettings(**{**real_server(), "bucket": name, **settings})
    async with TimeSeriesDB(given) as db:
        await db.ensure_bucket()
        try:
            yield given
        finally:
            await remove(db, given)


async def remove(db: TimeSeriesDB, settings: InfluxSettings) -> None:
    """Buckets and tasks of *settings*, from a real server."""
    for name in filter(None, (settings.bucket, settings.long_term_bucket)):
        with suppress(BucketMissing):
            found = await db._call("GET", "/api/v2/buckets", query={"name": name, "org": str(settings.org)})
            for bucket in found["buckets"]:
                await db._call("DELETE", f"/api/v2/buckets/{bucket['id']}")
    for task in (await db._call("GET", "/api/v2/tasks", query={"org": str(settings.org), "limit": "500"}))[
        "tasks"
    ]:
        if f" {settings.bucket} " in task.get("description", ""):
            await db._call("DELETE", f"/api/v2/tasks/{task['id']}")
