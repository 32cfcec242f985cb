"""A process that has stopped amid a transaction keeps nobody from taking over, wherever it has stopped."""

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest
from sqlalchemy import URL

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from gal_friday.errors import LockTimeout
from gal_friday.state import leases
from gal_friday.state.leases import hold_lease
from tests.factories import a_signal, a_strategy
from tests.waiting import until

INTENDING = "SELECT FROM account_leases WHERE account_id = 'default' FOR SHARE"


@pytest.mark.parametrize("amid_a_statement", [True, False])
async def test_who_waits_ends_the_transaction_of_a_process_that_has_stopped(
    *, amid_a_statement: bool, database: Database, database_url: URL
) -> None:
    dsn = database_url.set(drivername="postgresql").render_as_string()
    stopped = await asyncpg.connect(dsn, server_settings={"statement_timeout": "500"})
    try:
        await stopped.execute("BEGIN")
        await stopped.execute(INTENDING)
        if amid_a_statement:
            await stopped.prepare(
                "SELECT 1"
            )  # it is parsed, and the server waits for what is to be done with it
        with pytest.raises(LockTimeout):
            async with hold_lease(database):
                pass
        async with hold_lease(database, wait_seconds=60) as lease:
            assert lease.epoch == 1

        async def is_ended() -> bool:
            return bool(stopped.is_closed())

        await until(is_ended, "its process to hear of it")
    finally:
        stopped.terminate()


async def test_who_leads_is_not_ended_however_long_its_transaction_takes(
    database: Database, database_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWALS", 20)  # so that none comes too late on a slow machine
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=database_url) as pool,
        hold_lease(database, ttl_seconds=1.5),
        database.transaction() as uow,
    ):
        strategy = await uow.strategies.add(a_strategy())
        await uow.signals.add(a_signal(strategy))
        with pytest.raises(LockTimeout):
            async with hold_lease(Database(pool), ttl_seconds=0.6, wait_seconds=2):
                pass
        assert await uow.signals.count() == 1
