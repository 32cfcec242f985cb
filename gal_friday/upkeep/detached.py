"""Partitions that become tables of their own."""

from sqlalchemy import literal
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.migrations.autogenerate import DETACHED
from gal_friday.errors import AlreadyExists
from gal_friday.upkeep.catalog import as_sql, execute_ddl, is_there

_COMMENT = "COMMENT ON TABLE %(detached)s IS %(comment)s"


async def ensure_free(connection: AsyncConnection, detached: str) -> None:
    """Raise AlreadyExists where something has the name *detached*."""
    if await is_there(connection, detached):
        raise AlreadyExists("a detached partition is to be called like this", table=detached)


async def mark_detached(connection: AsyncConnection, detached: str) -> None:
    """Have the table *detached* known for what it is: not one that models declare."""
    await execute_ddl(connection, _COMMENT, {"comment": as_sql(literal(DETACHED))}, detached=detached)
