import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import CommitUnknown, ConnectionLost, DatabaseUnavailable
from tests.network import Relay
from tests.servers import PostgresServer
from tests.waiting import until

ONE = text("SELECT 1")
SETTING = text("SELECT current_setting(:name, true)")


def a_pool(url: str, **settings: Any) -> DatabaseConnectionPool:
    return DatabaseConnectionPool(DatabaseSettings(url=url, **settings))


@pytest.mark.parametrize("interruption", ["restart", "kill"])
async def test_a_restart_of_the_server_goes_unnoticed_between_transactions(
    breakable_server: PostgresServer, interruption: str
) -> None:
    async with a_pool(breakable_server.url(), pool_size=4) as pool:
        async with pool.session() as session:
            await session.execute(
                text("CREATE TABLE done (worker int, step int, PRIMARY KEY (worker, step))")
            )
            await session.commit()
        steps = [0] * 4
        stop = asyncio.Event()
        unsettled: list[tuple[int, int]] = []

        async def work(worker: int) -> None:
            while not stop.is_set():
                try:
                    async with pool.session() as session:
                        await session.execute(
                            text("INSERT INTO done VALUES (:worker, :step)"),
                            {"worker": worker, "step": steps[worker]},
                        )
                        await session.commit()
                except DatabaseUnavailable:  # interrupted inside: to be repeated by whoever knows the work
                    unsettled.append((worker, steps[worker]))
                steps[worker] += 1

        async def all_advance() -> bool:
            return all(now > then + 3 for now, then in zip(steps, milestone, strict=True))

        workers = [asyncio.create_task(work(worker)) for worker in range(4)]
        for _ in range(3):
            milestone = list(steps)
            await until(all_advance, "progress")
            if interruption == "kill":
                await asyncio.to_thread(breakable_server.kill)
                await asyncio.to_thread(breakable_server.start)
            else:
                await asyncio.to_thread(breakable_server.restart)
        milestone = list(steps)
        await until(all_advance, "progress after the last interruption")
        stop.set()
        await asyncio.gather(*workers)
        assert len(unsettled) <= 3 * 4  # each of the four at most once per interruption
        async with pool.session() as session:
            stored = {tuple(row) for row in await session.execute(text("SELECT worker, step FROM done"))}
        assert stored | set(unsettled) == {(w, step) for w in range(4) for step in range(steps[w])}


async def test_a_transaction_begun_while_the_server_is_away_starts_when_it_is_back(
    breakable_server: PostgresServer,
) -> None:
    async with a_pool(breakable_server.url()) as pool:
        breakable_server.stop()

        async def use() -> object:
            async with pool.session({"gal_friday.actor": "bot"}) as session:
                return await session.scalar(SETTING, {"name": "gal_friday.actor"})

        uses = [asyncio.create_task(use()) for _ in range(20)]
        assert not (await pool.health_check()).ok
        await asyncio.to_thread(breakable_server.start)
        assert await asyncio.gather(*uses) == ["bot"] * 20


async def test_a_server_that_stays_away_is_reported_after_the_retry_timeout(
    breakable_server: PostgresServer,
) -> None:
    async with a_pool(breakable_server.url(), retry_timeout_seconds=0.3) as pool:
        breakable_server.stop()
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await pool.session().__aenter__()
        assert time.monotonic() - started < 10
        assert pool.stats().checked_out == 0


async def test_a_transaction_cut_off_is_reported_and_repeated_by_retrying(
    breakable_server: PostgresServer,
) -> None:
    async with a_pool(breakable_server.url()) as pool:

        async def be_cut_off() -> None:
            async with pool.transaction() as uow:
                await asyncio.to_thread(breakable_server.restart)
                await uow.session.execute(ONE)

        with pytest.raises(ConnectionLost):
            await be_cut_off()
        tries = 0

        async def work(uow: UnitOfWork) -> object:
            nonlocal tries
            tries += 1
            if tries == 1:
                await asyncio.to_thread(breakable_server.restart)
            return await uow.session.scalar(ONE)

        assert await pool.retrying(work) == 1
        assert tries == 2


async def test_a_commit_nobody_answers_is_unknown_in_bounded_time(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gal_friday.dal.connect_arguments.SILENCE_SECONDS", 0.1)

    async def lose_the_answer(pool: DatabaseConnectionPool, relay: Relay) -> None:
        async with pool.transaction() as uow:
            await uow.session.execute(ONE)
            relay.fall_silent()

    async with (
        asyncio.timeout(20),
        Relay(empty_database_url) as relay,
        a_pool(relay.url, statement_timeout_seconds=0.5, retry_timeout_seconds=1) as pool,
    ):
        with pytest.raises(CommitUnknown):
            await lose_the_answer(pool, relay)
        assert pool.stats().checked_out == 0


async def test_retrying_leaves_a_commit_nobody_answered_alone(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gal_friday.dal.connect_arguments.SILENCE_SECONDS", 0.1)
    tries = 0
    async with (
        asyncio.timeout(20),
        Relay(empty_database_url) as relay,
        a_pool(relay.url, statement_timeout_seconds=0.5, retry_timeout_seconds=1) as pool,
    ):

        async def work(uow: UnitOfWork) -> None:
            nonlocal tries
            tries += 1
            await uow.session.execute(ONE)
            relay.fall_silent()

        with pytest.raises(CommitUnknown):
            await pool.retrying(work)
    assert tries == 1, "it may be stored already"
