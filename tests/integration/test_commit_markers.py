"""Which transactions leave a marker, and how long markers last."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.marked_commits import ANSWERABLE, KEPT, MarkingConnection, first_marker_of, made_at
from gal_friday.dal.models import CommitMarker, new_id
from gal_friday.database import Database
from gal_friday.errors import CommitUnknown, ConnectionLost, InvalidValue, PermissionDenied, ReadOnly
from tests.concurrency import at_once
from tests.factories import a_log, a_strategy
from tests.network import AnswerEater, Fate
from tests.replays import opened


async def markers(database: Database) -> int:
    count: int = await database.commit_markers.count()
    return count


async def test_whoever_writes_leaves_one_marker_and_whoever_reads_none(database: Database) -> None:
    before = await markers(database)
    async with database.transaction() as uow:
        await uow.strategies.count()
    async with database.transaction(read_only=True) as uow:
        await uow.strategies.count()
    assert await markers(database) == before
    async with database.transaction() as uow:
        await uow.strategies.add(a_strategy())
        await uow.logs.add(a_log())
    assert await markers(database) == before + 1


async def test_raw_sql_and_what_a_savepoint_left_leave_a_marker_too(database: Database) -> None:
    before = await markers(database)
    async with database.transaction() as uow:
        await uow.session.execute(text("UPDATE accounts SET halted_at = NULL"))
    async with database.transaction() as uow, uow.savepoint():
        await uow.strategies.add(a_strategy())
    assert await markers(database) == before + 2


async def test_a_transaction_undone_leaves_none(database: Database) -> None:
    before = await markers(database)

    async def fail() -> None:
        async with database.transaction() as uow:
            await uow.strategies.add(a_strategy())
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await markers(database) == before


async def test_a_reader_may_end_a_transaction_and_not_write_in_it(
    database_url: URL,
) -> None:
    settings = DatabaseSettings(server_settings={"role": "gal_friday_reader"})
    owner = database_url.set(username="postgres")
    async with DatabaseConnectionPool(settings, url=owner) as pool:
        database = Database(pool)
        assert await database.strategies.count() == 0
        with pytest.raises(PermissionDenied):
            await database.strategies.add(a_strategy())


async def test_where_the_server_takes_no_changes_one_can_read(database_url: URL) -> None:
    settings = DatabaseSettings(server_settings={"default_transaction_read_only": "on"})
    async with DatabaseConnectionPool(settings, url=database_url) as pool:
        database = Database(pool)
        assert await database.strategies.count() == 0
        with pytest.raises(ReadOnly):
            await database.strategies.add(a_strategy())


async def test_a_standby_cannot_tell_and_is_asked_again(
    database_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    """As during a failover: the one that answers is not promoted yet."""
    settings = DatabaseSettings(
        server_settings={"default_transaction_read_only": "on"}, retry_timeout_seconds=0.5
    )
    async with DatabaseConnectionPool(settings, url=database_url) as pool:
        with pytest.raises(CommitUnknown) as caught:
            await pool.was_committed(marker := new_id())
    assert caught.value.marker == marker
    # It said so, unless the last question was still open when time was over.
    assert isinstance(caught.value.__cause__, ReadOnly | TimeoutError)
    asked_again = [vars(record)["error"] for record in caplog.records if record.message == "retrying"]
    assert asked_again
    assert all("read-only" in error for error in asked_again)


async def test_a_connection_found_broken_at_the_commit_is_not_asked_about(
    database: Database, database_url: URL, owner_url: URL
) -> None:
    async with opened(database_url) as struck, opened(owner_url) as owner:
        before = await markers(database)

        async def be_ended() -> None:
            async with struck.transaction() as uow:
                await uow.strategies.add(a_strategy())
                driver = (await (await uow.session.connection()).get_raw_connection()).driver_connection
                assert isinstance(driver, MarkingConnection)
                driver.terminate()

        with pytest.raises(ConnectionLost):
            await be_ended()
        assert await markers(database) == before, "not even a void one"
        assert await owner.strategies.count() == 0


async def test_a_commit_the_driver_did_not_mark_is_unknown_and_never_guessed(
    database: Database, database_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release of the driver that says COMMIT in other words."""
    monkeypatch.setattr("gal_friday.dal.marked_commits.DRIVERS_COMMIT", "COMMIT WORK;")
    relay = AnswerEater(database_url)
    async with relay.url() as url, opened(url) as struck:
        with pytest.raises(CommitUnknown, match="not marked") as caught:
            await struck.strategies.add(a_strategy())
    assert caught.value.marker is None
    assert await database.strategies.count() == 1


async def test_many_who_ask_for_one_commit_hear_the_same(database: Database, database_url: URL) -> None:
    for fate in (Fate.ANSWERED, Fate.LOST):
        relay = AnswerEater(database_url, fate=fate, closes=True)
        settings = DatabaseSettings(retry_timeout_seconds=0.2)
        async with relay.url() as url, DatabaseConnectionPool(settings, url=url) as pool:
            with pytest.raises(CommitUnknown) as caught:
                await Database(pool).strategies.add(a_strategy())
        marker = caught.value.marker
        assert marker is not None
        assert set(await at_once(lambda _, marker=marker: database.was_committed(marker), 8)) == {  # type: ignore[misc]  # the default argument
            fate is Fate.ANSWERED
        }


async def test_void_markers_can_be_read(database: Database) -> None:
    marker = new_id()
    assert not await database.was_committed(marker)
    void = await database.commit_markers.one(marker)
    assert void.created_at.year == 1970


@pytest.mark.parametrize("marker", [uuid4(), first_marker_of(datetime.now(UTC) - ANSWERABLE)])
async def test_what_is_no_marker_or_may_be_pruned_is_not_asked_for(database: Database, marker: UUID) -> None:
    before = await markers(database)
    with pytest.raises(InvalidValue):
        await database.was_committed(marker)
    assert await markers(database) == before


def test_a_marker_says_when_it_was_made() -> None:
    now = datetime.now(UTC)
    assert abs(made_at(new_id()) - now) < timedelta(seconds=5)
    assert made_at(first_marker_of(now)) <= now
    assert first_marker_of(now).version == 7
    assert first_marker_of(now - timedelta(seconds=1)) < new_id()


async def test_markers_that_cannot_be_asked_for_any_more_are_pruned(database: Database) -> None:
    now = datetime.now(UTC)
    old = [first_marker_of(now - KEPT - timedelta(seconds=number)) for number in range(1, 8)]
    young = first_marker_of(now - KEPT + timedelta(minutes=1))
    await database.commit_markers.add_many([CommitMarker(id=marker) for marker in (*old, young)])
    assert await database.commit_markers.prune(limit=3) == 3
    assert not await database.commit_markers.exists(CommitMarker.id.in_(sorted(old)[:3]))
    assert sum(await at_once(lambda _: database.commit_markers.prune(), 4)) == 4
    assert await database.commit_markers.prune() == 0
    assert await database.commit_markers.get(young) is not None
    with pytest.raises(InvalidValue):
        await database.commit_markers.prune(timedelta(days=1))
