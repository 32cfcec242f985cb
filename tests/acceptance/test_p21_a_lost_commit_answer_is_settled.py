"""P21: a commit whose answer was lost is settled, not guessed."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import URL, inspect, make_url, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.models import Strategy
from gal_friday.dal.models.models_base import new_id
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import CommitUnknown, ConnectionLost, DatabaseUnavailable
from tests.concurrency import at_once
from tests.factories import a_log, a_strategy
from tests.network import AnswerEater, Fate
from tests.servers import PgBouncer, PostgresServer
from tests.state import are_waiting
from tests.waiting import until

CUTS = int(os.environ.get("GAL_FRIDAY_TEST_COMMIT_CUTS", "500"))
TASKS = 10

COMMIT_WAITS = (
    """
    CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_advisory_xact_lock(21); RETURN NULL; END'
    """,
    """
    CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON strategies
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_lock()
    """,
)
HOLD_LOCK = text("SELECT pg_advisory_xact_lock(21)")


@asynccontextmanager
async def opened(url: URL, **settings: Any) -> AsyncIterator[Database]:
    async with DatabaseConnectionPool(DatabaseSettings(**settings), url=url) as pool:
        yield Database(pool)
        assert pool.stats().checked_out == 0


async def store(database: Database, name: str, **transaction: Any) -> None:
    """One unit of work of three writes, with a connection that may break at its commit."""
    async with database.transaction(**transaction) as uow:
        await write(uow, name)


async def write(uow: UnitOfWork, name: str) -> None:
    await uow.strategies.add(a_strategy(strategy_id=name))
    await uow.logs.add_many([a_log(message=name), a_log(message=name)])


async def stored(database: Database) -> set[str]:
    """The names of the units of work that are there, each of them all of it."""
    strategies = {strategy.strategy_id for strategy in await database.strategies.find_all()}
    logs = Counter(log.message for log in await database.logs.find_all())
    assert logs == dict.fromkeys(strategies, 2)
    return strategies


async def is_stored(database: Database, name: str) -> bool:
    """Whether the unit of work of this name is there."""
    return name in await stored(database)


@pytest.mark.parametrize("fate", [Fate.ANSWERED, Fate.LOST])
async def test_each_commit_whose_answer_is_lost_is_settled(
    database: Database, database_url: URL, fate: Fate
) -> None:
    """Every connection is cut between COMMIT and its answer; then every second one, and the work repeated."""
    each = CUTS // 2 // TASKS
    relay = AnswerEater(database_url, fate=fate)
    async with relay.url() as url, opened(url) as struck:

        async def work(task: int) -> None:
            for number in range(each * 3 // 5):
                name = f"{task}-{number}"
                if fate is Fate.ANSWERED:
                    await store(struck, name)
                else:
                    with pytest.raises(ConnectionLost, match="nothing was stored"):
                        await store(struck, name)

        await at_once(work, TASKS)
    done = {f"{task}-{number}" for task in range(TASKS) for number in range(each * 3 // 5)}
    assert await stored(database) == (done if fate is Fate.ANSWERED else set())
    every_second = AnswerEater(database_url, fate=fate, every=2)
    async with every_second.url() as url, opened(url) as struck:

        async def repeated(task: int) -> None:
            for number in range(each * 4 // 5):
                name = f"again-{task}-{number}"
                await struck.retrying(lambda uow, name=name: write(uow, name))  # type: ignore[misc]  # the default argument

        await at_once(repeated, TASKS)
    again = {f"again-{task}-{number}" for task in range(TASKS) for number in range(each * 4 // 5)}
    assert await stored(database) >= again
    assert relay.eaten + every_second.eaten >= CUTS // 2


async def test_what_a_settled_unit_of_work_stored_can_be_used_on(
    database: Database, database_url: URL
) -> None:
    """The block ended cleanly, so its entities are as after any commit."""
    stayer = await database.strategies.add(a_strategy())
    relay = AnswerEater(database_url)
    async with relay.url() as url, opened(url) as struck:
        async with struck.transaction() as uow:
            added = await uow.strategies.add(a_strategy(strategy_id="added"))
            stayer.name = "changed"
            await uow.strategies.update(stayer)
            await uow.strategy_states.set_value(added.strategy_id, "key", {})
            (leaver,) = await uow.strategy_states.find_all()
            await uow.strategy_states.delete(leaver)
        assert relay.eaten == 1
        assert inspect(leaver).detached
    assert (added.row_version, stayer.row_version) == (1, 2)
    added.name = "changed as well"
    async with database.transaction() as uow:
        await uow.strategies.update(added)
        await uow.strategies.update(stayer)
    assert await database.strategies.count(Strategy.name.startswith("changed")) == 2


async def test_a_unit_of_work_that_was_not_stored_leaves_its_entities_new(
    database: Database, database_url: URL
) -> None:
    strategy = a_strategy()
    relay = AnswerEater(database_url, fate=Fate.LOST)
    async with relay.url() as url, opened(url) as struck:
        with pytest.raises(ConnectionLost):
            await struck.strategies.add(strategy)
    stored = await database.strategies.add(strategy)
    assert stored is strategy
    assert await database.strategies.exists(Strategy.strategy_id == strategy.strategy_id)


async def test_a_commit_still_going_on_is_waited_for(
    database: Database, database_url: URL, owner_url: URL
) -> None:
    """COMMIT waits for a lock in a deferred trigger; nobody is told anything before it has ended."""
    await make_commits_wait(owner_url)
    relay = AnswerEater(database_url, fate=Fate.UNANSWERED)
    async with relay.url() as url, opened(url) as struck:
        async with database.transaction() as blocker:
            await blocker.session.execute(HOLD_LOCK)
            storing = asyncio.create_task(store(struck, "slow"))
            await until(lambda: are_waiting(database, 2), "COMMIT and the question wait")
            assert not storing.done()
            assert not await is_stored(database, "slow")
        await storing
    assert await is_stored(database, "slow")


async def test_a_commit_going_on_for_longer_than_one_may_wait_is_unknown_and_can_be_asked_for(
    database: Database, database_url: URL, owner_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    await make_commits_wait(owner_url)
    relay = AnswerEater(database_url, fate=Fate.UNANSWERED)
    async with (
        relay.url() as url,
        opened(url, retry_timeout_seconds=0.3) as struck,
        opened(database_url, statement_timeout_seconds=0.3) as impatient,
    ):
        async with database.transaction() as blocker:
            await blocker.session.execute(HOLD_LOCK)
            with pytest.raises(CommitUnknown) as caught:
                await store(struck, "slow")
            caplog.clear()
            asking = asyncio.create_task(impatient.was_committed(marker_of(caught.value)))
            await until(lambda: retried(caplog, 2), "the question is asked again after its timeout")
            assert not asking.done()
        assert await asking
        assert await is_stored(database, "slow")


async def test_a_commit_that_comes_late_is_refused(database: Database, database_url: URL) -> None:
    """Whoever was told that nothing was stored does it again: the first must never be stored after that."""
    relay = AnswerEater(database_url, fate=Fate.LATE)
    async with relay.url() as url, opened(url) as struck:
        with pytest.raises(ConnectionLost):
            await store(struck, "late")
        relay.deliver()
        await until(lambda: nothing_is_open(database), "the late commit has been refused")
        assert not await is_stored(database, "late")


async def test_the_answer_to_the_question_may_be_lost_too(database: Database, database_url: URL) -> None:
    """Asked again it is the same: what was made void is not taken for committed."""
    for fate, was_committed in ((Fate.LOST, False), (Fate.ANSWERED, True)):
        commits = AnswerEater(database_url, fate=fate, closes=True)
        async with commits.url() as url, opened(url, retry_timeout_seconds=0.2) as struck:
            with pytest.raises(CommitUnknown) as caught:
                await store(struck, fate.name)
        marker = marker_of(caught.value)
        questions = AnswerEater(database_url, question=marker.bytes, at_most=1)
        async with questions.url() as url, opened(url) as struck:
            assert [await struck.was_committed(marker) for _ in range(2)] == [was_committed] * 2
        assert questions.eaten == 1
        assert await is_stored(database, fate.name) == was_committed


async def test_a_server_away_for_longer_than_one_may_wait_is_asked_when_it_is_back(
    breakable_server: PostgresServer,
) -> None:
    url = make_url(breakable_server.url())
    await MigrationManager(url, DatabaseSettings()).run_migrations()
    for name, fate in (("stored", Fate.ANSWERED), ("lost", Fate.LOST)):
        relay = AnswerEater(url, fate=fate, closes=True)
        async with relay.url() as struck_url, opened(struck_url, retry_timeout_seconds=0.3) as struck:
            with pytest.raises(CommitUnknown) as caught:
                await store(struck, name)
            # The server refused, or the last question was still open when time was over.
            assert isinstance(caught.value.__cause__, DatabaseUnavailable | TimeoutError)
            marker = marker_of(caught.value)
        await asyncio.to_thread(breakable_server.kill)
        await asyncio.to_thread(breakable_server.start)
        async with opened(url) as database:
            assert await database.was_committed(marker) == (fate is Fate.ANSWERED)
            assert await is_stored(database, name) == (fate is Fate.ANSWERED)


@pytest.mark.parametrize("fate", [Fate.ANSWERED, Fate.LOST])
async def test_a_restart_of_the_server_in_between_changes_nothing(
    breakable_server: PostgresServer, fate: Fate
) -> None:
    url = make_url(breakable_server.url())
    await MigrationManager(url, DatabaseSettings()).run_migrations()
    relay = AnswerEater(url, fate=fate)

    async def restart() -> None:
        await asyncio.to_thread(breakable_server.restart, "immediate")

    async with (
        relay.url() as struck_url,
        opened(struck_url) as struck,
        relay.before_next_connection(restart),
    ):
        if fate is Fate.ANSWERED:
            await store(struck, "it")
        else:
            with pytest.raises(ConnectionLost):
                await store(struck, "it")
    async with opened(url) as database:
        assert await is_stored(database, "it") == (fate is Fate.ANSWERED)


async def test_on_a_server_that_never_heard_of_it_nothing_was_stored(database: Database) -> None:
    """As after a failover to a standby that the commit had not reached: what it holds is what counts."""
    marker = new_id()
    assert [await database.was_committed(marker) for _ in range(2)] == [False, False]


async def test_behind_pgbouncer_it_is_the_same(
    postgres_server: PostgresServer, database: Database, database_url: URL
) -> None:
    with PgBouncer(postgres_server) as bouncer:
        bouncer_url = make_url(bouncer.url(str(database_url.database)))
        for fate in (Fate.ANSWERED, Fate.LOST):
            # To ask is a transaction there, too, with a COMMIT that has no marker.
            relay = AnswerEater(bouncer_url, fate=fate, every=2, question=b"xact_id")
            async with relay.url() as url, opened(url, pgbouncer=True) as struck:
                for number in range(6):
                    name = f"{fate.name}-{number}"
                    await struck.retrying(lambda uow, name=name: write(uow, name))  # type: ignore[misc]  # the default argument
                    assert await is_stored(database, name)
            assert relay.eaten >= 3


def marker_of(error: CommitUnknown) -> UUID:
    assert error.marker is not None
    return error.marker


async def retried(caplog: pytest.LogCaptureFixture, times: int) -> bool:
    return sum(record.message == "retrying" for record in caplog.records) >= times


async def make_commits_wait(owner_url: URL) -> None:
    """Whoever stores a strategy waits, while committing, for an advisory lock."""
    async with opened(owner_url) as owner, owner.transaction() as uow:
        for statement in COMMIT_WAITS:
            await uow.session.execute(text(statement))


async def nothing_is_open(database: Database) -> bool:
    """Whether no other connection to this database is in a transaction."""
    async with database.transaction(read_only=True) as uow:
        return not await uow.session.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction')"
            )
        )
