import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import URL, BigInteger, bindparam, cast, literal_column, select, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.pooled_execution import PooledExecution
from gal_friday.database import Database
from gal_friday.errors import StatementTimeout
from tests.factories import a_strategy
from tests.ledger import a_report, a_stored_order
from tests.servers import PgBouncer, PostgresServer

SETTING = text("SELECT current_setting(:name, true)")
STATEMENTS = [select(cast(bindparam("n"), BigInteger) + literal_column(str(m))) for m in range(20)]


@pytest.fixture(scope="module")
def bouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(postgres_server, pool_size=3) as bouncer:
        yield bouncer


@pytest.fixture
async def pool(bouncer: PgBouncer) -> AsyncIterator[DatabaseConnectionPool]:
    settings = DatabaseSettings(
        url=bouncer.url(),
        pgbouncer=True,
        pool_size=10,
        acquire_timeout_seconds=60,
        statement_timeout_seconds=2,
        application_name="momentum-bot",
    )
    async with DatabaseConnectionPool(settings) as pool:
        yield pool


async def test_many_transactions_share_few_server_connections_without_an_error(
    pool: DatabaseConnectionPool,
) -> None:
    async def use(n: int) -> None:
        async with pool.session({"gal_friday.actor": f"bot-{n}"}) as session:
            for m, statement in enumerate(STATEMENTS):
                assert await session.scalar(statement, {"n": n}) == n + m
            assert await session.scalar(SETTING, {"name": "gal_friday.actor"}) == f"bot-{n}"
            await session.commit()

    await asyncio.gather(*(use(n) for n in range(100)))


async def test_no_prepared_statement_is_left_on_the_server(pool: DatabaseConnectionPool) -> None:
    async with pool.session() as session:
        for statement in STATEMENTS:
            await session.execute(statement, {"n": 1})
        assert await session.scalar(text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")) == 0


async def test_streams_of_several_leave_no_prepared_statement(
    postgres_server: PostgresServer, database: Database, database_url: URL
) -> None:
    await database.strategies.add_many(a_strategy() for _ in range(5))
    with PgBouncer(postgres_server) as bouncer:
        settings = DatabaseSettings(url=bouncer.url(str(database_url.database)), pgbouncer=True)
        async with DatabaseConnectionPool(settings) as pool:
            streaming = Database(pool).strategies

            async def stream() -> int:
                return len([each async for each in streaming.stream(batch_size=2)])

            assert await asyncio.gather(*(stream() for _ in range(30))) == [5] * 30
            async with pool.session() as session:
                left = text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")
                assert await session.scalar(left) == 0


async def test_no_parameter_is_left_to_the_next_transaction(pool: DatabaseConnectionPool) -> None:
    async def see(n: int) -> object:
        async with pool.session({"gal_friday.actor": "bot"} if n % 2 else {}) as session:
            return await session.scalar(SETTING, {"name": "gal_friday.actor"})

    seen = await asyncio.gather(*(see(n) for n in range(60)))
    assert {actor or None for actor in seen[0::2]} == {None}
    assert set(seen[1::2]) == {"bot"}


async def test_timeouts_are_in_force_in_each_transaction(pool: DatabaseConnectionPool) -> None:
    assert pool.transaction_settings["statement_timeout"] == "2000"
    async with pool.session({"statement_timeout": "50"}) as session:
        assert await session.scalar(SETTING, {"name": "idle_in_transaction_session_timeout"}) == "1min"
        assert await session.scalar(SETTING, {"name": "application_name"}) == "momentum-bot"
        with pytest.raises(StatementTimeout):
            await session.execute(text("SELECT pg_sleep(60)"))


async def test_restarts_of_server_and_bouncer_go_unnoticed_between_transactions(
    breakable_server: PostgresServer,
) -> None:
    with PgBouncer(breakable_server) as bouncer:
        settings = DatabaseSettings(url=bouncer.url(), pgbouncer=True)
        async with DatabaseConnectionPool(settings) as pool:
            for interruption in (breakable_server.restart, bouncer.restart, breakable_server.restart):
                await asyncio.to_thread(interruption)
                async with pool.session({"gal_friday.actor": "bot"}) as session:
                    assert await session.scalar(SETTING, {"name": "gal_friday.actor"}) == "bot"


async def test_fills_are_applied_in_a_transaction_that_sets_the_parameters(
    postgres_server: PostgresServer, database: Database, database_url: URL
) -> None:
    order = await a_stored_order(database)
    report = a_report(order)
    with PgBouncer(postgres_server) as bouncer:
        settings = DatabaseSettings(
            url=bouncer.url(str(database_url.database)), pgbouncer=True, application_name="momentum-bot"
        )
        async with DatabaseConnectionPool(settings) as pool:
            execution = PooledExecution(pool)
            outcomes = [await execution.apply_fill(report, actor="bot") for _ in range(2)]
            assert pool.stats().checked_out == 0
    assert [outcome.result for outcome in outcomes] == ["APPLIED", "DUPLICATE"]
    assert (await database.orders.one(order.id)).filled_quantity == 1
    record = (await database.audit.search(table="orders", key=order.id, actor="bot")).items
    assert [entry.application for entry in record] == ["momentum-bot"]
