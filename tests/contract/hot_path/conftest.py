"""Two databases with the same rows, one for each way to store."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import AccountLease, Base
from gal_friday.database import Database
from tests.contract.hot_path.paths import MODELS, Both, PoolOfTheORM
from tests.servers import PostgresServer
from tests.state import given_values
from tests.valid_rows import a_row_of

#: What the rules of a table ask for, beyond what tests/valid_rows.py knows.
DEMANDS: dict[str, dict[str, Any]] = {
    "account_leases": {"account_id": "leaseless"},
    "audit_log": {"after": {}},
    "audit_seals": {"root_hash": "0" * 64},
    "configurations": {"config_hash": "0" * 64},
}


async def values_of_every_model(pool: DatabaseConnectionPool) -> dict[type[Base], dict[str, Any]]:
    """Valid values of a row of each model; what it refers to is stored."""
    async with pool.transaction() as uow:
        await uow.accounts.open_account("leaseless")
        await uow.session.execute(delete(AccountLease).where(AccountLease.account_id == "leaseless"))
        rows = [await a_row_of(model, uow, **DEMANDS.get(model.__tablename__, {})) for model in MODELS]
        values = [given_values(row) for row in rows]
    return dict(zip(MODELS, values, strict=True))


@pytest.fixture(scope="session")
async def both(postgres_server: PostgresServer, template_database: str) -> AsyncIterator[Both]:
    """Both ways as the owner of the tables, who may store rows of every model."""
    first, second = (f"test_{uuid4().hex}" for _ in range(2))
    postgres_server.create_database(first, template=template_database)
    settings = DatabaseSettings(pool_size=3)
    async with DatabaseConnectionPool(settings, url=make_url(postgres_server.url(first))) as pool:
        values = await values_of_every_model(pool)
    postgres_server.create_database(second, template=first)
    async with AsyncExitStack() as stack:
        hot, orm = (make_url(postgres_server.url(name)) for name in (first, second))
        yield Both(
            Database(await stack.enter_async_context(DatabaseConnectionPool(settings, url=hot))),
            Database(await stack.enter_async_context(PoolOfTheORM(settings, url=orm))),
            values,
        )
    for name in (first, second):
        postgres_server.drop_database(name)
