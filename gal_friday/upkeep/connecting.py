"""The connection upkeep works on: as the owner of the tables, and alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import URL, BigInteger, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.connections import migration_engine
from gal_friday.errors import SchemaOutdated, UpkeepInProgress
from gal_friday.upkeep.catalog import execute_ddl, look_at
from gal_friday.upkeep.policies import DECLARED
from gal_friday.upkeep.steps import SET_LOCK_TIMEOUT

LOCK_KEY = int.from_bytes(b"gfupkeep")
_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)").bindparams(bindparam("key", LOCK_KEY, BigInteger))


@asynccontextmanager
async def as_owner(url: URL, settings: DatabaseSettings) -> AsyncIterator[AsyncConnection]:
    """A connection that acts as the owner of the tables and waits for locks but briefly.

    Raises DatabaseUnavailable, PermissionDenied, and SchemaOutdated where the tables are not there.
    """
    async with migration_engine(url, settings).connect() as connection:
        await connection.execute(SET_LOCK_TIMEOUT)
        tables = [await look_at(connection, name) for name in DECLARED]
        owner = next((table.owner for table in tables if table is not None), None)
        if owner is None:
            raise SchemaOutdated("its tables are not there yet")
        # So that what is made belongs to whoever owns the rest.
        await execute_ddl(connection, "SET ROLE %(owner)s", owner=owner)
        await connection.commit()
        yield connection  # closing it gives the lock of `be_alone` back


async def be_alone(connection: AsyncConnection) -> None:
    """Keep others from doing upkeep until *connection* is closed; raises UpkeepInProgress where one does."""
    if not await connection.scalar(_TRY_LOCK):
        raise UpkeepInProgress
    await connection.commit()
