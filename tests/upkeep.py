"""Upkeep as tests run it, and where it leaves rows."""

from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
from sqlalchemy import URL

from gal_friday.config import DatabaseSettings, UpkeepSettings
from gal_friday.upkeep import Upkeep


def upkeep(url: URL, **settings: Any) -> Upkeep:
    """Upkeep of the database at *url* with *settings* of its own group."""
    return Upkeep(url, DatabaseSettings(), UpkeepSettings(**settings))


class Owner:
    """The owner's own connection, which sees tables and partitions as they are."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection

    async def places(self, table: str) -> dict[str, int]:
        """How many rows of *table* are in which partition."""
        rows = await self.connection.fetch(
            f"SELECT tableoid::regclass::text AS place, count(*) FROM {table} GROUP BY 1 ORDER BY 1"
        )
        return {row["place"]: row["count"] for row in rows}

    async def tables(self, like: str) -> list[str]:
        """Names of the tables *like* that, partitions or not."""
        rows = await self.connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE $1 ORDER BY 1", like
        )
        return [row["relname"] for row in rows]

    async def locks_out(self, table: str) -> Any:
        """Begin a transaction that reads *table*; the caller ends it."""
        transaction = self.connection.transaction()
        await transaction.start()
        await self.connection.fetch(f"SELECT FROM {table} LIMIT 1")
        return transaction

    async def has_someone_wait_for(self, table: str) -> bool:
        """Whether a session waits to have *table* for itself."""
        return bool(
            await self.connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
                " AND relation = $1::text::regclass",
                table,
            )
        )

    async def has_someone_wait_for_a_row(self) -> bool:
        """Whether a session waits for another's transaction to end."""
        return bool(
            await self.connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            )
        )
