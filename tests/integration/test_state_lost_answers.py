"""A DatabaseStateManager whose connections break: settled, not guessed."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.cache import L1Cache
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import (
    PortfolioPosition,
)
from gal_friday.database import Database
from gal_friday.errors import (
    CommitUnknown,
    DatabaseUnavailable,
    StaleWrite,
)
from gal_friday.state import DatabaseStateManager
from tests.factories import a_portfolio_position, a_signal_log
from tests.network import AnswerEater, Fate
from tests.replays import opened
from tests.state import end_one_who_waits, stored_lots, the_position, undone
from tests.waiting import until


@pytest.fixture
def manager(database: Database) -> DatabaseStateManager:
    return DatabaseStateManager(database)


async def test_a_connection_lost_before_the_commit_is_replaced_and_the_save_repeated(
    manager: DatabaseStateManager, database: Database
) -> None:
    position = a_portfolio_position(position_id="P1")
    blocker = a_portfolio_position(position_id="P1", lots=99)
    async with undone(database.transaction()) as uow:
        await uow.portfolio_positions.add(blocker)
        saving = asyncio.create_task(manager.save_position(position))
        await until(lambda: end_one_who_waits(database), "the save waits for the other transaction")
    await saving
    assert await stored_lots(database) == position.lots


async def test_a_save_whose_commit_s_answer_was_lost_is_settled(
    database: Database, database_url: URL
) -> None:
    relay = AnswerEater(database_url, every=2)
    async with relay.url() as url, opened(url) as struck:
        manager = DatabaseStateManager(struck, actor="engine")
        position = a_portfolio_position(position_id="P1", lots=0, atr=Decimal("1.5"))
        await manager.save_position(position)
        for lots in range(1, 7):
            position.lots = lots
            await manager.save_position(position)
            assert (position.row_version, await stored_lots(database)) == (lots + 1, lots)
            receipt = await manager.log_signal(a_signal_log())
            assert receipt.is_new
            assert receipt.entry.duplicate_count == 0
    assert relay.eaten >= 5


class Interfering(L1Cache[PortfolioPosition]):
    """Does something once, after the first commit whose answer was lost and before that is looked into."""

    def __init__(self, interference: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._interference: Callable[[], Awaitable[None]] | None = interference

    async def discard(self, key: Any) -> None:
        await super().discard(key)
        interference, self._interference = self._interference, None
        if interference is not None:
            await interference()


async def test_a_save_that_was_not_stored_does_not_replace_what_somebody_else_saved_since(
    database: Database, database_url: URL
) -> None:
    calm = DatabaseStateManager(database)
    await calm.save_position(a_portfolio_position(position_id="P1", lots=1))

    async def somebody_saves() -> None:
        theirs = await the_position(calm, refresh=True)
        theirs.lots = 7
        await calm.save_position(theirs)

    relay = AnswerEater(database_url, fate=Fate.LOST)
    async with relay.url() as url, opened(url) as struck:
        manager = DatabaseStateManager(struck, actor="engine", cache=Interfering(somebody_saves))
        position = await the_position(manager)
        position.lots = 2
        with pytest.raises(StaleWrite):
            await manager.save_position(position)
        assert (position.lots, position.row_version) == (2, 1)
        assert (await the_position(manager)).lots == 7
    assert relay.eaten == 1
    assert await stored_lots(database) == 7


async def test_a_save_that_was_stored_is_known_to_be_though_somebody_else_saved_since(
    database: Database, database_url: URL
) -> None:
    calm = DatabaseStateManager(database)
    await calm.save_position(a_portfolio_position(position_id="P1", lots=1))
    relay = AnswerEater(database_url)

    async def save_theirs() -> None:
        theirs = await the_position(calm, refresh=True)
        theirs.lots = 7
        await calm.save_position(theirs)

    async with relay.url() as url, opened(url) as struck:
        manager = DatabaseStateManager(struck, actor="engine")
        position = await the_position(manager)
        position.lots = 2
        async with relay.before_next_connection(save_theirs):
            await manager.save_position(position)
        assert (position.lots, position.row_version) == (2, 2)
    assert relay.eaten == 1
    assert await stored_lots(database) == 7


async def test_a_commit_that_did_not_arrive_is_sent_again(database: Database, database_url: URL) -> None:
    relay = AnswerEater(database_url, every=2, fate=Fate.LOST)
    async with relay.url() as url, opened(url) as struck:
        manager = DatabaseStateManager(struck, actor="engine")
        position = a_portfolio_position(position_id="P1", lots=0)
        for lots in range(4):
            position.lots = lots
            await manager.save_position(position)
            assert (position.row_version, await stored_lots(database)) == (lots + 1, lots)
    assert relay.eaten >= 3


async def test_what_cannot_be_looked_up_stays_unknown(database: Database, database_url: URL) -> None:
    await DatabaseStateManager(database).save_position(a_portfolio_position(position_id="P1", lots=1))
    relay = AnswerEater(database_url, closes=True)
    async with relay.url() as url:
        pool = DatabaseConnectionPool(DatabaseSettings(retry_timeout_seconds=0.3), url=url)
        async with pool:
            manager = DatabaseStateManager(Database(pool), actor="engine")
            position = await the_position(manager)
            position.lots = 2
            with pytest.raises(CommitUnknown) as caught:
                await manager.save_position(position)
            assert isinstance(caught.value.__cause__, DatabaseUnavailable | TimeoutError)
    assert caught.value.marker is not None
    assert await database.was_committed(caught.value.marker)
    assert await stored_lots(database) == 2


async def test_a_commit_without_answer_leaves_the_cache_as_it_is_stored(
    database: Database, database_url: URL
) -> None:
    relay = AnswerEater(database_url)
    await DatabaseStateManager(database).save_position(a_portfolio_position(position_id="P1", lots=1))
    async with relay.url() as url, opened(url) as struck:
        manager = DatabaseStateManager(struck, actor="engine")
        position = await the_position(manager)
        position.lots = 2
        async with manager.transaction() as t:
            await t.save_position(position)
        kept = await the_position(manager)
        assert kept.lots == await stored_lots(database) == 2


async def test_a_read_whose_connection_was_lost_is_repeated(
    manager: DatabaseStateManager, database: Database
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1"))
    reading: asyncio.Task[Any] | None = None
    async with database.transaction() as uow:
        await uow.session.execute(text("LOCK TABLE portfolio_positions IN ACCESS EXCLUSIVE MODE"))
        reading = asyncio.create_task(manager.get_position("P1", refresh=True))
        await until(lambda: end_one_who_waits(database), "the read waits for the lock")
    assert await reading is not None


# --- a save on its own, one statement ----------------------------------------------------------------------


@pytest.fixture(params=[Fate.ANSWERED, Fate.LOST], ids=["carried out", "never arrived"])
def fate(request: pytest.FixtureRequest) -> Fate:
    kept: Fate = request.param
    return kept


#: Sent with the statement that is cut, and only then: it is bound in it.
NAME = "cut here"


def cut(url: URL, fate: Fate, **options: Any) -> AnswerEater:
    return AnswerEater(url, question=NAME.encode(), fate=fate, at_most=1, **options)


async def test_a_new_row_whose_answer_was_lost_is_stored_once(
    database: Database, database_url: URL, fate: Fate
) -> None:
    relay = cut(database_url, fate)
    async with relay.url() as url, opened(url) as struck:
        position = a_portfolio_position(position_id="P1", lots=7, instrument=NAME)
        await DatabaseStateManager(struck).save_position(position)
    assert relay.eaten == 1
    assert (position.row_version, await stored_lots(database)) == (1, 7)


async def test_a_change_whose_answer_was_lost_is_made_once(
    manager: DatabaseStateManager, database: Database, database_url: URL, fate: Fate
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", lots=0))
    relay = cut(database_url, fate)
    async with relay.url() as url, opened(url) as struck:
        its_manager = DatabaseStateManager(struck)
        position = await its_manager.get_position("P1")
        assert position is not None
        position.lots, position.instrument = 1, NAME
        await its_manager.save_position(position)
    assert relay.eaten == 1
    assert (position.row_version, await stored_lots(database)) == (2, 1)


async def test_a_change_others_made_instead_is_stale(
    manager: DatabaseStateManager, database: Database, database_url: URL
) -> None:
    position = a_portfolio_position(position_id="P1", lots=0)
    await manager.save_position(position)
    relay = cut(database_url, Fate.LOST)
    async with relay.url() as url, opened(url) as struck:
        mine = await DatabaseStateManager(struck).get_position("P1")
        assert mine is not None
        mine.lots, mine.instrument = 1, NAME
        async with relay.before_next_connection(lambda: save_lots(manager, position, 50)):
            with pytest.raises(StaleWrite):
                await DatabaseStateManager(struck).save_position(mine)
    assert await stored_lots(database) == 50


async def test_a_change_that_others_may_have_built_on_is_unknown(
    manager: DatabaseStateManager, database: Database, database_url: URL
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", lots=0))
    relay = cut(database_url, Fate.ANSWERED)
    async with relay.url() as url, opened(url) as struck:
        mine = await DatabaseStateManager(struck).get_position("P1")
        assert mine is not None
        mine.lots, mine.instrument = 1, NAME

        async def built_on() -> None:
            theirs = await manager.get_position("P1", refresh=True)
            assert theirs is not None
            await save_lots(manager, theirs, 50)

        async with relay.before_next_connection(built_on):
            with pytest.raises(CommitUnknown) as caught:
                await DatabaseStateManager(struck).save_position(mine)
    assert caught.value.facts["key"] == mine_key(mine)
    assert await stored_lots(database) == 50


async def save_lots(manager: DatabaseStateManager, position: PortfolioPosition, lots: int) -> None:
    position.lots = lots
    await manager.save_position(position)


def mine_key(position: PortfolioPosition) -> tuple[str, str]:
    return position.account_id, position.position_id


async def test_where_no_server_answers_any_more_a_save_is_unknown(
    database: Database, database_url: URL
) -> None:
    relay = cut(database_url, Fate.ANSWERED, closes=True)
    async with relay.url() as url:
        settings = DatabaseSettings(retry_timeout_seconds=0.3)
        async with DatabaseConnectionPool(settings, url=url) as pool:
            position = a_portfolio_position(position_id="P1", lots=7, instrument=NAME)
            with pytest.raises(CommitUnknown):
                await DatabaseStateManager(Database(pool)).save_position(position)
    assert await stored_lots(database) == 7
