"""Connections lent for single statements: bounded with all others, and starving nobody."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import URL, event, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import OrderStatus
from gal_friday.dal.models.types import dumps
from gal_friday.database import Database
from gal_friday.errors import PoolTimeout
from tests.concurrency import at_once
from tests.conftest import make_template
from tests.contract.hot_path.paths import PoolOfTheORM
from tests.factories import a_log, a_strategy, an_order
from tests.servers import PgBouncer, PostgresServer
from tests.waiting import until

CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'trading_bot'"
)
SETTING = text("SELECT current_setting('gal_friday.lease', true)")


def pool_of(url: URL, **settings: Any) -> DatabaseConnectionPool:
    return DatabaseConnectionPool(
        DatabaseSettings(**{"pool_size": 2, "max_overflow": 1, **settings}), url=url
    )


async def test_statements_and_transactions_share_a_bounded_number_of_connections(database_url: URL) -> None:
    # Counted where they are opened and closed: the server still shows one that has just been closed.
    async with pool_of(database_url, acquire_timeout_seconds=60) as pool:
        database = Database(pool)
        stats = pool.stats()
        most = there_are = stats.checked_out + stats.checked_in

        def count(change: int) -> None:
            nonlocal most, there_are
            there_are += change
            most = max(most, there_are)

        event.listen(pool.engine.sync_engine, "connect", lambda *_: count(1))
        event.listen(pool.engine.sync_engine, "close", lambda *_: count(-1))

        async def work(number: int) -> None:
            for _ in range(5):
                await database.strategies.count()
                async with database.transaction() as uow:
                    await uow.logs.add(a_log(message=str(number)))

        await at_once(work, 12)
        stats = pool.stats()
        assert most == 3
        assert (stats.checked_out, stats.waiting, stats.timeouts) == (0, 0, 0)
        assert stats.acquisitions >= 12 * 5 * 2
        assert await database.logs.count() == 60


async def test_a_transaction_takes_a_connection_that_statements_keep(database_url: URL) -> None:
    async with pool_of(database_url, pool_size=1, max_overflow=0, acquire_timeout_seconds=5) as pool:
        database = Database(pool)
        for _ in range(3):
            await database.strategies.count()
            async with database.transaction() as uow:
                await uow.strategies.count()


async def test_a_statement_waits_for_a_connection_and_says_so_when_there_is_none(database_url: URL) -> None:
    async with pool_of(database_url, pool_size=1, max_overflow=0, acquire_timeout_seconds=0.05) as pool:
        database = Database(pool)
        async with database.transaction() as uow:
            await uow.strategies.count()
            with pytest.raises(PoolTimeout):
                await database.strategies.count()
            with pytest.raises(PoolTimeout):
                await database.strategies.add(a_strategy())
            with pytest.raises(PoolTimeout):
                await database.logs.add(a_log())
        assert pool.stats().timeouts >= 3
        assert await database.strategies.count() == 0


async def test_a_waiting_transaction_gets_what_a_statement_gives_back(database_url: URL) -> None:
    async with pool_of(database_url, pool_size=1, max_overflow=0, acquire_timeout_seconds=10) as pool:
        database = Database(pool)

        async def transaction(_: int) -> None:
            async with database.transaction() as uow:
                await uow.strategies.count()

        await asyncio.gather(*(database.strategies.count() for _ in range(5)), at_once(transaction, 5))
        assert pool.stats().checked_out == 0


async def test_connections_kept_for_statements_are_replaced_when_they_are_too_old(database_url: URL) -> None:
    async with pool_of(database_url, recycle_seconds=1) as pool:
        database = Database(pool)
        await database.strategies.count()
        measured = pool._measured
        (kept,) = measured._kept
        kept.since -= 3600
        await database.strategies.count()
        assert kept not in measured._kept
        assert kept.connection.driver_connection is None


async def test_what_a_pool_closed_meanwhile_lent_is_closed_when_it_comes_back(
    database_url: URL, owner_url: URL
) -> None:
    pool = pool_of(database_url)
    await pool.initialize()
    measured = pool._measured
    lent = await measured.lend()
    await pool.close()
    await measured.give_back(lent)
    assert lent.is_broken
    async with DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as owner, owner.session() as session:

        async def none_is_left() -> bool:
            return bool(await session.scalar(CONNECTIONS) == 0)

        await until(none_is_left, "the server has noticed")


async def test_a_restart_of_the_server_goes_unnoticed(breakable_server: PostgresServer) -> None:
    name = await make_template(breakable_server)
    async with DatabaseConnectionPool(DatabaseSettings(url=breakable_server.url(name))) as pool:
        database = Database(pool)
        strategy = await database.strategies.add(a_strategy())
        await at_once(lambda _: database.strategies.count(), 4)
        breakable_server.stop("immediate")
        breakable_server.start()
        assert (await database.strategies.one(strategy.strategy_id)).name == strategy.name
        breakable_server.stop("fast")
        breakable_server.start()
        await database.orders.add(an_order(strategy))
        assert await database.orders.count() == 1


async def test_statements_name_the_leases_of_their_process(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    await database.orders.add(an_order(strategy))
    for leases in ({"other": 3}, {}, {"other": 4}):
        database.pool.leases = dict(leases)
        await database.orders.add(an_order(strategy))
        measured = database.pool._measured
        driver: Any = measured._kept[-1].connection.driver_connection
        named = await driver.fetchval("SELECT current_setting('gal_friday.lease', true)")
        assert (named or "") == (dumps(leases) if leases else "")
    database.pool.leases = {}
    await database.orders.add(an_order(strategy))


async def test_changes_are_on_record_the_same_in_either_way(database: Database, database_url: URL) -> None:
    settings = DatabaseSettings(application_name="contract")
    records = []
    for kind in (DatabaseConnectionPool, PoolOfTheORM):
        async with kind(settings, url=database_url) as pool:
            by = Database(pool)
            strategy = await by.strategies.add(a_strategy())
            order = await by.orders.add(an_order(strategy))
            await by.orders.transition(order.id, OrderStatus.NEW)
            order = await by.orders.one(order.id)
            order.error_message = "slow"
            await by.orders.update(order)
        async with database.transaction() as uow:
            history = (
                await uow.session.execute(
                    text(
                        "SELECT from_status, to_status, source, reason FROM order_history"
                        " WHERE order_id = :order ORDER BY id"
                    ),
                    {"order": order.id},
                )
            ).all()
            audited = (
                await uow.session.execute(
                    text(
                        "SELECT operation, actor, application FROM audit_log"
                        " WHERE table_name = 'orders' AND row_key LIKE '%' || CAST(:order AS text) || '%'"
                        " ORDER BY position"
                    ),
                    {"order": str(order.id)},
                )
            ).all()
            records.append((history, audited))
    assert records[0] == records[1]
    assert records[0][0]


async def test_behind_pgbouncer_the_same_is_stored(
    postgres_server: PostgresServer, database_url: URL
) -> None:
    with PgBouncer(postgres_server, pool_size=2) as bouncer:
        settings = DatabaseSettings(url=bouncer.url(database_url.database or ""), pgbouncer=True)
        async with DatabaseConnectionPool(settings) as pool:
            assert not pool.runs_single_statements
            database = Database(pool)
            strategy = await database.strategies.add(a_strategy())
            order = await database.orders.add(an_order(strategy))
            await database.orders.transition(order.id, OrderStatus.NEW)
            assert await database.orders.count() == 1
            await database.orders.add_many(an_order(strategy) for _ in range(250))
            assert await database.orders.count() == 251
