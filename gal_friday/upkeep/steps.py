"""One step of upkeep: a transaction that waits for locks so briefly that nobody behind it notices."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.retry_policy import Work
from gal_friday.dal.retrying import retry
from gal_friday.errors import LockTimeout
from gal_friday.upkeep.catalog import PartitionedTable, execute_ddl

T = TypeVar("T")

# While a statement waits for its lock, everyone who comes later waits behind it.
LOCK_TIMEOUT = "100ms"
#: How long a step is tried again before it is left for the next run.
PATIENCE_SECONDS = 60.0

SET_LOCK_TIMEOUT = text("SELECT set_config('lock_timeout', :value, false)").bindparams(value=LOCK_TIMEOUT)
_OTHERS_WAIT = text("""
    SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))
""")


async def in_a_step(
    connection: AsyncConnection, work: Callable[[], Awaitable[T]], *, patience_seconds: float
) -> T:
    """*work* in a transaction, undone and begun again while others are in its way or it is in theirs."""

    async def attempt() -> T:
        await connection.rollback()
        async with connection.begin():
            return await work()

    return await patiently(attempt, patience_seconds=patience_seconds)


async def patiently(attempt: Callable[[], Awaitable[T]], *, patience_seconds: float) -> T:
    """*attempt*, again after random pauses while others are in its way or it is in theirs."""
    return await retry(attempt, work=Work.UPKEEP, timeout_seconds=patience_seconds)


async def lock_out(connection: AsyncConnection, table: PartitionedTable) -> None:
    """Let nobody else use *table* until the transaction ends; raises LockTimeout where others do.

    A statement that chose its partitions before one is attached would be refused by the default partition,
    or not see the rows that moved: so they all have to be over, and the next have to begin after it.
    """
    for referred_to in table.referred_to:  # the server locks them so, to attach and to detach
        await execute_ddl(
            connection, "LOCK TABLE %(name)s IN SHARE ROW EXCLUSIVE MODE NOWAIT", name=referred_to
        )
    await execute_ddl(connection, "LOCK TABLE ONLY %(name)s IN ACCESS EXCLUSIVE MODE", name=table.name)
    if table.default_partition is not None:
        await execute_ddl(
            connection,
            "LOCK TABLE ONLY %(name)s IN ACCESS EXCLUSIVE MODE NOWAIT",
            name=table.default_partition,
        )


async def give_way(connection: AsyncConnection) -> None:
    """Raise LockTimeout where another session waits for what this transaction holds."""
    if await connection.scalar(_OTHERS_WAIT):
        raise LockTimeout("others wait for what upkeep holds: it gives way")


@asynccontextmanager
async def autocommitting(connection: AsyncConnection) -> AsyncIterator[None]:
    """For statements that are no part of a transaction, like VACUUM."""
    await connection.rollback()
    await connection.execution_options(isolation_level="AUTOCOMMIT")
    try:
        yield
    finally:
        await connection.rollback()
        await connection.execution_options(isolation_level="READ COMMITTED")
