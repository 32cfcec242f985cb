"""Delivery of the journal where the disk fails it, and where one fact fails for ever."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import reports_of
from gal_friday.dal.journal import fact_journal
from gal_friday.dal.journal.delivery import TRIES_ALONE, FactDelivery
from gal_friday.dal.journal.fact_journal import FactJournal
from gal_friday.dal.journal.facts import fills_as_facts
from gal_friday.dal.models import Order
from gal_friday.database import Database
from gal_friday.durable_log.refused import RefusedRecords
from gal_friday.errors import DatabaseUnavailable, LogUnwritable, StatementTimeout
from gal_friday.services import ExecutionHandler
from gal_friday.services.order_gateway import OrderKey
from tests.factories import a_fill, a_strategy, an_order
from tests.journaling import PLENTY, segments_in
from tests.network import Gate
from tests.waiting import until

#: What a server's own defect, or a plan gone bad, makes of some facts and not of others.
FAILS_FOR_SOME = (
    """
    CREATE FUNCTION fail_for_some() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW::text LIKE '%internal error%' THEN RAISE 'cache lookup failed' USING ERRCODE = 'XX000'; END IF;
        IF NEW::text LIKE '%too slow%' THEN PERFORM pg_sleep(30); END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER fail_for_some BEFORE INSERT ON fills FOR EACH ROW EXECUTE FUNCTION fail_for_some()",
    "CREATE TRIGGER fail_for_some BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION fail_for_some()",
)


@asynccontextmanager
async def a_journaled(url: URL, directory: Path) -> AsyncIterator[Database]:
    """A database whose statements have 0.6 s, and a journal that is given what it is to deliver."""
    settings = DatabaseSettings(statement_timeout_seconds=0.6, retry_timeout_seconds=0.1)
    async with DatabaseConnectionPool(settings, url=url) as pool:
        journal = await FactJournal.open(pool, directory, max_bytes=PLENTY, patience_seconds=5)
        try:
            yield Database(pool, journal)
        finally:
            await journal.close()


async def told(db: Database, order: Order, names: Sequence[str]) -> None:
    fills = [a_fill(order, fill_id=name) for name in names]
    await db.journal.keep(fills_as_facts(reports_of(fills), actor=None, application=None))


async def a_stored_order(db: Database, **values: str) -> Order:
    order: Order = await db.orders.add(
        an_order(await db.strategies.add(a_strategy()), quantity=Decimal(100), **values)
    )
    return order


async def fill_ids(db: Database) -> list[str | None]:
    return sorted((each.fill_id for each in await db.fills.find_all()), key=str)


async def test_a_fact_that_alone_fails_for_ever_is_set_aside_and_stops_nothing(
    database_url: URL, owner_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fact_journal, "LONGEST_WAIT_SECONDS", 0.05)
    async with DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as owner, owner.transaction() as uow:
        for statement in FAILS_FOR_SOME:
            await uow.session.execute(text(statement))
    async with a_journaled(database_url, tmp_path) as db:
        order = await a_stored_order(db)
        other = await a_stored_order(db, client_order_id="internal error")
        await told(db, order, ["a", "internal error", "b", "too slow", "c"])
        handler = ExecutionHandler(db)
        assert (await handler.canceled(OrderKey(client_order_id=other.client_order_id))).is_journaled
        await told(db, order, ["d"])

        async def is_idle() -> bool:
            return not db.journal.pending() and db.journal.stats().last_error is None

        await until(is_idle, "what can be delivered is")
        stats = db.journal.stats()
        assert (stats.applied, stats.refused) == (4, 3)
        assert await fill_ids(db) == ["a", "b", "c", "d"]
        reasons = [json.loads(line)["reason"] for line in RefusedRecords(tmp_path).lines()]
        assert ["cache lookup failed" in each for each in reasons] == [True, False, True]


async def test_a_fact_is_not_to_blame_while_the_database_does_not_answer(
    database_url: URL, tmp_path: Path
) -> None:
    async with Gate(database_url) as gate, a_journaled(gate.url, tmp_path) as db:
        delivery = FactDelivery(db.pool, RefusedRecords(tmp_path), db.journal.stats())

        async def tried(error: Exception, times: int = 1, line: bytes = b"this") -> bool:
            """Whether the fact is wrong by the last time."""
            return [await delivery._is_wrong(line, error) for _ in range(times)][-1]

        assert not await tried(StatementTimeout(), TRIES_ALONE - 1)
        assert not await tried(StatementTimeout(), line=b"another")
        assert not await tried(StatementTimeout(), TRIES_ALONE - 1)
        assert not await tried(OSError(), TRIES_ALONE)
        assert not await tried(DatabaseUnavailable(), TRIES_ALONE)
        gate.shut()
        assert not await tried(StatementTimeout())
        gate.open()
        assert await tried(RuntimeError())


async def test_delivery_outlives_a_file_that_cannot_be_opened_for_a_while(
    database_url: URL, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_journaled(database_url, tmp_path) as db:
        order = await a_stored_order(db)
        facts = [a_fill(order, fill_id="a")]
        lines = fills_as_facts(reports_of(facts), actor=None, application=None)
        assert db.journal._slots is not None
        await db.journal._slots.own.append(lines)
        (segment,) = segments_in(tmp_path / "0")
        segment.rename(tmp_path / "away")
        segment.symlink_to(segment)  # too many levels of symbolic links, whoever opens it
        with pytest.raises(LogUnwritable):
            await db.journal.drain()
        db.journal.deliver_soon()

        async def is_held_up() -> bool:
            return db.journal.stats().last_error is not None

        await until(is_held_up, "the failure is told")
        assert "symbolic links" in str(db.journal.stats().last_error)
        assert [each.levelname for each in caplog.records] == ["ERROR"]
        (tmp_path / "away").rename(segment)
        await db.journal.caught_up()
        assert await fill_ids(db) == ["a"]


async def test_what_is_refused_waits_until_it_can_be_set_aside_and_is_so_once(
    database_url: URL, tmp_path: Path
) -> None:
    async with a_journaled(database_url, tmp_path) as db:
        order = await a_stored_order(db)
        cursor, refused = tmp_path / "0" / "delivered.new", tmp_path / "refused.jsonl"
        refused.mkdir()
        cursor.mkdir()
        await db.journal.keep([b"no fact", b'{"kind": "status", "data": "none"}'])

        async def says(name: Path) -> bool:
            return str(name) in str(db.journal.stats().last_error)

        await until(lambda: says(refused), "it cannot be set aside")
        assert (db.journal.pending(), db.journal.stats().refused) == (2, 0)
        refused.rmdir()
        await until(lambda: says(cursor), "it is set aside, and that cannot be noted")
        for _ in range(2):
            with pytest.raises(LogUnwritable):
                await db.journal.drain()
        assert len(RefusedRecords(tmp_path).lines()) == db.journal.stats().refused
        cursor.rmdir()
        await told(db, order, ["a"])
        await db.journal.caught_up()
        assert len(RefusedRecords(tmp_path).lines()) == db.journal.stats().refused == 2
        assert await fill_ids(db) == ["a"]


async def test_the_end_of_a_delivery_that_nobody_wanted_is_told(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = await FactJournal.open(database.pool, tmp_path, max_bytes=PLENTY, patience_seconds=1)

    async def ends() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(journal, "_keep_delivering", ends)
    await journal.keep([b"no fact"])
    assert journal._delivering is not None
    await asyncio.wait({journal._delivering})
    assert "facts are no longer delivered" in caplog.text
    await journal.close()
