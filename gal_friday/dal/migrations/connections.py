"""The connections migrations are made on, and the ones that only ask how the schema stands."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor, ExceptionContext, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import SetColumnComment, SetTableComment

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connect_arguments import connect_arguments
from gal_friday.dal.error_translation import (
    DRIVER_ERRORS,
    connection_failure,
    install_error_translation,
    translated_server_error,
)
from gal_friday.dal.migrations.migration_lock import MigrationLock, migration_lock
from gal_friday.dal.retry_policy import Work
from gal_friday.dal.retrying import retry
from gal_friday.errors import ConfigurationError, ConnectionLost

T = TypeVar("T")

# While a statement waits for its lock, everyone who comes later waits behind it: trading stands still for as
# long. So a migration waits briefly, lets the others pass, and tries again.
LOCK_TIMEOUT = "2s"

#: Where a connection's `info` keeps the statement that failed last.
FAILED_STATEMENT = "gal_friday.failed_statement"

#: Comments on tables and columns that are still to be sent, by connection.
_comments: WeakKeyDictionary[Connection, list[str]] = WeakKeyDictionary()


def migration_engine(url: URL, settings: DatabaseSettings) -> AsyncEngine:
    """An engine whose connections are opened for one purpose and closed after it.

    Raises ConfigurationError where only PgBouncer is known: the lock is a session's, and PgBouncer lends its
    sessions to others.
    """
    url, connect_args = _direct_arguments(url, settings)
    connect_args["command_timeout"] = None
    connect_args["server_settings"] |= {
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "lock_timeout": LOCK_TIMEOUT,
    }
    # Plans prepared before a change of the schema are of no use after it.
    connect_args |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    engine = create_async_engine(url, poolclass=NullPool, connect_args=connect_args)
    event.listen(engine.sync_engine, "do_execute", _execute_unprepared)
    event.listen(engine.sync_engine, "commit", _send_comments)
    event.listen(engine.sync_engine, "rollback", _forget_comments)
    event.listen(engine.sync_engine, "handle_error", _remember_statement)
    install_error_translation(engine)
    return engine


@asynccontextmanager
async def exclusive_connection(
    url: URL, settings: DatabaseSettings
) -> AsyncIterator[tuple[AsyncConnection, MigrationLock]]:
    """A connection to migrate with, and the lock that keeps others from doing so, on one of its own.

    Raises MigrationLockTimeout after `migration_wait_seconds`.
    """
    engine = migration_engine(url, settings)
    async with (
        migration_lock(engine, wait_seconds=settings.migration_wait_seconds) as lock,
        engine.connect() as connection,
    ):
        yield connection, lock


@asynccontextmanager
async def asking_connection(url: URL, settings: DatabaseSettings) -> AsyncIterator[Any]:
    """An asyncpg connection for a question or two; SQLAlchemy would ask the server several of its own first.

    Raises as `migration_engine` does, and what keeps the connection from being opened.
    """
    url, arguments = _direct_arguments(url, settings)
    _, target = url.get_dialect()().create_connect_args(url)
    try:
        connection = await asyncpg.connect(**target, **arguments)
    except (OSError, *DRIVER_ERRORS) as error:
        facts = {name: getattr(url, name) for name in ("host", "port", "database")}
        raise connection_failure(error, **facts, user=url.username) from error
    try:
        with translated_driver_errors():
            yield connection
    finally:
        await connection.close(timeout=settings.connect_timeout_seconds)


@contextmanager
def translated_driver_errors() -> Iterator[None]:
    """Turn what asyncpg raises itself into errors of gal_friday.errors."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise translated_server_error(error) from error
    except (OSError, *DRIVER_ERRORS) as error:
        raise ConnectionLost(str(error)) from error


async def run_retrying(
    connection: AsyncConnection, work: Callable[[Connection], T], *, timeout_seconds: float
) -> T:
    """*work*, again from the start while other transactions hold the locks it needs."""

    async def attempt() -> T:
        await connection.rollback()
        return await connection.run_sync(work)

    return await retry(attempt, work=Work.MIGRATION, timeout_seconds=timeout_seconds)


def _direct_arguments(url: URL, settings: DatabaseSettings) -> tuple[URL, dict[str, Any]]:
    if settings.pgbouncer and settings.migration_url is None:
        raise ConfigurationError(
            "migrations need a connection that does not lead through PgBouncer",
            variable="GAL_FRIDAY_DATABASE__MIGRATION_URL",
        )
    return connect_arguments(settings.model_copy(update={"pgbouncer": False}), url)


def _execute_unprepared(
    _cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext | None
) -> bool:
    """Send DDL as it is: one round trip, where to prepare, execute and forget it takes three.

    Comments, which are most of it, go together with what comes after them.
    """
    if not isinstance(context, DefaultExecutionContext):
        return False
    root = context.root_connection
    driver: Any = root.connection.driver_connection
    # Where there is to be a transaction, SQLAlchemy begins it with its first statement.
    is_plain = not parameters and context.isddl and driver.is_in_transaction()
    is_comment = context.compiled is not None and isinstance(
        context.compiled.statement, SetTableComment | SetColumnComment
    )
    if is_plain and is_comment:
        _comments.setdefault(root, []).append(statement)
        return True
    _send_comments(root)
    if is_plain:
        _send(root, statement)
    return is_plain


def _send_comments(connection: Connection) -> None:
    if comments := _comments.pop(connection, None):
        _send(connection, ";\n".join(comments))


def _forget_comments(connection: Connection) -> None:
    _comments.pop(connection, None)


def _send(connection: Connection, statements: str) -> None:
    adapted: Any = connection.connection.dbapi_connection
    adapted.run_async(lambda driver: driver.execute(statements))


def _remember_statement(failure: ExceptionContext) -> None:
    if failure.connection is not None and not failure.is_disconnect:
        failure.connection.info[FAILED_STATEMENT] = failure.statement
