"""A marker the server does not take: nothing is stored, and the connection is as good as before."""

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists
from tests.factories import a_strategy

TAKE_ITS_PLACE = text(
    "INSERT INTO commit_markers (id, created_at) VALUES (CAST(:marker AS uuid), to_timestamp(0))"
)
OWN_MARKER = text("SELECT current_setting('gal_friday.commit_marker')")


async def test_a_connection_whose_marker_was_refused_goes_on(database: Database, database_url: URL) -> None:
    one_connection = DatabaseSettings(pool_size=1, max_overflow=0)
    async with DatabaseConnectionPool(one_connection, url=database_url) as pool:
        with pytest.raises(AlreadyExists):
            await _lose_its_place(pool, database)
        async with pool.transaction() as uow:
            assert await uow.strategies.count() == 0
            await uow.strategies.add(a_strategy())
    assert await database.strategies.count() == 1


async def _lose_its_place(pool: DatabaseConnectionPool, other: Database) -> None:
    """Somebody stores the marker of a transaction before it does."""
    async with pool.transaction() as uow:
        await uow.strategies.add(a_strategy())
        marker = await uow.session.scalar(OWN_MARKER)
        async with other.pool.autocommit() as connection:
            await connection.execute(TAKE_ITS_PLACE, {"marker": marker})
