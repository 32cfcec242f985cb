"""What tests of an engine's state have in common."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import inspect, text

from gal_friday.dal.models import Base, PortfolioPosition
from gal_friday.database import Database
from gal_friday.state import DatabaseStateManager
from tests.conftest import Undo

T = TypeVar("T")

SET_LOTS = text("UPDATE portfolio_positions SET lots = :lots WHERE position_id = 'P1'")
END_WAITING = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
ARE_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
COUNT_CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = :application"
)


async def the_position(manager: DatabaseStateManager, *, refresh: bool = False) -> PortfolioPosition:
    """Position P1 as *manager* gives it."""
    position = await manager.get_position("P1", refresh=refresh)
    assert position is not None
    return position


async def stored_lots(database: Database) -> int:
    """Lots of position P1 in the database."""
    position: PortfolioPosition = await database.portfolio_positions.one(("default", "P1"))
    return position.lots


def values_of(entity: Base) -> dict[str, Any]:
    """Every column of *entity*, none of which may be missing."""
    return {column.key: entity.__dict__[column.key] for column in inspect(entity).mapper.column_attrs}


def given_values(entity: Base) -> dict[str, Any]:
    """What is set on *entity*."""
    return {name: value for name, value in entity.__dict__.items() if not name.startswith("_")}


@asynccontextmanager
async def undone(transaction: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """*transaction*, rolled back at the end of the block."""
    with contextlib.suppress(Undo):
        async with transaction as t:
            yield t
            raise Undo


async def end_one_who_waits(database: Database) -> bool:
    """End the connections that wait for a lock; whether there was any."""
    async with database.pool.session() as session:
        return any(await session.scalars(END_WAITING))


async def is_gone(database: Database, application: str) -> bool:
    """Whether the server has ended the last connection of *application*, and what it did there."""
    async with database.pool.session() as session:
        return bool(await session.scalar(COUNT_CONNECTIONS, {"application": application}) == 0)


async def are_waiting(database: Database, count: int) -> bool:
    """Whether *count* connections wait for a lock."""
    async with database.pool.session() as session:
        return bool(await session.scalar(ARE_WAITING) == count)
