"""The cache of a DatabaseStateManager: told after the commit, and of every commit."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import URL, delete, update

from gal_friday.dal.cache import L1Cache
from gal_friday.dal.models import (
    PortfolioPosition,
)
from gal_friday.database import Database
from gal_friday.state import DatabaseStateManager
from tests.factories import a_portfolio_position, a_signal_log, a_strategy
from tests.replays import opened
from tests.state import SET_LOTS, the_position, undone


@pytest.fixture
def manager(database: Database) -> DatabaseStateManager:
    return DatabaseStateManager(database)


@pytest.fixture
async def another_process(database_url: URL) -> AsyncIterator[Database]:
    """The same database, opened by somebody who tells us nothing."""
    async with opened(database_url) as opened_elsewhere:
        yield opened_elsewhere


async def test_get_position_asks_the_database_once(manager: DatabaseStateManager, database: Database) -> None:
    await database.portfolio_positions.add(a_portfolio_position(position_id="P1"))
    for _ in range(3):
        assert await manager.get_position("P1") is not None
    stats = manager.cache_stats()
    assert (stats.hits, stats.misses) == (2, 1)


async def test_a_position_that_was_saved_is_cached(manager: DatabaseStateManager) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", lots=4))
    assert (await the_position(manager)).lots == 4
    assert (manager.cache_stats().hits, manager.cache_stats().misses) == (1, 0)


async def test_changing_a_position_that_was_given_or_saved_does_not_change_the_cache(
    manager: DatabaseStateManager,
) -> None:
    saved = a_portfolio_position(position_id="P1", lots=4)
    await manager.save_position(saved)
    saved.lots = 5
    given = await the_position(manager)
    assert given.lots == 4
    given.lots = 6
    listed = (await manager.get_all_open_positions())["P1"]
    listed.lots = 7
    assert (await the_position(manager)).lots == 4


async def test_the_cache_is_told_after_the_commit_and_not_before(manager: DatabaseStateManager) -> None:
    position = a_portfolio_position(position_id="P1", lots=1)
    await manager.save_position(position)
    async with manager.transaction() as t:
        position.lots = 2
        await t.save_position(position)
        inside = await t.get_position("P1")
        assert inside is not None
        assert inside.lots == 2
        outside = await the_position(manager)
        assert outside.lots == 1
    after = await the_position(manager)
    assert after.lots == 2
    assert manager.cache_stats().misses == 0


async def test_the_cache_is_not_told_what_was_rolled_back(manager: DatabaseStateManager) -> None:
    position = a_portfolio_position(position_id="P1", lots=1)
    await manager.save_position(position)
    position.lots = 2
    async with undone(manager.transaction()) as t:
        await t.save_position(position)
        await t.save_position(a_portfolio_position(position_id="P2"))
    assert (await the_position(manager)).lots == 1
    assert await manager.get_position("P2") is None
    assert (position.lots, position.row_version) == (2, 1)
    await manager.save_position(position)
    assert position.row_version == 2


async def test_what_a_savepoint_undid_is_neither_cached_nor_told(manager: DatabaseStateManager) -> None:
    position = a_portfolio_position(position_id="P1", lots=1)
    await manager.save_position(position)
    async with manager.transaction() as t:
        position.lots = 2
        await t.save_position(position)
        async with undone(t.uow.savepoint()):
            position.lots = 3
            async with t.uow.savepoint():
                await t.save_position(position)
            await t.save_position(a_portfolio_position(position_id="P2"))
        async with t.uow.savepoint():
            position.lots = 4
            await t.save_position(position)
    kept = await the_position(manager)
    assert (kept.lots, position.row_version) == (4, 3)
    assert await manager.get_position("P2") is None


async def test_a_reader_who_was_overtaken_by_a_commit_leaves_nothing_old_in_the_cache(
    manager: DatabaseStateManager, database: Database
) -> None:
    position = a_portfolio_position(position_id="P1", lots=1)
    await manager.save_position(position)
    await manager.clear_cache()
    has_read, may_go_on = asyncio.Event(), asyncio.Event()

    class SlowReader(L1Cache[PortfolioPosition]):
        async def put(self, *args: Any, **options: Any) -> None:
            if not options.get("written"):
                has_read.set()
                await may_go_on.wait()
            await super().put(*args, **options)

    slow = DatabaseStateManager(database, cache=SlowReader())
    reading = asyncio.create_task(slow.get_position("P1"))
    await has_read.wait()
    position.lots = 2
    await slow.save_position(position)
    may_go_on.set()
    old = await reading
    assert old is not None
    assert old.lots == 1
    kept = await slow.get_position("P1")
    assert kept is not None
    assert kept.lots == 2
    assert slow.cache_stats().refused == 1


async def by_repository(database: Database) -> None:
    position = await database.portfolio_positions.one(("default", "P1"))
    position.lots = 2
    await database.portfolio_positions.update(position)


async def by_statement(database: Database) -> None:
    async with database.transaction() as uow:
        await uow.session.execute(update(PortfolioPosition).values(lots=2))


async def by_text(database: Database) -> None:
    async with database.transaction() as uow:
        await uow.session.execute(SET_LOTS, {"lots": 2})


async def by_upsert(database: Database) -> None:
    await database.portfolio_positions.upsert_many([a_portfolio_position(position_id="P1", lots=2)])


async def by_another_manager(database: Database) -> None:
    other = DatabaseStateManager(database)
    position = await other.get_position("P1")
    assert position is not None
    position.lots = 2
    await other.save_position(position)


async def by_a_connection(database: Database) -> None:
    async with DatabaseStateManager(database).get_connection() as connection:
        await connection.execute(SET_LOTS, {"lots": 2})


@pytest.mark.parametrize(
    "write", [by_repository, by_statement, by_text, by_upsert, by_another_manager, by_a_connection]
)
async def test_the_cache_never_shows_what_is_older_than_this_process_s_own_commit(
    manager: DatabaseStateManager, database: Database, write: Callable[[Database], Awaitable[None]]
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", lots=1))
    await write(database)
    assert (await the_position(manager)).lots == 2


async def test_removing_a_position_removes_it_from_the_cache(owner_url: URL) -> None:
    async with opened(owner_url) as owner:  # a trader removes none
        manager = DatabaseStateManager(owner)
        await manager.save_position(a_portfolio_position(position_id="P1"))
        async with manager.transaction() as t:
            await t.uow.session.execute(delete(PortfolioPosition))
        assert await manager.get_position("P1") is None


async def test_writing_to_other_tables_leaves_the_cache_alone(
    manager: DatabaseStateManager, database: Database
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1"))
    await database.strategies.add(a_strategy())
    await manager.log_signal(a_signal_log())
    await manager.get_position("P1")
    assert manager.cache_stats().misses == 0


async def test_a_write_of_another_process_is_seen_once_the_entry_is_too_old_or_when_asked_to_look(
    database: Database, another_process: Database
) -> None:
    now = 0.0
    manager = DatabaseStateManager(database, cache=L1Cache(max_age_seconds=5, clock=lambda: now))
    await manager.save_position(a_portfolio_position(position_id="P1", lots=1))
    await by_other_process(another_process, 2)
    assert (await the_position(manager)).lots == 1
    now += 5
    assert (await the_position(manager)).lots == 2
    await by_other_process(another_process, 3)
    assert (await the_position(manager)).lots == 2
    assert (await the_position(manager, refresh=True)).lots == 3
    assert (await the_position(manager)).lots == 3


async def by_other_process(another_process: Database, lots: int) -> None:
    async with another_process.transaction() as uow:
        await uow.session.execute(SET_LOTS, {"lots": lots})


async def test_a_position_another_process_removed_is_gone_when_asked_to_look(
    manager: DatabaseStateManager, owner_url: URL
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1"))
    async with opened(owner_url) as owner:
        await owner.portfolio_positions.delete(await owner.portfolio_positions.one(("default", "P1")))
    assert await manager.get_position("P1") is not None
    assert await manager.get_position("P1", refresh=True) is None
    assert await manager.get_position("P1") is None


async def test_clear_cache_forgets_what_others_may_have_changed(
    manager: DatabaseStateManager, another_process: Database
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", lots=1))
    await by_other_process(another_process, 2)
    await manager.clear_cache()
    assert (await the_position(manager)).lots == 2


async def test_a_manager_nobody_uses_any_more_is_not_told_any_more(database: Database) -> None:
    manager = DatabaseStateManager(database)
    assert len(database.pool.watchers) == 1
    del manager
    gc.collect()
    assert len(database.pool.watchers) == 0
