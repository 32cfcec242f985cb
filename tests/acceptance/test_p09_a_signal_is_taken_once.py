"""P09: a signal is taken once: its fingerprint is claimed in the same transaction as its effect."""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL

from gal_friday.dal.models import SignalLog
from gal_friday.database import Database
from gal_friday.state import DatabaseStateManager, SignalReceipt
from tests.claimant import NAME, TASKS, effect_of, signal_number, signal_of, take
from tests.concurrency import at_once
from tests.state import are_waiting, is_gone, undone
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PROCESSES = 4
SIGNALS = 40


@pytest.fixture
def manager(database: Database) -> DatabaseStateManager:
    return DatabaseStateManager(database)


@contextmanager
def a_claimant(url: URL, how: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that takes signals, ready to."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.claimant", url.render_as_string(hide_password=False), how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert read_line(process) == "ready"
        yield process
    finally:
        process.kill()
        process.communicate()


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def tell(process: "subprocess.Popen[str]", number: int) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()


async def effects(database: Database) -> Counter[int]:
    return Counter(signal_of(effect) for effect in await database.portfolio_positions.find_all())


async def entries(database: Database) -> dict[int, SignalLog]:
    numbers = {signal_number(number).signal_timestamp: number for number in range(SIGNALS)}
    return {numbers[entry.signal_timestamp]: entry for entry in await database.signal_log.find_all()}


async def test_of_sixteen_tasks_that_take_one_signal_at_once_one_does(
    manager: DatabaseStateManager, database: Database
) -> None:
    async def claim(_: int) -> bool:
        async with manager.transaction() as t:
            return await take(t, 7)

    taken = await at_once(claim, 16)
    assert sorted(taken) == [False] * 15 + [True]
    assert await effects(database) == {7: 1}
    assert (await entries(database))[7].duplicate_count == 15


async def test_four_processes_that_take_the_same_signals_at_once_take_each_once(
    database: Database, database_url: URL
) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(a_claimant(database_url, "at-once")) for _ in range(PROCESSES)]
        numbers = [*range(SIGNALS)]
        for process in processes:
            for number in numbers:
                tell(process, number)
        outputs = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in processes))
        assert [process.returncode for process in processes] == [0] * PROCESSES
    taken = Counter(number for output, _ in outputs for number in json.loads(output))
    assert taken == Counter(numbers)
    assert await effects(database) == Counter(numbers)
    duplicates = {number: entry.duplicate_count for number, entry in (await entries(database)).items()}
    assert duplicates == dict.fromkeys(numbers, PROCESSES * TASKS - 1)


async def test_a_claimant_killed_between_claim_and_commit_leaves_the_signal_to_the_next(
    manager: DatabaseStateManager, database: Database, database_url: URL
) -> None:
    with a_claimant(database_url, "and-wait") as process:
        tell(process, 7)
        assert await asyncio.to_thread(read_line, process) == "taken"
        next_one = asyncio.create_task(manager.retrying(lambda t: take(t, 7)))
        await until(lambda: are_waiting(database, 1), "the next one waits for the claimant")
        assert not next_one.done()
        assert not await effects(database)
        process.kill()
        assert await next_one
    assert await effects(database) == {7: 1}
    assert (await entries(database))[7].duplicate_count == 0


@pytest.mark.usefixtures("children_are_not_measured")
async def test_processes_killed_at_random_moments_leave_each_signal_taken_once_or_not_at_all(
    database: Database, database_url: URL
) -> None:
    dice = random.Random()
    for _ in range(5):
        with a_claimant(database_url, "at-once") as process:
            before = sum((await effects(database)).values())
            for number in range(SIGNALS):
                tell(process, number)
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
            goal = min(before + dice.randrange(1, 6), SIGNALS)

            async def has_taken(goal: int = goal) -> bool:
                return sum((await effects(database)).values()) >= goal

            await until(has_taken, "some signals are taken")
            process.kill()
            process.wait()
        await until(lambda: is_gone(database, NAME), "the server has noticed")
        taken = await effects(database)
        assert set(taken.values()) <= {1}
        assert set(await entries(database)) == set(taken)
    with a_claimant(database_url, "at-once") as process:
        await asyncio.to_thread(process.communicate, "".join(f"{number}\n" for number in range(SIGNALS)))
        assert process.returncode == 0
    assert await effects(database) == Counter(range(SIGNALS))
    assert set(await entries(database)) == set(range(SIGNALS))


async def test_an_effect_that_is_rolled_back_frees_the_fingerprint(
    manager: DatabaseStateManager, database: Database
) -> None:
    async with undone(manager.transaction()) as t:
        assert await take(t, 7)
        assert await t.check_duplicate_signal(signal_number(7))
    assert not await manager.check_duplicate_signal(signal_number(7))
    async with manager.transaction() as t:
        assert await take(t, 7)
    assert await effects(database) == {7: 1}
    assert (await entries(database))[7].duplicate_count == 0


async def test_a_claim_in_a_savepoint_that_is_undone_frees_the_fingerprint(
    manager: DatabaseStateManager, database: Database
) -> None:
    async with manager.transaction() as t:
        async with undone(t.uow.savepoint()):
            assert await take(t, 7)
        assert await take(t, 7)
    assert await effects(database) == {7: 1}


@pytest.mark.parametrize("is_committed", [True, False])
async def test_who_comes_second_waits_to_hear_what_became_of_the_first(
    manager: DatabaseStateManager, database: Database, is_committed: bool
) -> None:
    async def claim() -> SignalReceipt:
        async with manager.transaction() as t:
            return await t.log_signal(signal_number(7))

    transaction = manager.transaction()
    async with transaction if is_committed else undone(transaction) as t:
        first = await t.log_signal(signal_number(7))
        await t.save_position(effect_of(7))
        second = asyncio.create_task(claim())
        await until(lambda: are_waiting(database, 1), "the second one waits for the first")
    receipt = await second
    assert first.is_new
    assert receipt.is_new != is_committed
    assert receipt.entry.duplicate_count == int(is_committed)


async def test_a_duplicate_whose_transaction_is_undone_is_not_counted(
    manager: DatabaseStateManager, database: Database
) -> None:
    await manager.log_signal(signal_number(7))
    async with undone(manager.transaction()) as t:
        assert not await take(t, 7)
    await manager.log_signal(signal_number(7))
    assert (await entries(database))[7].duplicate_count == 1
