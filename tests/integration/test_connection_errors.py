import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gal_friday import errors
from gal_friday.dal.error_translation import install_error_translation
from gal_friday.errors import PersistenceError
from tests.engines import engine_for
from tests.network import Relay
from tests.servers import PostgresServer
from tests.waiting import until


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(empty_database_url)
    yield engine
    await engine.dispose()


async def test_a_statement_that_takes_too_long_is_cancelled_by_the_server(empty_database_url: str) -> None:
    engine = engine_for(empty_database_url, statement_timeout_seconds=0.5)
    async with engine.connect() as connection:
        with pytest.raises(errors.StatementTimeout):
            await connection.execute(text("SELECT pg_sleep(60)"))
    await engine.dispose()


async def test_an_idle_transaction_loses_its_connection_and_the_pool_recovers(
    empty_database_url: str,
) -> None:
    engine = engine_for(empty_database_url, idle_in_transaction_timeout_seconds=0.5)
    async with engine.connect() as observer, engine.connect() as connection:
        await observer.execution_options(isolation_level="AUTOCOMMIT")
        pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        await until_ended(observer, pid)
        with pytest.raises(errors.ConnectionLost):
            await connection.execute(text("SELECT 1"))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await engine.dispose()


async def test_a_terminated_connection_is_lost_and_replaced(engine: AsyncEngine) -> None:
    pid = text("SELECT pg_backend_pid()")
    async with engine.connect() as connection:
        first = (await connection.execute(pid)).scalar_one()
        with pytest.raises(errors.ConnectionLost):
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        assert connection.invalidated
    async with engine.connect() as connection:
        assert (await connection.execute(pid)).scalar_one() != first


async def test_an_engine_that_asks_connections_before_use_replaces_dead_ones_itself(
    breakable_server: PostgresServer,
) -> None:
    url = make_url(breakable_server.url()).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, pool_pre_ping=True)
    install_error_translation(engine)
    for _ in range(2):
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
        breakable_server.restart()
    await engine.dispose()


async def test_a_network_that_falls_silent_is_a_lost_connection_in_bounded_time(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gal_friday.dal.connect_arguments.SILENCE_SECONDS", 0.1)
    async with Relay(empty_database_url) as relay:
        engine = engine_for(relay.url, statement_timeout_seconds=0.5)
        async with asyncio.timeout(30):
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
                relay.fall_silent()
                with pytest.raises(errors.ConnectionLost, match="no answer"):
                    await connection.execute(text("SELECT 1"))
            await engine.dispose()


async def test_a_cancelled_statement_stays_a_cancellation(engine: AsyncEngine) -> None:
    async def sleep() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))

    async with engine.connect() as observer:
        await observer.execution_options(isolation_level="AUTOCOMMIT")
        task = asyncio.create_task(sleep())
        await until_running(observer, "SELECT pg_sleep(60)")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_stopped_server_is_unavailable_and_named_without_its_password(
    breakable_server: PostgresServer,
) -> None:
    breakable_server.stop()
    error = await connect_failure_of(breakable_server.url(user="trader", password="hunter2"))
    assert type(error) is errors.DatabaseUnavailable
    assert error.facts == {
        "host": "127.0.0.1",
        "port": breakable_server.port,
        "database": "postgres",
        "user": "trader",
    }


async def test_a_host_that_does_not_answer_is_unavailable_after_the_connect_timeout(
    empty_database_url: str,
) -> None:
    async with Relay(empty_database_url) as relay:
        relay.fall_silent()
        async with asyncio.timeout(8):
            error = await connect_failure_of(relay.url, connect_timeout_seconds=0.1)
    assert type(error) is errors.DatabaseUnavailable
    assert "connect timeout" in error.explanation


@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_wrong_password_is_rejected(postgres_server: PostgresServer, password: str | None) -> None:
    error = await connect_failure_of(postgres_server.url(user="nobody", password=password))
    assert isinstance(error, errors.ConnectionRejected)


async def test_a_database_that_does_not_exist_is_rejected_by_name(postgres_server: PostgresServer) -> None:
    error = await connect_failure_of(postgres_server.url("no_such_database"))
    assert isinstance(error, errors.ConnectionRejected)
    assert error.facts["sqlstate"] == "3D000"
    assert "no_such_database" in str(error)


async def test_tls_demanded_of_a_server_without_it_makes_it_unavailable(
    postgres_server: PostgresServer,
) -> None:
    error = await connect_failure_of(postgres_server.url(), ssl_mode="require")
    assert type(error) is errors.DatabaseUnavailable


async def test_a_word_in_the_url_that_means_nothing_is_a_configuration_error(
    postgres_server: PostgresServer,
) -> None:
    error = await connect_failure_of(f"{postgres_server.url()}?sslmode=perhaps")
    assert isinstance(error, errors.ConfigurationError)


async def test_a_role_out_of_connections_is_told_so(breakable_server: PostgresServer) -> None:
    breakable_server.run("psql", "-c", "CREATE ROLE trader LOGIN PASSWORD 'x' CONNECTION LIMIT 0")
    error = await connect_failure_of(breakable_server.url(user="trader", password="x"))
    assert isinstance(error, errors.TooManyConnections)


async def connect_failure_of(url: str, **settings: Any) -> PersistenceError:
    engine = engine_for(url, **settings)
    with pytest.raises(PersistenceError) as caught:
        async with engine.connect():
            pass
    await engine.dispose()
    return caught.value


async def until_ended(observer: AsyncConnection, pid: int) -> None:
    alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")

    async def is_gone() -> bool:
        return bool((await observer.execute(alive, {"pid": pid})).scalar_one() == 0)

    await until(is_gone, "the end of a backend")


async def until_running(observer: AsyncConnection, query: str) -> None:
    active = text("SELECT count(*) FROM pg_stat_activity WHERE query = :query AND state = 'active'")

    async def is_running() -> bool:
        return bool((await observer.execute(active, {"query": query})).scalar_one())

    await until(is_running, query)
