"""What env.py and the MigrationManager share: how Alembic is configured and which connections it works on."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from alembic import context
from sqlalchemy import event
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.engine import URL, Connection
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connect_arguments import connect_arguments
from gal_friday.dal.error_translation import install_error_translation
from gal_friday.dal.migrations.autogenerate import (
    detached_partitions,
    partitions,
    register_plugin,
    render_item,
)
from gal_friday.dal.migrations.compatibility import record_revisions
from gal_friday.dal.migrations.grants import grant_on_what_is_new
from gal_friday.dal.migrations.migration_lock import MigrationLock, migration_lock
from gal_friday.dal.models import Base
from gal_friday.dal.models.types import TransactionId
from gal_friday.dal.retry_policy import Work
from gal_friday.dal.retrying import retry
from gal_friday.errors import ConfigurationError

T = TypeVar("T")

# While a statement waits for its lock, everyone who comes later waits behind it: trading stands still for as
# long. So a migration waits briefly, lets the others pass, and tries again.
LOCK_TIMEOUT = "2s"

#: Where a connection's `info` keeps the statement that failed last.
FAILED_STATEMENT = "gal_friday.failed_statement"


def context_options() -> dict[str, Any]:
    """Options of Alembic's `context.configure`, the same for every way to run it."""
    ischema_names["xid8"] = TransactionId
    return {
        "target_metadata": Base.metadata,
        "transaction_per_migration": True,
        "compare_type": True,
        "compare_server_default": True,
        "render_item": render_item,
        "on_version_apply": (record_revisions, grant_on_what_is_new),
        "autogenerate_plugins": [
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            register_plugin(),
        ],
    }


def online_options(connection: Connection) -> dict[str, Any]:
    """`context_options` for a database that can be looked at."""
    known: set[str] | None = None

    def include_name(name: str | None, kind: str, _parents: object) -> bool:
        nonlocal known
        if kind == "table" and known is None:
            known = partitions(connection).keys() | detached_partitions(connection)
        return kind != "table" or name not in (known or ())

    return {**context_options(), "connection": connection, "include_name": include_name}


def run_online(connection: Connection) -> None:
    """Run the Alembic command in progress on *connection*."""
    context.configure(**online_options(connection))
    with context.begin_transaction():
        context.run_migrations()


def run_offline() -> None:
    """Print the Alembic command in progress as SQL (`--sql`)."""
    context.configure(
        **context_options(),
        dialect_name="postgresql",
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()


def migration_engine(url: URL, settings: DatabaseSettings) -> AsyncEngine:
    """An engine whose connections are opened for one purpose and closed after it.

    Raises ConfigurationError where only PgBouncer is known: the lock is a session's, and PgBouncer lends its
    sessions to others.
    """
    if settings.pgbouncer and settings.migration_url is None:
        raise ConfigurationError(
            "migrations need a connection that does not lead through PgBouncer",
            variable="GAL_FRIDAY_DATABASE__MIGRATION_URL",
        )
    url, connect_args = connect_arguments(settings.model_copy(update={"pgbouncer": False}), url)
    connect_args["command_timeout"] = None
    connect_args["server_settings"] |= {
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "lock_timeout": LOCK_TIMEOUT,
    }
    # Plans prepared before a change of the schema are of no use after it.
    connect_args |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    engine = create_async_engine(url, poolclass=NullPool, connect_args=connect_args)
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


async def run_retrying(
    connection: AsyncConnection, work: Callable[[Connection], T], *, timeout_seconds: float
) -> T:
    """*work*, again from the start while other transactions hold the locks it needs."""

    async def attempt() -> T:
        await connection.rollback()
        return await connection.run_sync(work)

    return await retry(attempt, work=Work.MIGRATION, timeout_seconds=timeout_seconds)


def _remember_statement(failure: ExceptionContext) -> None:
    if failure.connection is not None and not failure.is_disconnect:
        failure.connection.info[FAILED_STATEMENT] = failure.statement
