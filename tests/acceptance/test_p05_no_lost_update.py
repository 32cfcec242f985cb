"""P05: no lost update."""

import asyncio
from decimal import Decimal

import pytest

from gal_friday.dal.models import Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import StaleWrite
from tests.factories import a_signal_log, a_strategy

WRITERS = 64
CENT = Decimal("0.01")


async def test_of_two_writers_one_wins_and_the_other_is_told(database: Database) -> None:
    strategy_id = (await database.strategies.add(a_strategy())).strategy_id
    first = await database.strategies.one(strategy_id)
    second = await database.strategies.one(strategy_id)
    first.description = "first"
    second.description = "second"
    await database.strategies.update(first)
    with pytest.raises(StaleWrite) as caught:
        await database.strategies.update(second)
    assert caught.value.facts["table"] == "strategies"
    assert (await database.strategies.one(strategy_id)).description == "first"


async def test_deleting_a_row_someone_changed_is_told_as_well(database: Database) -> None:
    entry_id = (await database.signal_log.add(a_signal_log())).id
    mine = await database.signal_log.one(entry_id)
    theirs = await database.signal_log.one(entry_id)
    theirs.duplicate_count += 1
    await database.signal_log.update(theirs)
    with pytest.raises(StaleWrite):
        await database.signal_log.delete(mine)
    assert await database.signal_log.get(entry_id) is not None


async def test_the_version_counts_raw_sql_too(database: Database) -> None:
    strategy_id = (await database.strategies.add(a_strategy())).strategy_id
    mine = await database.strategies.one(strategy_id)
    async with database.transaction() as uow:
        connection = await uow.session.connection()
        await connection.exec_driver_sql("UPDATE strategies SET description = 'by hand'")
    mine.description = "mine"
    with pytest.raises(StaleWrite):
        await database.strategies.update(mine)


async def test_the_sum_over_64_concurrent_writers_is_exact(database: Database) -> None:
    strategy_id = (await database.strategies.add(a_strategy(total_pnl=Decimal(0)))).strategy_id

    async def earn_a_cent(uow: UnitOfWork) -> None:
        strategy = await uow.strategies.one(strategy_id)
        strategy.total_pnl += CENT
        strategy.total_trades += 1

    await asyncio.gather(*(database.retrying(earn_a_cent, attempts=1_000) for _ in range(WRITERS)))
    strategy: Strategy = await database.strategies.one(strategy_id)
    assert strategy.total_pnl == WRITERS * CENT
    assert strategy.total_trades == WRITERS
    assert strategy.row_version == WRITERS + 1


async def test_retrying_gives_up_with_the_reason(database: Database) -> None:
    strategy_id = (await database.strategies.add(a_strategy())).strategy_id
    tries = 0

    async def always_late(uow: UnitOfWork) -> None:
        nonlocal tries
        tries += 1
        strategy = await uow.strategies.one(strategy_id)
        async with database.transaction() as other:
            (await other.strategies.one(strategy_id)).description = f"{tries}"
        strategy.author = "late"

    with pytest.raises(StaleWrite):
        await database.retrying(always_late, attempts=3)
    assert tries == 3
