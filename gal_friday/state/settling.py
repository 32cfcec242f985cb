"""Doing a thing until it is known to be stored, for work that can be done again without being done twice."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.errors import (
    CommitUnknown,
    ConnectionLost,
    InvalidValue,
    PersistenceError,
    StaleWrite,
    TransactionConflict,
)

T = TypeVar("T")

ATTEMPTS = 20


async def settled(pool: DatabaseConnectionPool, work: Callable[[CommitUnknown | None], Awaitable[T]]) -> T:
    """What *work* returns, tried again when it got lost; it is given the lost answer of an earlier try.

    Raises the last error, or CommitUnknown where an answer to a commit was lost and no later try could tell.
    """
    unknown: CommitUnknown | None = None

    async def attempt() -> T:
        nonlocal unknown
        try:
            return await work(unknown)
        except CommitUnknown as error:
            unknown = error
            raise

    try:
        return await pool.retry(
            attempt, on=(TransactionConflict, ConnectionLost, CommitUnknown), attempts=ATTEMPTS
        )
    except (StaleWrite, InvalidValue):
        raise
    except PersistenceError as error:
        if unknown is None or error is unknown:
            raise
        raise unknown from error
