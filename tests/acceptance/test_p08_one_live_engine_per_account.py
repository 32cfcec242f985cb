"""P08: one live engine per account, also when an engine was stopped, and goes on where it was."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from sqlalchemy import URL, text

from gal_friday.dal.models import Order, Strategy
from gal_friday.database import Database
from gal_friday.state.leases import hold_lease
from gal_friday.state.verification import verify
from tests.factories import a_signal, a_strategy, an_order
from tests.waiting import until

TTL_SECONDS = 1.0
LOST = ",".join(["LeaseLost"] * 4)
IS_EXPIRED = text("SELECT bool_and(lease_expires_at < clock_timestamp()) FROM instance_metadata")


class Engine:
    """A process of its own that leads, or thinks it does."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def hear(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(120):
            return (await self._process.stdout.readline()).decode().strip()

    async def ask(self, words: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n".encode())
        await self._process.stdin.drain()
        return await self.hear()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def engine(
    url: URL, strategy: Strategy, order: Order, *, ttl_seconds: float = TTL_SECONDS
) -> AsyncIterator[Engine]:
    arguments = (url.render_as_string(hide_password=False), ttl_seconds, strategy.strategy_id, order.id)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.leader", *map(str, arguments), stdin=PIPE, stdout=PIPE
    )
    try:
        yield Engine(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    return await database.strategies.add(a_strategy())


@pytest.fixture
async def order(database: Database, strategy: Strategy) -> Order:
    return await database.orders.add(an_order(strategy, exchange_order_id="X1", quantity=Decimal(5)))


async def test_an_engine_stopped_past_its_lease_intends_nothing_and_still_reports_facts(
    database: Database, database_url: URL, strategy: Strategy, order: Order
) -> None:
    async with engine(database_url, strategy, order) as stopped:
        assert await stopped.hear() == "leading 1"
        assert await stopped.ask("fact F1") == "APPLIED"
        stopped.stop()
        async with hold_lease(database, wait_seconds=60) as lease:
            assert lease.epoch == 2
            stopped.go_on()
            assert await stopped.ask("intend") == LOST
            assert await stopped.ask("fact F2") == "APPLIED"
            assert await stopped.ask("fact F2") == "DUPLICATE"
            assert await database.signals.count() == 0
            await database.signals.add(a_signal(strategy))
        assert await stopped.ask("intend") == LOST  # nobody leads now, and it still has lost its lease
    assert [order.id for order in await database.orders.find_all()] == [order.id]
    async with database.transaction(read_only=True, snapshot=True) as uow:
        assert not (await verify(uow)).differences


async def test_an_engine_stopped_past_its_lease_which_nobody_took_leads_on(
    database: Database, database_url: URL, strategy: Strategy, order: Order
) -> None:
    async with engine(database_url, strategy, order) as stopped:
        assert await stopped.hear() == "leading 1"
        stopped.stop()

        async def is_past() -> bool:
            async with database.transaction() as uow:
                return bool(await uow.session.scalar(IS_EXPIRED))

        await until(is_past, "the lease to expire")
        stopped.go_on()

        async def leads() -> bool:
            return "LeaseLost" not in await stopped.ask("intend")

        await until(leads, "a renewal")
        assert await database.signals.count() > 0


async def test_an_engine_stopped_amid_a_transaction_is_waited_for_no_longer_than_the_server_allows(
    database: Database, database_url: URL, strategy: Strategy, order: Order
) -> None:
    async with engine(database_url, strategy, order) as stopped:
        assert await stopped.hear() == "leading 1"
        assert await stopped.ask("hold") == "holding"
        stopped.stop()
        async with hold_lease(database, wait_seconds=60) as lease:
            assert lease.epoch == 2
            stopped.go_on()
            assert await stopped.ask("commit") in {"ConnectionLost", "CommitUnknown"}
            assert await database.signals.count() == 0


async def test_of_two_engines_started_at_once_one_leads(
    database_url: URL, strategy: Strategy, order: Order
) -> None:
    async with (
        # For longer than the slower of them may take to begin.
        engine(database_url, strategy, order, ttl_seconds=600) as first,
        engine(database_url, strategy, order, ttl_seconds=600) as second,
    ):
        hearing = [asyncio.create_task(each.hear()) for each in (first, second)]
        await asyncio.wait(hearing)
        said = sorted(task.result() for task in hearing)
    assert said == ["", "leading 1"]  # the other one ended: the account is led
