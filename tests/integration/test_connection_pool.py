import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.errors import (
    ConfigurationError,
    ConnectionRejected,
    DatabaseUnavailable,
    PoolTimeout,
)
from tests.network import Relay
from tests.servers import PostgresServer
from tests.waiting import until

ONE = text("SELECT 1")
PID = text("SELECT pg_backend_pid()")
SETTING = text("SELECT current_setting(:name, true)")


def a_pool(url: str, **settings: Any) -> DatabaseConnectionPool:
    return DatabaseConnectionPool(DatabaseSettings(url=url, **settings))


@pytest.fixture
async def pool(empty_database_url: str) -> AsyncIterator[DatabaseConnectionPool]:
    async with a_pool(empty_database_url, pool_size=2, max_overflow=1, acquire_timeout_seconds=0.2) as pool:
        yield pool


async def open_connections(url: str) -> int:
    """Connections of others to the database of *url*."""
    connection = await asyncpg.connect(url.rpartition("/")[0] + "/postgres")
    try:
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", make_url(url).database
            )
        )
    finally:
        await connection.close()


async def none_is_open(url: str) -> bool:
    return await open_connections(url) == 0


async def test_a_pool_that_is_not_open_says_so(empty_database_url: str) -> None:
    pool = a_pool(empty_database_url)
    with pytest.raises(DatabaseUnavailable, match="not open"):
        _ = pool.engine
    with pytest.raises(DatabaseUnavailable, match="not open"):
        _ = pool.sessionmaker
    with pytest.raises(DatabaseUnavailable, match="not open"):
        pool.stats()
    assert "not open" in ((await pool.health_check()).error or "")


async def test_a_pool_without_a_database_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="GAL_FRIDAY_DATABASE__URL"):
        DatabaseConnectionPool(DatabaseSettings())


async def test_an_url_given_wins_over_the_one_in_the_settings(empty_database_url: str) -> None:
    url = make_url(empty_database_url).set(drivername="postgresql+asyncpg")
    settings = DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/nowhere")
    async with DatabaseConnectionPool(settings, url=url) as pool:
        assert (await pool.health_check()).ok


async def test_opening_and_closing_twice_changes_nothing(empty_database_url: str) -> None:
    pool = a_pool(empty_database_url)
    await asyncio.gather(pool.initialize(), pool.initialize())
    engine = pool.engine
    await pool.initialize()
    assert pool.engine is engine
    await asyncio.gather(pool.close(), pool.close())
    await pool.close()
    await until(lambda: none_is_open(empty_database_url), "all connections closed")


async def test_a_closed_pool_can_be_opened_again(empty_database_url: str) -> None:
    pool = a_pool(empty_database_url)
    for _ in range(2):
        async with pool, pool.session() as session:
            assert await session.scalar(ONE) == 1


async def test_each_connection_runs_with_the_settings(empty_database_url: str) -> None:
    settings = {
        "application_name": "momentum-bot",
        "statement_timeout_seconds": 7.5,
        "idle_in_transaction_timeout_seconds": 90,
        "server_settings": {"work_mem": "5MB", "timezone": "Asia/Tokyo"},
    }
    async with a_pool(empty_database_url, **settings) as pool, pool.session() as session:
        for name, expected in {
            "application_name": "momentum-bot",
            "statement_timeout": "7500ms",
            "idle_in_transaction_session_timeout": "90s",
            "work_mem": "5MB",
            "timezone": "Asia/Tokyo",
        }.items():
            assert await session.scalar(SETTING, {"name": name}) == expected


async def test_what_an_url_says_in_libpqs_words_is_understood(empty_database_url: str) -> None:
    url = f"{empty_database_url}?sslmode=disable&application_name=from-the-url"
    async with a_pool(url) as pool, pool.session() as session:
        assert await session.scalar(SETTING, {"name": "application_name"}) == "from-the-url"
        assert await session.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")) is False


async def test_parameters_of_a_transaction_end_with_it(pool: DatabaseConnectionPool) -> None:
    async with pool.session({"gal_friday.actor": "bot", "statement_timeout": "1s"}) as session:
        assert await session.scalar(SETTING, {"name": "gal_friday.actor"}) == "bot"
        assert await session.scalar(SETTING, {"name": "statement_timeout"}) == "1s"
        pid = await session.scalar(PID)
    async with pool.session() as session:
        assert await session.scalar(PID) == pid
        assert not await session.scalar(SETTING, {"name": "gal_friday.actor"})
        assert await session.scalar(SETTING, {"name": "statement_timeout"}) == "30s"


async def test_what_was_not_committed_is_rolled_back(pool: DatabaseConnectionPool) -> None:
    async with pool.session() as session:
        await session.execute(text("CREATE TABLE kept (id int)"))
        await session.commit()
    async with pool.session() as session:
        await session.execute(text("INSERT INTO kept VALUES (1)"))
    async with pool.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM kept")) == 0


async def test_an_exhausted_pool_is_an_error_with_the_figures_in_bounded_time(
    pool: DatabaseConnectionPool,
) -> None:
    async with pool.session(), pool.session(), pool.session():
        started = time.monotonic()
        attempts = await asyncio.gather(
            *(pool.session().__aenter__() for _ in range(5)), return_exceptions=True
        )
        assert time.monotonic() - started < 4
        assert {type(attempt) for attempt in attempts} == {PoolTimeout}
        error = attempts[0]
        assert isinstance(error, PoolTimeout)
        waiting = error.facts.pop("waiting")
        assert isinstance(waiting, int)
        assert waiting <= 5
        assert error.facts == {"size": 2, "checked_out": 3, "overflow": 1, "acquire_timeout_seconds": 0.2}
    async with pool.session() as session:
        assert await session.scalar(ONE) == 1
    assert pool.stats().timeouts == 5


async def test_figures_follow_what_happens_to_the_pool(pool: DatabaseConnectionPool) -> None:
    before = pool.stats()
    assert (before.size, before.checked_out, before.checked_in, before.overflow) == (2, 0, 1, 0)
    async with pool.session(), pool.session(), pool.session():
        during = pool.stats()
        assert (during.checked_out, during.checked_in, during.overflow, during.waiting) == (3, 0, 1, 0)
        waiter = asyncio.create_task(pool.session().__aenter__())

        async def is_waiting() -> bool:
            return pool.stats().waiting == 1

        await until(is_waiting, "somebody waiting")
        with pytest.raises(PoolTimeout):
            await waiter
    after = pool.stats()
    assert (after.checked_out, after.checked_in, after.waiting, after.timeouts) == (0, 2, 0, 1)
    assert after.acquisitions == before.acquisitions + 3
    assert sum(count for _, count in after.wait_seconds) == after.acquisitions


async def test_one_waiting_gets_the_connection_given_back(empty_database_url: str) -> None:
    async def use(pool: DatabaseConnectionPool) -> object:
        async with pool.session() as session:
            return await session.scalar(ONE)

    async with a_pool(empty_database_url, pool_size=2, max_overflow=1, acquire_timeout_seconds=60) as pool:
        assert await asyncio.gather(*(use(pool) for _ in range(100))) == [1] * 100
        assert pool.stats().timeouts == 0


async def test_a_cancelled_task_gives_its_connection_back(empty_database_url: str) -> None:
    async def sleep(pool: DatabaseConnectionPool) -> None:
        async with pool.session() as session:
            await session.execute(text("SELECT pg_sleep(60)"))

    async with a_pool(empty_database_url, pool_size=2, max_overflow=1, acquire_timeout_seconds=60) as pool:
        for delay in (0, 0.001, 0.005, 0.02):
            tasks = [asyncio.create_task(sleep(pool)) for _ in range(5)]
            await asyncio.sleep(delay)  # at whatever await each of them has come to
            for task in tasks:
                task.cancel()
            assert all(
                isinstance(outcome, asyncio.CancelledError)
                for outcome in await asyncio.gather(*tasks, return_exceptions=True)
            )
            stats = pool.stats()
            assert (stats.checked_out, stats.waiting) == (0, 0)
        async with pool.session(), pool.session(), pool.session() as session:
            assert await session.scalar(ONE) == 1


async def test_a_connection_in_use_while_the_pool_closes_is_closed_when_given_back(
    empty_database_url: str,
) -> None:
    pool = a_pool(empty_database_url)
    await pool.initialize()
    async with pool.session() as session:
        await pool.close()
        assert await session.scalar(ONE) == 1
        assert await open_connections(empty_database_url) == 1
    await until(lambda: none_is_open(empty_database_url), "the last connection closed")


async def test_an_old_connection_is_replaced(empty_database_url: str) -> None:
    async with a_pool(empty_database_url, recycle_seconds=0.001) as pool:
        async with pool.session() as session:
            first = await session.scalar(PID)
        async with pool.session() as session:
            assert await session.scalar(PID) != first


async def test_a_health_check_reports_version_and_latency(pool: DatabaseConnectionPool) -> None:
    report = await pool.health_check()
    assert report.ok
    assert report.error is None
    assert report.in_recovery is False
    assert report.server_version
    assert report.server_version[:2].isdigit()
    assert 0 < report.latency_seconds < 5


async def test_a_health_check_of_a_silent_server_ends_in_time(empty_database_url: str) -> None:
    async with Relay(empty_database_url) as relay, a_pool(relay.url) as pool:
        relay.fall_silent()
        started = time.monotonic()
        report = await pool.health_check(timeout_seconds=0.1)
        assert time.monotonic() - started < 10
    assert not report.ok
    assert report.error == "no answer in 0.1 s"


async def test_a_health_check_after_a_restart_is_not_fooled_by_a_stale_connection(
    breakable_server: PostgresServer,
) -> None:
    async with a_pool(breakable_server.url()) as pool:
        assert (await pool.health_check()).ok
        breakable_server.stop()
        down = await pool.health_check()
        assert not down.ok
        assert str(breakable_server.port) in (down.error or "")
        breakable_server.start()
        assert (await pool.health_check()).ok


async def test_opening_waits_for_a_server_that_is_still_starting(breakable_server: PostgresServer) -> None:
    breakable_server.stop()
    pool = a_pool(breakable_server.url(), retry_timeout_seconds=60)
    opening = asyncio.create_task(pool.initialize())
    await asyncio.sleep(0)
    await asyncio.to_thread(breakable_server.start)
    await opening
    await pool.close()


async def test_opening_gives_up_on_a_server_that_stays_away(breakable_server: PostgresServer) -> None:
    breakable_server.stop()
    pool = a_pool(breakable_server.url(), retry_timeout_seconds=0.3)
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await pool.initialize()
    assert time.monotonic() - started < 10
    with pytest.raises(DatabaseUnavailable, match="not open"):
        _ = pool.engine


async def test_opening_does_not_insist_on_a_wrong_password(postgres_server: PostgresServer) -> None:
    started = time.monotonic()
    with pytest.raises(ConnectionRejected):
        await a_pool(postgres_server.url(user="stranger", password="wrong")).initialize()
    assert time.monotonic() - started < 5
