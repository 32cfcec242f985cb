"""The open database: transactions, calls of their own, and what is left when they fail."""

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import InvalidRequestError

from gal_friday.config import DatabaseSettings, EmbeddedSettings, Settings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import Execution
from gal_friday.dal.models import Account, OrderStatus
from gal_friday.dal.unit_of_work import UnitOfWork, repository_classes
from gal_friday.dal.write_notices import tables_written
from gal_friday.database import Database, open_database
from gal_friday.embedded import EmbeddedServer
from gal_friday.errors import (
    AlreadyExists,
    ConfigurationError,
    DatabaseError,
    IllegalTransition,
    InvalidValue,
    SchemaOutdated,
    StaleWrite,
)
from tests.factories import a_strategy, an_order
from tests.servers import PostgresServer
from tests.waiting import until


async def test_nothing_is_kept_when_the_block_raises(database: Database) -> None:
    strategy = a_strategy()

    async def work() -> None:
        async with database.transaction() as uow:
            await uow.strategies.add(strategy)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert await database.strategies.get(strategy.strategy_id) is None


async def test_changes_of_entities_are_stored_when_the_block_ends(database: Database) -> None:
    async with database.transaction() as uow:
        strategy = await uow.strategies.add(a_strategy())
        strategy.description = "changed after it was added"
    stored = await database.strategies.one(strategy.strategy_id)
    assert stored.description == "changed after it was added"


async def test_a_savepoint_fails_alone(database: Database) -> None:
    async with database.transaction() as uow:
        kept = await uow.strategies.add(a_strategy())
        with pytest.raises(AlreadyExists):
            async with uow.savepoint():
                await uow.strategies.add(a_strategy(name=kept.name, version=kept.version))
        also_kept = await uow.strategies.add(a_strategy())
    assert {each.strategy_id for each in await database.strategies.find_all()} == {
        kept.strategy_id,
        also_kept.strategy_id,
    }


async def test_a_write_that_fails_late_undoes_the_whole_block(database: Database) -> None:
    strategy_id = (await database.strategies.add(a_strategy())).strategy_id

    async def work() -> None:
        async with database.transaction() as uow:
            mine = await uow.strategies.one(strategy_id)
            theirs = await database.strategies.one(strategy_id)
            theirs.description = "theirs"
            await database.strategies.update(theirs)
            await uow.strategies.add(a_strategy())
            mine.description = "mine"  # flushed when the block ends

    with pytest.raises(StaleWrite):
        await work()
    assert [each.description for each in await database.strategies.find_all()] == ["theirs"]


async def test_every_repository_is_there_on_the_database_and_in_a_transaction(database: Database) -> None:
    async with database.transaction() as uow:
        for name, kind in repository_classes().items():
            assert type(getattr(uow, name)) is kind
            assert getattr(uow, name) is getattr(uow, name)
            of_its_own = getattr(database, name)
            assert isinstance(of_its_own, Execution) or await of_its_own.count() >= 0
    for holder in (database, uow):
        with pytest.raises(AttributeError, match="no repository 'oders'"):
            _ = holder.oders
    with pytest.raises(AttributeError):
        _ = database.orders.gett  # type: ignore[attr-defined]


async def test_a_call_of_its_own_is_a_transaction_of_its_own(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    order = await database.orders.add(an_order(strategy))
    moved = await database.orders.transition(order.id, OrderStatus.NEW)
    assert (moved.status, moved.row_version) == (OrderStatus.NEW, 2)
    with pytest.raises(IllegalTransition):
        await database.orders.transition(order.id, OrderStatus.PENDING_NEW)
    streamed = [each.id async for each in database.orders.stream()]
    assert streamed == [order.id]


async def test_rows_stay_readable_after_their_transaction(database: Database) -> None:
    async with database.transaction() as uow:
        strategy = await uow.strategies.add(a_strategy())
        order = await uow.orders.add(an_order(strategy, quantity=Decimal("2.5")))
    assert order.remaining_quantity == Decimal("2.5")
    assert order.created_at.tzinfo is not None


async def test_actor_and_application_are_known_to_the_server_while_it_lasts(database: Database) -> None:
    async def told(uow: UnitOfWork) -> tuple[str | None, str | None]:
        statement = text(
            "SELECT nullif(current_setting('gal_friday.actor', true), ''),"
            " nullif(current_setting('gal_friday.application', true), '')"
        )
        actor, application = (await uow.session.execute(statement)).one()
        return actor, application

    async with database.transaction(actor="momentum-bot") as uow:
        assert await told(uow) == ("momentum-bot", "gal_friday")
    async with database.transaction() as uow:
        assert await told(uow) == (None, "gal_friday")


async def test_a_read_only_transaction_refuses_writes(database: Database) -> None:
    with pytest.raises(DatabaseError) as caught:
        async with database.transaction(read_only=True) as uow:
            await uow.strategies.add(a_strategy())
    assert caught.value.facts["sqlstate"] == "25006"


async def test_a_cancelled_transaction_leaves_nothing_behind(database: Database) -> None:
    strategy = a_strategy()
    inside = asyncio.Event()

    async def work() -> None:
        async with database.transaction() as uow:
            await uow.strategies.add(strategy)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert database.pool.stats().checked_out == 0
    assert await database.strategies.get(strategy.strategy_id) is None


async def test_opening_migrates_and_opens_the_default_account(empty_database_url: str) -> None:
    settings = Settings(database=DatabaseSettings(url=empty_database_url))
    for _ in range(2):
        async with open_database(settings) as db:
            assert [each.account_id for each in await db.accounts.find_all()] == ["default"]


async def test_opening_without_migrating_refuses_an_older_schema(empty_database_url: str) -> None:
    settings = Settings(database=DatabaseSettings(url=empty_database_url, migrate_on_open=False))
    with pytest.raises(SchemaOutdated):
        async with open_database(settings):
            raise AssertionError("it must not open")


async def test_without_a_url_the_embedded_server_is_opened(new_data_directory: Path) -> None:
    settings = Settings(
        database=DatabaseSettings(url=None),
        embedded=EmbeddedSettings(data_directory=new_data_directory, linger_seconds=0),
    )
    async with open_database(settings) as db:
        assert (await db.pool.health_check()).ok
        await db.strategies.add(a_strategy(strategy_id="kept"))
    async with open_database(settings) as db:
        assert await db.strategies.get("kept") is not None


def test_a_pool_needs_a_database() -> None:
    with pytest.raises(ConfigurationError, match="DATABASE__URL"):
        DatabaseConnectionPool(DatabaseSettings(url=None))


def test_ones_own_sessions_can_use_the_engine(postgres_server: PostgresServer) -> None:
    program = """
import asyncio
from sqlalchemy import insert, text
from sqlalchemy.exc import InvalidRequestError
from gal_friday import database
async def main():
    async with database.AsyncSessionFactory() as session:
        print(await session.scalar(text("SELECT 40 + 2")))
    await database.async_engine.dispose()
    try:
        database.nonsense
    except AttributeError as error:
        print(error)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"GAL_FRIDAY_DATABASE__URL": postgres_server.url()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["42", "module 'gal_friday.database' has no attribute 'nonsense'"]


async def test_a_transaction_the_server_aborted_cannot_be_committed(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    order = an_order(strategy)

    async def work() -> None:
        async with database.transaction() as uow:
            await uow.orders.add(order)
            with pytest.raises(AlreadyExists):
                await uow.session.execute(insert(Account).values(account_id="default"))

    with pytest.raises(DatabaseError, match="voided"):
        await work()
    assert await database.orders.get(order.id) is None


async def test_after_a_savepoint_was_undone_the_transaction_can_be_committed(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    async with database.transaction() as uow:
        order = await uow.orders.add(an_order(strategy))
        with pytest.raises(DatabaseError):
            async with uow.savepoint():
                await uow.session.execute(text("SELECT no_such_column"))
    assert await database.orders.get(order.id) is not None


async def test_what_follows_a_failed_write_is_refused_in_an_error_of_ours(database: Database) -> None:
    async def work() -> None:
        async with database.transaction() as uow:
            with pytest.raises(InvalidValue):
                await uow.strategies.add(a_strategy(total_pnl=0.1))
            with pytest.raises(DatabaseError, match="voided"):
                await uow.orders.count()
            with pytest.raises(DatabaseError, match="voided"):
                await uow.strategies.get("x")

    with pytest.raises(DatabaseError, match="voided"):
        await work()


async def test_a_unit_of_work_cannot_be_used_after_its_block(database: Database) -> None:
    async with database.transaction() as uow:
        strategy = await uow.strategies.add(a_strategy())
    with pytest.raises(InvalidRequestError, match="permanently closed"):
        await uow.orders.add(an_order(strategy))
    assert database.pool.stats().checked_out == 0
    assert await database.orders.count() == 0


async def test_what_is_changed_while_streaming_is_stored(database: Database) -> None:
    async with database.transaction() as uow:
        strategies = [await uow.strategies.add(a_strategy()) for _ in range(3)]
    held_id = strategies[0].strategy_id
    async with database.transaction() as uow:
        held = await uow.strategies.one(held_id)
        async for strategy in uow.strategies.stream():
            if strategy.strategy_id != held_id:
                strategy.description = "streamed"
        assert tables_written(uow.session.sync_session, watcher=database) == {"strategies"}
        held.description = "held"
    stored = {each.strategy_id: each.description for each in await database.strategies.find_all()}
    assert sorted(str(description) for description in stored.values()) == ["held", "streamed", "streamed"]
    assert stored[held_id] == "held"


async def test_a_stream_that_is_left_early_gives_its_connection_back(database: Database) -> None:
    await database.strategies.add_many(a_strategy() for _ in range(3))
    async with aclosing(database.strategies.stream(batch_size=1)) as stream:
        async for _ in stream:
            break
    assert database.pool.stats().checked_out == 0


async def test_a_broken_off_opening_leaves_no_share_of_the_embedded_server(
    new_data_directory: Path,
) -> None:
    embedded = EmbeddedSettings(data_directory=new_data_directory, linger_seconds=0)

    async def work() -> None:
        async with open_database(Settings(database=DatabaseSettings(url=None), embedded=embedded)):
            raise AssertionError("it must not get that far")

    async def has_begun() -> bool:
        return await asyncio.to_thread(new_data_directory.exists)

    async def is_left() -> bool:
        return not EmbeddedServer(embedded).status().in_use

    task = asyncio.create_task(work())
    await until(has_begun, "the server is being started")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(is_left, "nobody uses the server")
