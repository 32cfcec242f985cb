"""P21: work cancelled wherever it waits leaks nothing and leaves nothing half-done."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists
from gal_friday.state import DatabaseStateManager
from tests.concurrency import interrupted_everywhere
from tests.factories import a_log, a_portfolio_position, a_strategy
from tests.ledger import a_report, a_stored_order
from tests.network import AnswerEater
from tests.waiting import until

#: Fewer places than this, and the work was not interrupted where it matters.
LEAST = 5
NAME = "cancelled"
COUNT = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
IN_TRANSACTION = text(
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name AND xact_start IS NOT NULL"
)

CONFLICT = text("DO 'BEGIN RAISE serialization_failure; END'")


@pytest.fixture
async def struck(database_url: URL) -> AsyncIterator[Database]:
    """The same database, through a pool whose users are cancelled."""
    settings = DatabaseSettings(application_name=NAME, pool_size=2, max_overflow=0)
    async with DatabaseConnectionPool(settings, url=database_url) as pool:
        yield Database(pool)
        assert pool.stats().checked_out == 0


async def write(uow: UnitOfWork, name: str) -> None:
    await uow.strategies.add(a_strategy(strategy_id=name))
    await uow.logs.add_many([a_log(message=name), a_log(message=name)])


async def assert_nothing_is_left(database: Database, struck: Database) -> None:
    """No connection taken, no transaction open, no unit of work stored in part; the next one works."""
    assert struck.pool.stats().checked_out == 0

    async def is_quiet() -> bool:
        async with database.transaction(read_only=True) as uow:
            return bool(await uow.session.scalar(IN_TRANSACTION, {"name": NAME}) == 0)

    await until(is_quiet, "no transaction is left open")
    strategies = {strategy.strategy_id for strategy in await database.strategies.find_all()}
    assert Counter(log.message for log in await database.logs.find_all()) == dict.fromkeys(strategies, 2)
    async with struck.transaction(read_only=True) as uow:
        assert await uow.strategies.count() == len(strategies)


@pytest.mark.parametrize("by_timeout", [False, True], ids=["cancelled", "timed out"])
async def test_a_unit_of_work(database: Database, struck: Database, *, by_timeout: bool) -> None:
    async def work(step: int) -> None:
        async with struck.transaction() as uow:
            await write(uow, f"unit-{step}")

    places = await interrupted_everywhere(
        work, lambda _: assert_nothing_is_left(database, struck), by_timeout=by_timeout
    )
    assert places >= LEAST
    assert 1 <= await database.strategies.count() <= places / 2, "only what had got as far as COMMIT"


async def test_a_unit_of_work_that_is_tried_again(database: Database, struck: Database) -> None:
    async def work(step: int) -> None:
        tries = 0

        async def unit(uow: UnitOfWork) -> None:
            nonlocal tries
            tries += 1
            await write(uow, f"again-{step}")
            if tries == 1:
                await uow.session.execute(CONFLICT)

        await struck.retrying(unit)

    assert await interrupted_everywhere(work, lambda _: assert_nothing_is_left(database, struck)) >= LEAST


async def test_a_commit_that_is_being_settled(database: Database, database_url: URL) -> None:
    relay = AnswerEater(database_url)
    settings = DatabaseSettings(application_name=NAME, pool_size=2, max_overflow=0)
    async with relay.url() as url, DatabaseConnectionPool(settings, url=url) as pool:

        async def work(step: int) -> None:
            async with pool.transaction() as uow:
                await write(uow, f"settled-{step}")

        async def check(_: int) -> None:
            await assert_nothing_is_left(database, Database(pool))

        assert await interrupted_everywhere(work, check) >= LEAST


async def test_a_savepoint(database: Database, struck: Database) -> None:
    async def work(step: int) -> None:
        async with struck.transaction() as uow:
            await write(uow, f"outer-{step}")
            with pytest.raises(AlreadyExists):
                async with uow.savepoint():
                    await uow.strategies.add(a_strategy(strategy_id=f"outer-{step}"))
            async with uow.savepoint():
                await write(uow, f"inner-{step}")

    async def check(step: int) -> None:
        await assert_nothing_is_left(database, struck)
        names = {strategy.strategy_id for strategy in await database.strategies.find_all()}
        assert len(names & {f"outer-{step}", f"inner-{step}"}) in {0, 2}

    assert await interrupted_everywhere(work, check) >= LEAST


async def test_a_stream(database: Database, struck: Database) -> None:
    async with database.transaction() as uow:
        for number in range(5):
            await write(uow, f"row-{number}")

    async def work(_: int) -> None:
        async with struck.transaction() as uow:
            assert len([log async for log in uow.logs.stream(batch_size=3)]) == 10

    async def on_its_own(_: int) -> None:
        assert len([log async for log in struck.logs.stream(batch_size=3)]) == 10

    for each in (work, on_its_own):
        assert await interrupted_everywhere(each, lambda _: assert_nothing_is_left(database, struck)) >= LEAST


async def test_a_fill(database: Database, struck: Database) -> None:
    order = await a_stored_order(database, quantity=Decimal(1_000))
    await database.logs.add_many([a_log(message=order.strategy_id) for _ in range(2)])

    async def check(_: int) -> None:
        await assert_nothing_is_left(database, struck)
        filled = (await database.orders.one(order.id)).filled_quantity
        assert filled == await database.fills.count()

    assert await interrupted_everywhere(lambda _: struck.execution.apply_fill(a_report(order)), check) >= 2


async def test_a_saved_position(database: Database, struck: Database) -> None:
    manager = DatabaseStateManager(struck)
    calm = DatabaseStateManager(database)

    async def is_as_stored(step: int) -> None:
        await assert_nothing_is_left(database, struck)
        stored = await calm.get_position("P1", refresh=True)
        kept = await manager.get_position("P1")
        assert (kept and kept.lots) == (stored and stored.lots), "the cache keeps what is not stored"
        assert stored is not None
        is_saved = await calm.get_position(f"Q{step}") is not None
        assert is_saved == (stored.lots == 1_000 + step), "both are saved, or neither"

    position = a_portfolio_position(position_id="P1", lots=0)
    await manager.save_position(position)

    async def save(step: int) -> None:
        mine = await manager.get_position("P1")
        assert mine is not None
        mine.lots = step
        await manager.save_position(mine)

    async def save_two(step: int) -> None:
        async with manager.transaction() as t:
            mine = await t.get_position("P1")
            assert mine is not None
            mine.lots = 1_000 + step
            await t.save_position(mine)
            await t.save_position(a_portfolio_position(position_id=f"Q{step}", lots=step))

    assert await interrupted_everywhere(save, is_as_stored) >= 2, "one statement has few places"
    assert await interrupted_everywhere(save_two, is_as_stored) >= LEAST


async def test_opening_a_pool(database: Database, database_url: URL) -> None:
    pool = DatabaseConnectionPool(DatabaseSettings(application_name=NAME), url=database_url)

    async def none_is_left() -> bool:
        async with database.transaction(read_only=True) as uow:
            return bool(await uow.session.scalar(COUNT, {"name": NAME}) == 0)

    async def work(_: int) -> None:
        async with pool:
            assert pool.stats().checked_out == 0

    async def check(_: int) -> None:
        await pool.close()
        await until(none_is_left, "no connection is left open")

    assert await interrupted_everywhere(work, check) >= LEAST
    async with pool, pool.transaction() as uow:
        assert await uow.session.scalar(text("SELECT 1")) == 1


async def test_waiting_for_a_connection(database: Database, struck: Database) -> None:
    """Who is cancelled in the queue for a connection leaves it."""
    async with struck.transaction(), struck.transaction():
        waiting = asyncio.create_task(struck.strategies.count())

        async def is_waiting() -> bool:
            return struck.pool.stats().waiting == 1

        await until(is_waiting, "it waits for a connection")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert struck.pool.stats().waiting == 0
    await assert_nothing_is_left(database, struck)
