"""A database with ten thousands of rows in every table, whose server explains what it does."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.migrations.migration_manager import MigrationManager
from tests.plans.explained import EXPLAIN
from tests.plans.filling import fill, usual_counts
from tests.servers import PostgresServer


@pytest.fixture(scope="session")
async def big_pool(postgres_server: PostgresServer) -> AsyncIterator[DatabaseConnectionPool]:
    """The owner's pool on it."""
    name = f"test_{uuid4().hex}"
    postgres_server.create_database(name)
    url = make_url(postgres_server.url(name)).set(drivername="postgresql+asyncpg")
    await MigrationManager(url, DatabaseSettings()).run_migrations()
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.run_sync(fill, usual_counts())
        await connection.execute(text("ANALYZE"))
    await engine.dispose()
    postgres_server.run("psql", "-c", EXPLAIN.format(name=name), name)
    async with DatabaseConnectionPool(DatabaseSettings(), url=url) as pool:
        yield pool
    postgres_server.drop_database(name)
