"""Transactions that see one snapshot."""

import pytest
from sqlalchemy import text

from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import TransactionConflict
from tests.factories import a_strategy

ISOLATION = text("SELECT current_setting('transaction_isolation')")
OTHERS = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY (:pids)")


async def isolation(uow: UnitOfWork) -> str:
    return str(await uow.session.scalar(ISOLATION))


async def test_it_sees_what_was_committed_when_it_began(database: Database) -> None:
    async with database.transaction(read_only=True, snapshot=True) as uow:
        await database.strategies.add(a_strategy())
        assert await uow.strategies.count() == 0
        async with database.transaction(read_only=True) as other:
            assert await other.strategies.count() == 1
    async with database.transaction(snapshot=True) as uow:
        assert await uow.strategies.count() == 1


async def test_a_row_that_was_changed_since_cannot_be_changed_in_it(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    change = text("UPDATE strategies SET description = 'changed'")

    async def change_in_between() -> None:
        async with database.transaction(snapshot=True) as uow:
            async with database.transaction() as other:
                await other.session.execute(change)
            await uow.session.execute(change)

    with pytest.raises(TransactionConflict):
        await change_in_between()
    assert (await database.strategies.one(strategy.strategy_id)).description == "changed"


async def test_it_leaves_nothing_on_its_connection(database: Database) -> None:
    async with database.transaction(snapshot=True) as uow:
        assert await isolation(uow) == "repeatable read"
    async with database.transaction() as uow:
        assert await isolation(uow) == "read committed"
    assert database.pool.stats().checked_in == 1, "it was the same connection"


async def test_a_connection_that_died_meanwhile_is_replaced(database: Database) -> None:
    async with database.transaction(snapshot=True) as uow:
        pid = await uow.session.scalar(text("SELECT pg_backend_pid()"))
        async with database.transaction() as other:
            survivor = await other.session.scalar(text("SELECT pg_backend_pid()"))
    async with database.transaction() as uow:
        mine = await uow.session.scalar(text("SELECT pg_backend_pid()"))
        await uow.session.execute(OTHERS, {"pids": list({pid, survivor} - {mine})})
        async with database.transaction(snapshot=True) as other:
            assert await isolation(other) == "repeatable read"
