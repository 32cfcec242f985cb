"""`open_time_series`: the store of time series that the settings name, and a writer that never waits."""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from gal_friday.config import InfluxSettings, Settings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.journal.slots import directory_name
from gal_friday.errors import ConfigurationError, LogFull, LogUnwritable, PersistenceError
from gal_friday.timeseries.postgres_store import PostgresTimeSeriesStore
from gal_friday.timeseries.store import TimeSeriesStore
from gal_friday.timeseries.writer import TimeSeriesWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """Where time series are asked for (`store`), and how they get there without a wait (`writer`)."""

    store: TimeSeriesStore
    writer: TimeSeriesWriter | None


@asynccontextmanager
async def open_time_series(settings: Settings, pool: DatabaseConnectionPool) -> AsyncIterator[TimeSeries]:
    """Time series in InfluxDB where `influxdb.url` is set, else in the database of *pool*.

    A server that is away holds nothing up: points wait in the spool meanwhile, those of ended processes
    too. Without a writer where `spool.enabled` is off. Raises ConfigurationError where nothing can be written
    there.
    """
    async with open_store(settings, pool) as store:
        if not settings.spool.enabled:
            yield TimeSeries(store, None)
            return
        writer = await open_writer(settings, store)
        try:
            yield TimeSeries(store, writer)
        finally:
            await writer.close()


def time_series_store(
    pool: DatabaseConnectionPool | None, settings: InfluxSettings | None = None
) -> TimeSeriesStore:
    """InfluxDB where *settings* name one, else the tables of *pool*. Close it before the pool.

    To be called in a running event loop.
    """
    if settings is not None and settings.url:
        from gal_friday.dal.influxdb_client import TimeSeriesDB  # noqa: PLC0415 -- it takes long to import

        return TimeSeriesDB(settings)
    assert pool is not None, "the tables of which database?"
    return PostgresTimeSeriesStore(pool)


@asynccontextmanager
async def open_store(
    settings: Settings, pool: DatabaseConnectionPool | None
) -> AsyncIterator[TimeSeriesStore]:
    """The store that *settings* name; InfluxDB needs no *pool*. A bucket that is missing is made."""
    store = time_series_store(pool, settings.influxdb)
    try:
        if isinstance(store, HasBucket):
            await _look_after_bucket(store, settings.spool.patience_seconds)
        yield store
    finally:
        await store.close()


@runtime_checkable
class HasBucket(Protocol):
    """A store whose place on the server has to be made."""

    async def ensure_bucket(self) -> None:
        """Make it where it is missing."""
        ...


async def _look_after_bucket(store: HasBucket, patience_seconds: float) -> None:
    try:
        await asyncio.wait_for(store.ensure_bucket(), patience_seconds)
    except (PersistenceError, TimeoutError) as error:
        log.warning("the bucket was not looked after", extra={"error": str(error) or "no answer in time"})


async def open_writer(
    settings: Settings, store: TimeSeriesStore, *, directory: Path | None = None
) -> TimeSeriesWriter:
    """The writer for *store*, with what waits for it, in *directory* if given. Raises ConfigurationError."""
    directory = directory or spool_root(settings) / spool_name(settings)
    try:
        return await TimeSeriesWriter.open(store, directory, settings.spool)
    except (LogUnwritable, LogFull) as error:
        raise ConfigurationError(
            f"points cannot be kept there while their store is away: {error.explanation}",
            variable="GAL_FRIDAY_SPOOL__DIRECTORY",
            directory=str(directory),
            accepted="a directory to write in; or GAL_FRIDAY_SPOOL__ENABLED=false",
        ) from error


def spool_root(settings: Settings) -> Path:
    """The directory the spools of all stores are in."""
    return (settings.spool.directory or settings.embedded.data_directory / "spool").absolute()


def spool_name(settings: Settings) -> str:
    """What points for a store lie in: InfluxDB is known by its address, organization and bucket."""
    given = settings.influxdb
    if not given.url:
        return directory_name(settings.database.sqlalchemy_url())
    where = urlsplit(given.url).netloc
    digest = hashlib.sha256(f"{where}\n{given.org}\n{given.bucket}".encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9.@-]+", "_", f"{given.bucket}@{where}")[:80] + f"-{digest}"
