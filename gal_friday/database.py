"""The composition root: `open_database` puts server, schema, pool and repositories together.

`async_engine` and `AsyncSessionFactory` are for those who bring their own sessions: made on first use from
`Settings.load()`, without migrating anything.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import async_sessionmaker

from gal_friday.config import DatabaseSettings, Settings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.engine import make_engine
from gal_friday.dal.journal.fact_journal import FactJournal
from gal_friday.dal.journal.slots import directory_name
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, ReportSource
from gal_friday.dal.pooled_execution import PooledExecution
from gal_friday.dal.repositories import Repositories
from gal_friday.dal.unit_of_work import UnitOfWork, repository_classes
from gal_friday.embedded import EmbeddedServer
from gal_friday.errors import ConfigurationError, LogFull, LogUnwritable
from gal_friday.timeseries.opening import TimeSeries, open_time_series, time_series_store
from gal_friday.timeseries.writer import TimeSeriesWriter

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

T = TypeVar("T")


class Database(Repositories):
    """An open database.

    `transaction()` gives a unit of work; the repositories are attributes here too, and each call on one of
    those (`await db.orders.get(order_id)`) is a transaction of its own.
    """

    def __init__(
        self,
        pool: DatabaseConnectionPool,
        journal: FactJournal | None = None,
        time_series: TimeSeries | None = None,
    ) -> None:
        self.pool = pool
        #: Facts of the exchange that wait for the database.
        self.journal = journal or FactJournal(pool)
        self.execution = PooledExecution(pool, self.journal)
        #: Candles, ticks, order books, features, predictions and metrics.
        self.time_series = time_series.store if time_series else time_series_store(pool)
        self._points = time_series.writer if time_series else None

    @property
    def points(self) -> TimeSeriesWriter:
        """Takes points to `time_series` in the background: `db.points.write(…)` never waits.

        Raises ConfigurationError for a database that `open_database` did not open, or did without a writer.
        """
        if self._points is None:
            raise ConfigurationError(
                "nothing writes in the background",
                variable="GAL_FRIDAY_SPOOL__ENABLED",
                accepted="true, and a database opened with open_database",
            )
        return self._points

    def __getattr__(self, name: str) -> Any:
        if name not in repository_classes():
            raise AttributeError(f"{type(self).__name__!r} has no repository {name!r}")
        return _OwnTransaction(self.pool, name)

    def transaction(
        self,
        *,
        actor: str | None = None,
        source: ReportSource = ReportSource.ENGINE,
        read_only: bool = False,
        snapshot: bool = False,
    ) -> "AbstractAsyncContextManager[UnitOfWork]":
        """One transaction: committed on a clean exit, undone by any exception.

        See `DatabaseConnectionPool.transaction`.
        """
        return self.pool.transaction(actor=actor, source=source, read_only=read_only, snapshot=snapshot)

    async def retrying(
        self, work: Callable[[UnitOfWork], Awaitable[T]], *, actor: str | None = None, attempts: int = 20
    ) -> T:
        """Run *work* in a transaction, again from the start when another transaction got in its way.

        See `DatabaseConnectionPool.retrying`.
        """
        return await self.pool.retrying(work, actor=actor, attempts=attempts)

    async def was_committed(self, marker: UUID) -> bool:
        """Whether the transaction of a CommitUnknown was committed; where not, it never will be.

        See `DatabaseConnectionPool.was_committed`.
        """
        return await self.pool.was_committed(marker)


class _OwnTransaction:
    """A repository whose every call is a transaction of its own."""

    def __init__(self, pool: DatabaseConnectionPool, name: str) -> None:
        self._pool = pool
        self._name = name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        function = getattr(repository_classes()[self._name], method)
        return partial(self._stream if inspect.isasyncgenfunction(function) else self._call, method)

    async def _call(self, method: str, *args: Any, **options: Any) -> Any:
        async with self._pool.transaction() as uow:
            return await getattr(getattr(uow, self._name), method)(*args, **options)

    async def _stream(self, method: str, *args: Any, **options: Any) -> AsyncIterator[Any]:
        async with (
            self._pool.transaction() as uow,
            aclosing(getattr(getattr(uow, self._name), method)(*args, **options)) as items,
        ):
            async for item in items:
                yield item


@asynccontextmanager
async def open_database(settings: Settings | None = None) -> AsyncIterator[Database]:
    """An open, migrated database; closed when the block ends.

    With no `database.url` configured the embedded server is started, or joined when another process of
    yours runs it. The account 'default' is opened if there is none.

    Facts of the exchange that an earlier process had to leave in the journal are applied first.

    Raises ConfigurationError, EmbeddedServerError, DatabaseUnavailable, MigrationFailed,
    MigrationLockTimeout, SchemaTooNew, or SchemaOutdated where `migrate_on_open` is off and revisions are
    pending.
    """
    settings = settings or Settings.load()
    async with AsyncExitStack() as stack:
        url, migration_url = settings.database.sqlalchemy_url(), settings.database.sqlalchemy_migration_url()
        if url is None or migration_url is None:
            url = migration_url = await _start_embedded(settings, stack)
        await _bring_up_to_date(migration_url, settings.database)
        pool = await stack.enter_async_context(DatabaseConnectionPool(settings.database, url=url))
        async with pool.transaction(actor="open_database") as uow:
            await uow.accounts.open_account(DEFAULT_ACCOUNT_ID)
            await uow.commit_markers.prune()
        journal = await open_journal(settings, pool)
        stack.push_async_callback(journal.close)
        await journal.drain_or_wait()
        time_series = await stack.enter_async_context(open_time_series(settings, pool))
        yield Database(pool, journal, time_series)


async def open_journal(
    settings: Settings, pool: DatabaseConnectionPool, *, directory: Path | None = None
) -> FactJournal:
    """The journal of the database that *settings* name, with what was left there by processes that ended.

    *directory* is another one's, for its facts to go to this database. Raises ConfigurationError where
    nothing can be written there.
    """
    if not settings.journal.enabled:
        return FactJournal(pool)
    directory = directory or journal_root(settings) / directory_name(settings.database.sqlalchemy_url())
    try:
        return await FactJournal.open(
            pool,
            directory,
            max_bytes=settings.journal.max_bytes,
            patience_seconds=settings.journal.patience_seconds,
        )
    except (LogUnwritable, LogFull) as error:
        raise ConfigurationError(
            f"facts cannot be kept there while the database is away: {error.explanation}",
            variable="GAL_FRIDAY_JOURNAL__DIRECTORY",
            directory=str(directory),
            accepted="a directory to write in; or GAL_FRIDAY_JOURNAL__ENABLED=false",
        ) from error


def journal_root(settings: Settings) -> Path:
    """The directory the journals of all databases are in."""
    return (settings.journal.directory or settings.embedded.data_directory / "journal").absolute()


async def _start_embedded(settings: Settings, stack: AsyncExitStack) -> URL:
    server = EmbeddedServer(settings.embedded)
    stack.push_async_callback(asyncio.to_thread, server.stop)
    starting = asyncio.ensure_future(asyncio.to_thread(server.start))
    try:
        return (await asyncio.shield(starting)).url
    except asyncio.CancelledError:
        await asyncio.wait([starting])  # a start cannot be broken off, only followed by a stop
        raise


async def _bring_up_to_date(url: URL, settings: DatabaseSettings) -> None:
    manager = MigrationManager(url, settings)
    if settings.migrate_on_open:
        await manager.run_migrations()
    else:
        await manager.check_compatibility()


@cache
def _engine_of_ones_own() -> "AsyncEngine":
    settings = Settings.load()
    url = settings.database.sqlalchemy_url() or EmbeddedServer(settings.embedded).start().url
    return make_engine(settings.database, url)


if TYPE_CHECKING:
    async_engine: AsyncEngine
    AsyncSessionFactory: async_sessionmaker[AsyncSession]


def __getattr__(name: str) -> Any:
    if name == "async_engine":
        return _engine_of_ones_own()
    if name == "AsyncSessionFactory":
        return async_sessionmaker(_engine_of_ones_own(), expire_on_commit=False)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
