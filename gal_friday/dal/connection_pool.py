"""DatabaseConnectionPool: the engine, its connections and how they are obtained."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID
from weakref import WeakSet

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
)

from gal_friday.config import DatabaseSettings, shown
from gal_friday.dal.connect_arguments import server_parameters
from gal_friday.dal.engine import make_engine
from gal_friday.dal.error_facts import Sent
from gal_friday.dal.error_translation import (
    refuse_void_transaction,
    translate_driver_errors,
    translate_orm_errors,
)
from gal_friday.dal.health import HealthReport, checked_health, connect_first
from gal_friday.dal.hot_path.place import TELL_OF_NEW, drive
from gal_friday.dal.hot_path.rows import Values
from gal_friday.dal.hot_path.statements import Record, Statement, fetch
from gal_friday.dal.marked_commits import (
    MARKER_SETTING,
    NAME,
    CommitMessage,
    MarkingConnection,
    check_answerable,
    settle,
    to_be_marked,
)
from gal_friday.dal.measured_pool import MeasuredPool, PoolStats
from gal_friday.dal.models.enums import ReportSource
from gal_friday.dal.models.models_base import new_id
from gal_friday.dal.models.types import dumps
from gal_friday.dal.retry_policy import Work, is_retried
from gal_friday.dal.retrying import retry
from gal_friday.dal.session import UnitOfWorkSession, remember_given
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.dal.write_notices import Watcher, tables_written
from gal_friday.errors import (
    CommitUnknown,
    ConfigurationError,
    ConnectionLost,
    DatabaseUnavailable,
    LeaseLost,
    PersistenceError,
)

# Parameters that last as long as the transaction this statement opens.
BEGIN = """
    SELECT set_config(name, value, true) FROM unnest($1::text[], $2::text[]) AS setting (name, value)
"""
#: The server parameter that names the leases a process holds.
LEASE_SETTING = "gal_friday.lease"
T = TypeVar("T")

log = logging.getLogger(__name__)


def lease_clock() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class DatabaseConnectionPool:
    """Connections to one database, opened as they are needed and kept.

    Used as an async context manager, or between `initialize` and `close`. A restart of the server goes
    unnoticed between transactions: `session` tries again until the server is back, for at most
    `retry_timeout_seconds`.
    """

    def __init__(self, settings: DatabaseSettings, *, url: URL | None = None) -> None:
        """Opens nothing yet. Raises ConfigurationError where neither *url* nor *settings* name a database."""
        url = url or settings.sqlalchemy_url()
        if url is None:
            raise ConfigurationError("no database is named", variable="GAL_FRIDAY_DATABASE__URL")
        self._settings = settings
        self._url = url
        self._engine: AsyncEngine | None = None
        self._sessionmaker: async_sessionmaker[AsyncSession] | None = None
        self._opening = asyncio.Lock()
        #: Parameters `begin` sets because the connection could not be opened with them (PgBouncer).
        self.transaction_settings: dict[str, str] = server_parameters(settings) if settings.pgbouncer else {}
        #: On record with what no transaction of ours says otherwise.
        self._attribution = {
            "gal_friday.application": settings.application_name,
            "gal_friday.source": ReportSource.ENGINE.value,
        }
        #: Told of every write of this process once its transaction has ended, for as long as they live.
        self.watchers: WeakSet[Watcher] = WeakSet()
        #: Epoch of the lease this process holds, by account: every transaction names them, and what it
        #: intends in an account another process leads is refused.
        self.leases: dict[str, int] = {}
        #: Until when each of them holds for certain, by `lease_clock`.
        self.lease_deadlines: dict[str, float] = {}

    def __repr__(self) -> str:
        state = "closed" if self._engine is None else "open"
        return f"<DatabaseConnectionPool {shown(self._url)} {state}>"

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def initialize(self) -> None:
        """Open the pool and prove it with one connection; does nothing when it is open.

        Raises DatabaseUnavailable when the server cannot be reached for `retry_timeout_seconds`, and at once
        ConnectionRejected when it refuses the login or has no such database.
        """
        async with self._opening:
            if self._engine is not None:
                return
            engine = make_engine(self._settings, self._url)
            try:
                await self.retry(lambda: connect_first(engine), work=Work.BEGIN)
            except BaseException:
                await engine.dispose()
                raise
            self._engine = engine
        log.info("pool opened", extra={"database": shown(self._url)})

    async def close(self) -> None:
        """Close all connections, those in use when they are given back; does nothing when it is closed."""
        async with self._opening:
            engine, self._engine, self._sessionmaker = self._engine, None, None
            if engine is not None:
                await engine.dispose()

    @property
    def engine(self) -> AsyncEngine:
        """The engine. Raises DatabaseUnavailable while the pool is not open."""
        if self._engine is None:
            raise DatabaseUnavailable("the pool is not open")
        return self._engine

    @property
    def application_name(self) -> str:
        """What the audit record knows this application by."""
        return self._settings.application_name

    @property
    def sessionmaker(self) -> async_sessionmaker[AsyncSession]:
        """Makes sessions whose entities stay readable after commit. Raises as `engine` does."""
        if self._sessionmaker is None:
            # close_resets_only: a session that was closed must not quietly begin anew.
            self._sessionmaker = async_sessionmaker(
                self.engine,
                expire_on_commit=False,
                close_resets_only=False,
                sync_session_class=UnitOfWorkSession,
                info={TELL_OF_NEW: remember_given},
            )
        return self._sessionmaker

    @asynccontextmanager
    async def transaction(
        self,
        *,
        actor: str | None = None,
        source: ReportSource = ReportSource.ENGINE,
        read_only: bool = False,
        snapshot: bool = False,
    ) -> AsyncIterator[UnitOfWork]:
        """One transaction: committed when the block ends cleanly, undone by any exception.

        *actor* is who acts (default: the login role) and *source* how what is stored became known, on record
        for as long as the transaction lasts; with *read_only* the server refuses writes; with *snapshot* all
        statements see what was committed when it began, and changing a row that was changed since raises
        TransactionConflict.

        Where the connection breaks before COMMIT is answered, the server is asked on another one, for at most
        `retry_timeout_seconds`: a commit that was carried out ends the block cleanly, after ConnectionLost
        nothing was stored nor will be, and CommitUnknown says that no server answered. Raises besides what
        `begin` does, what the block raises, and what the database says of the last changes.
        """
        marker = new_id()
        settings = {
            **self._attribution,
            "gal_friday.source": ReportSource(source).value,
            LEASE_SETTING: self._leases_as_text(),
        }
        if actor is not None:
            settings["gal_friday.actor"] = actor
        if read_only:
            settings["transaction_read_only"] = "on"
        else:
            settings[MARKER_SETTING] = str(marker)
        async with self.session(settings, snapshot=snapshot) as session:
            uow = UnitOfWork(session)
            yield uow
            await uow.flush()
            with translate_orm_errors():
                connection = await session.connection()
            refuse_void_transaction(connection)
            commit = None if read_only else to_be_marked(connection, marker)
            try:
                with translate_orm_errors():
                    await session.commit()
            except ConnectionLost as error:
                if commit is not None:  # else there was nothing to be stored
                    await self._settle(commit, error)
                    _of_ours(session).let_go_of_deleted()

    async def _settle(self, commit: CommitMessage, loss: ConnectionLost) -> None:
        """Return where the commit whose answer was lost had been carried out, and else say what is known."""
        if not commit.was_sent:
            raise CommitUnknown("it was not marked", **loss.facts) from loss
        log.warning("asking what became of a commit", extra={"marker": str(commit.marker)})
        if not await self.was_committed(commit.marker):
            raise ConnectionLost("before COMMIT was carried out; nothing was stored", **loss.facts) from loss

    async def was_committed(self, marker: UUID) -> bool:
        """Whether the transaction with this *marker* was committed; where not, it never will be any more.

        For the marker of a CommitUnknown, within a day. Waits while the transaction is being committed.
        Raises CommitUnknown when nothing could be learned for `retry_timeout_seconds`, and InvalidValue for
        what is no marker or too old to be asked for.
        """
        check_answerable(marker)
        budget = self._settings.retry_timeout_seconds

        async def ask() -> bool:
            async with self.autocommit() as connection:
                return await settle(connection, marker)

        try:
            async with asyncio.timeout(budget):
                return await self.retry(ask, work=Work.SETTLEMENT)
        except TimeoutError as error:
            raise CommitUnknown(f"no answer in {budget:g} s", marker=marker) from error
        except PersistenceError as error:
            raise CommitUnknown(str(error), marker=marker) from error

    def check_lease(self, account_id: str) -> None:
        """Raise LeaseLost where the lease this process holds may have expired by now.

        For what no database can refuse: to be asked right before something is sent to the exchange. A process
        without a lease in the account passes; what it intends there the database decides on.
        """
        deadline = self.lease_deadlines.get(account_id)
        if deadline is not None and lease_clock() >= deadline:
            raise LeaseLost(
                "it may have expired meanwhile", account_id=account_id, epoch=self.leases.get(account_id)
            )

    async def retrying(
        self,
        work: Callable[[UnitOfWork], Awaitable[T]],
        *,
        actor: str | None = None,
        attempts: int = 20,
    ) -> T:
        """What *work* returns, done in a transaction that is tried again, from the start, when it got lost.

        Tried again after StaleWrite, TransactionConflict and ConnectionLost, when nothing of it was stored;
        never after CommitUnknown. *work* reads what it changes, so that each try starts from what is there
        then. At most *attempts* tries within `retry_timeout_seconds`; then the last error is raised.
        """

        async def attempt() -> T:
            async with self.transaction(actor=actor) as uow:
                return await work(uow)

        return await self.retry(attempt, work=Work.UNIT_OF_WORK, attempts=attempts)

    async def retry(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        work: Work,
        attempts: int | None = None,
    ) -> T:
        """What *attempt* returns, tried again as `retry_policy` says of this kind of *work*, with backoff.

        At most *attempts* tries within `retry_timeout_seconds`; then the last error is raised.
        """
        return await retry(
            attempt, work=work, timeout_seconds=self._settings.retry_timeout_seconds, attempts=attempts
        )

    @asynccontextmanager
    async def session(
        self, settings: Mapping[str, str] | None = None, *, snapshot: bool = False
    ) -> AsyncIterator[AsyncSession]:
        """A session with an open transaction, its server parameters set as `begin` does.

        The transaction is rolled back at the end of the block unless the block has committed it; what the
        block added is then new again, to be added in another transaction.
        """
        async with self.sessionmaker() as session:
            await self.begin(session, settings or {}, snapshot=snapshot)
            try:
                yield session
            except BaseException:
                _of_ours(session).give_back_new()
                raise
            finally:
                for watcher in list(self.watchers):
                    if written := tables_written(session.sync_session, watcher=watcher):
                        await watcher.rows_written(written)

    async def fetch(self, statement: Statement, values: Values, *, intends: bool = False) -> list[Record]:
        """The records of *statement*, a transaction of its own in one round trip; not behind PgBouncer.

        With *intends* it goes on record as this application's, under its leases. Raises ConnectionLost
        where it was sent and not answered: it may have been carried out. Else nothing was.
        """
        pool = self._measured
        lent = await pool.lend()
        driver = lent.connection.driver_connection
        assert isinstance(driver, MarkingConnection)
        try:
            if intends and driver.leases_named != self.leases:
                settings = {**self._attribution, LEASE_SETTING: self._leases_as_text()}
                with translate_driver_errors(Sent(NAME), driver):
                    await driver.name(settings, self.leases)
            records = await fetch(driver, statement, values)
        except BaseException as error:
            # What the server or a column refused has left the connection as it was.
            if isinstance(error, PersistenceError) and not isinstance(error, DatabaseUnavailable):
                await pool.give_back(lent)
            else:
                pool.drop(lent)
            raise
        await pool.give_back(lent)
        return records

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose every statement is a transaction of its own: one round trip each.

        Behind PgBouncer the connection's parameters take a transaction to set; there the block is one.
        """
        if self.transaction_settings:
            async with self.session() as session:
                yield await session.connection()
                await session.commit()
            return
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def begin(
        self, session: AsyncSession, settings: Mapping[str, str], *, snapshot: bool = False
    ) -> None:
        """Open the transaction of *session*, in one round trip after BEGIN, with parameters that end with it.

        While the server is away it is tried again, for at most `retry_timeout_seconds`: nothing has been done
        in the transaction yet. Raises DatabaseUnavailable after that, PoolTimeout when no connection is free.
        """
        parameters = {**self.transaction_settings, **settings}
        arguments = (list(parameters), list(parameters.values()))

        async def attempt() -> None:
            try:
                # The isolation level is part of BEGIN itself.
                options = {"isolation_level": "REPEATABLE READ"} if snapshot else None
                connection = await session.connection(execution_options=options)
                await connection.exec_driver_sql(BEGIN, arguments)
                drive(session, connection)
            except DatabaseUnavailable:
                await session.rollback()  # gives the broken connection back, to be replaced
                raise

        try:
            await attempt()
        except DatabaseUnavailable as error:
            if not is_retried(error, Work.BEGIN):
                raise
            await self.retry(attempt, work=Work.BEGIN)

    async def health_check(self, *, timeout_seconds: float = 5.0) -> HealthReport:
        """Ask the server something simple; a database that does not answer is reported, not raised."""
        if self._engine is None:
            return HealthReport(False, 0.0, error="the pool is not open")
        return await checked_health(self._engine, timeout_seconds=timeout_seconds)

    def stats(self) -> PoolStats:
        """Figures of the pool now. Raises DatabaseUnavailable while it is not open."""
        return self._measured.stats()

    @property
    def runs_single_statements(self) -> bool:
        """Whether `fetch` serves; PgBouncer needs a transaction around everything."""
        return not self._settings.pgbouncer

    @property
    def _measured(self) -> MeasuredPool:
        pool = self.engine.pool
        assert isinstance(pool, MeasuredPool)
        return pool

    def _leases_as_text(self) -> str:
        return dumps(self.leases) if self.leases else ""


def _of_ours(session: AsyncSession) -> UnitOfWorkSession:
    assert isinstance(session.sync_session, UnitOfWorkSession)
    return session.sync_session
