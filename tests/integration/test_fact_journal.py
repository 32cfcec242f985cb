"""Facts of the exchange while the database is away: on disk at once, in the database once it is back."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url, text

from gal_friday.config import DatabaseSettings, EmbeddedSettings, JournalSettings, Settings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import FillResult
from gal_friday.dal.journal import fact_journal
from gal_friday.dal.journal.slots import directory_name
from gal_friday.dal.models import Fill, Order, OrderStatus, OrderType, Side
from gal_friday.database import Database, journal_root, open_database
from gal_friday.durable_log.refused import RefusedRecords
from gal_friday.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InvalidReference,
    InvalidValue,
    NotFound,
    NotYetStored,
    OrderInDoubt,
)
from gal_friday.services import ExecutionHandler
from gal_friday.services.order_gateway import Amendment, Answer, OrderKey
from gal_friday.state.verification import verify
from tests.concurrency import at_once
from tests.exchanges import Exchange
from tests.factories import MINUTE, NOON, PAIR, a_fill, a_strategy, an_order
from tests.journaling import Writer
from tests.network import AnswerEater, Gate, Relay
from tests.servers import PostgresServer
from tests.waiting import until


@pytest.fixture
async def gate(database_url: URL) -> AsyncIterator[Gate]:
    async with Gate(database_url) as gate:
        yield gate


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def settings_for(url: URL | str, directory: Path, journal: Any = None, **database: Any) -> Settings:
    text_url = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    return Settings(
        database=DatabaseSettings(url=text_url, migrate_on_open=False, retry_timeout_seconds=2, **database),
        journal=JournalSettings(directory=directory, **(journal or {})),
    )


async def an_order_of(db: Database, **values: Any) -> Order:
    strategy = await db.strategies.add(a_strategy())
    order: Order = await db.orders.add(an_order(strategy, quantity=Decimal(10_000), **values))
    return order


async def has_caught_up(db: Database) -> bool:
    return not db.journal.pending()


async def assert_books_balance(db: Database) -> None:
    async with db.transaction() as uow:
        assert (await verify(uow)).is_balanced


async def test_what_is_said_while_the_server_is_away_is_applied_in_order_when_it_is_back(
    breakable_server: PostgresServer, directory: Path
) -> None:
    exchange = Exchange()
    settings = settings_for(breakable_server.url(), directory)
    settings = settings.model_copy(
        update={"database": settings.database.model_copy(update={"migrate_on_open": True})}
    )
    async with open_database(settings) as db:
        strategy = await db.strategies.add(a_strategy())
        handler = ExecutionHandler(db, exchange, actor="bot")
        order = await handler.submit(an_order(strategy, quantity=Decimal(100)))
        exchange.answer = Answer(exchange_order_id="OX-2")
        other = await handler.submit(an_order(strategy))
        fills = [a_fill(order, fill_id=f"t{number}") for number in range(20)]
        assert [(await handler.fill(each)).result for each in fills[:5]] == [FillResult.APPLIED] * 5
        breakable_server.stop()
        assert (await handler.fill(fills[5])).result is FillResult.JOURNALED
        started = time.monotonic()
        for each in fills[5:]:
            assert (await handler.fill(each)).result is FillResult.JOURNALED
        assert time.monotonic() - started < 15
        report = await handler.expired(other.id)
        assert report.is_journaled
        with pytest.raises(NotYetStored):
            _ = report.order
        canceled = await handler.cancel(order.id, reason="protect")
        assert exchange.asked[-1] == ("cancel", canceled)
        assert db.journal.pending() == 19
        breakable_server.start()
        stats = await db.journal.drain()
        assert (stats.pending, stats.journaled, stats.refused) == (0, 19, 0)
        assert stats.duplicates == 2, "a fill was told twice, and so was the cancel"
        stored = await db.orders.one(order.id)
        assert (stored.filled_quantity, stored.status) == (Decimal(20), OrderStatus.PENDING_CANCEL)
        assert (await db.orders.one(other.id)).status is OrderStatus.EXPIRED
        numbers = {each.fill_id: each.applied_seq for each in await db.fills.find_all()}
        assert [numbers[f"t{number}"] for number in range(20)] == list(range(1, 21))
        history = await db.order_history.of_order(order.id)
        assert next(row.reason for row in history if row.to_status is OrderStatus.PENDING_CANCEL) == "protect"
        await assert_books_balance(db)
    assert not await asyncio.to_thread(directory.exists)


async def test_no_fill_is_lost_or_doubled_while_the_network_flaps(gate: Gate, directory: Path) -> None:
    source = random.Random(4)
    answers: Counter[FillResult] = Counter()
    told: list[str] = []
    async with open_database(settings_for(gate.url, directory)) as db:
        orders = [await an_order_of(db) for _ in range(4)]
        turns = asyncio.Semaphore(0)

        async def report(worker: int) -> None:
            for number in itertools.count():
                await turns.acquire()
                name = f"{worker}-{number}"
                outcome = await db.execution.apply_fill(a_fill(orders[worker % 4], fill_id=name))
                answers[outcome.result] += 1
                told.append(name)

        async def are_told(count: int) -> bool:
            return len(told) >= count

        workers = [asyncio.create_task(report(worker)) for worker in range(8)]
        count = 0
        for _ in range(12):
            for _ in range(source.randrange(1, 40)):
                turns.release()
                count += 1
            if source.random() < 0.5:
                await until(partial(are_told, count), "the fills are told")
            gate.open() if gate.is_shut else gate.shut()
        gate.open()
        await until(partial(are_told, count), "the fills are told")
        for each in workers:
            each.cancel()
        stats = await db.journal.drain()
        assert stats.refused == 0
        assert Counter(each.fill_id for each in await db.fills.find_all()) == Counter(told)
        assert answers[FillResult.APPLIED]
        assert answers[FillResult.JOURNALED]
        assert set(answers) <= {FillResult.APPLIED, FillResult.DUPLICATE, FillResult.JOURNALED}
        await assert_books_balance(db)


async def test_a_fill_whose_answer_was_lost_ends_as_a_duplicate(database_url: URL, directory: Path) -> None:
    eater = AnswerEater(database_url, question=b"known by this")
    async with (
        eater.url() as url,
        open_database(settings_for(url, directory)) as db,
        open_database(settings_for(database_url, directory)) as witness,
    ):
        order = await an_order_of(witness)
        fill = a_fill(order, fill_id="known by this")
        assert (await db.execution.apply_fill(fill)).result is FillResult.JOURNALED
        assert len(await witness.fills.find_all()) == 1
        eater._question = b"asked by nobody"
        stats = await db.journal.drain()
        assert (stats.applied, stats.duplicates) == (0, 1)
        assert len(await witness.fills.find_all()) == 1


async def test_a_process_killed_while_the_database_is_away_has_lost_nothing(
    gate: Gate, directory: Path
) -> None:
    """Two of them, so that there are two slots; whoever starts next takes both over."""
    settings = settings_for(gate.url, directory)
    async with open_database(settings) as db:
        order = await an_order_of(db)
        told: set[str] = set()
        writers = [
            Writer("tests.fact_reporter", str(gate.url), str(directory), str(order.id)) for _ in range(2)
        ]
        for writer in writers:
            told |= set(await asyncio.to_thread(writer.acknowledged, 5))
        gate.shut()
        for writer in writers:
            while not (lines := await asyncio.to_thread(writer.acknowledged, 1))[0].endswith("JOURNALED"):
                told |= set(lines)
            told |= {*lines, *await asyncio.to_thread(writer.acknowledged, 20)}
            told |= set(await asyncio.to_thread(writer.kill))
        gate.open()
    reported = {line.partition(" ")[0] for line in told} - {"open"}
    async with open_database(settings) as db:
        assert db.journal.stats().adopted >= 40
        assert db.journal.pending() == 0
        found = Counter(each.fill_id for each in await db.fills.find_all())
        assert reported <= found.keys()
        assert set(found.values()) == {1}
        await assert_books_balance(db)
    assert await asyncio.to_thread(lambda: list(directory.iterdir())) == []


async def test_what_the_database_refuses_is_set_aside_and_stops_nothing(
    gate: Gate, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_database(settings_for(gate.url, directory)) as db:
        order = await an_order_of(db)
        handler = ExecutionHandler(db)
        gate.shut()
        for fill in (
            a_fill(order, fill_id="first"),
            a_fill(order, fill_id="of nobody", account_id="nobody", order_id=None),
            a_fill(order, fill_id="nothing", quantity_filled=Decimal(0)),
            a_fill(order, fill_id="last"),
        ):
            assert (await db.execution.apply_fill(fill)).result is FillResult.JOURNALED
        assert (await handler.canceled(OrderKey(client_order_id="nobody's"))).is_journaled
        await db.journal.keep([b"not a fact"])
        assert (await handler.expired(order.id)).is_journaled
        with pytest.raises(InvalidValue):
            await db.execution.apply_fill(a_fill(order, fill_price=0.1))
        gate.open()
        stats = await db.journal.drain()
        assert (stats.applied, stats.refused, stats.pending) == (3, 4, 0)
        assert sum(record.levelname == "ERROR" for record in caplog.records) == 4
        assert {each.fill_id for each in await db.fills.find_all()} == {"first", "last"}
        assert (await db.orders.one(order.id)).status is OrderStatus.EXPIRED
        await db.accounts.open_account("nobody")
        await db.journal.retry_refused()
        stats = await db.journal.drain()
        assert stats.refused == 3
        assert [each.fill_id for each in await db.unmatched_fills.find_all()] == ["of nobody"]
    (refused,) = await asyncio.to_thread(lambda: list(directory.rglob("refused.jsonl")))
    assert len((await asyncio.to_thread(refused.read_bytes)).splitlines()) == 3


async def test_every_kind_of_fact_is_the_same_by_way_of_the_journal(gate: Gate, directory: Path) -> None:
    async with open_database(settings_for(gate.url, directory)) as db:
        handler = ExecutionHandler(db, actor="bot")
        seen = []
        for is_away in (False, True):
            order = await an_order_of(db, exchange="binance", client_order_id=f"mine-{is_away}")
            name = OrderKey(client_order_id=order.client_order_id, exchange="binance")
            found = Order(
                exchange="binance",
                trading_pair=PAIR,
                side=Side.SELL,
                order_type=OrderType.MARKET,
                exchange_order_id=f"found-{is_away}",
                quantity=Decimal("1.5"),
                status=OrderStatus.CANCELED,
                reported_filled_quantity=Decimal("0.5"),
            )
            if is_away:
                gate.shut()
            reports = [
                await handler.acknowledged(name, f"theirs-{is_away}", at=NOON),
                await handler.amended(
                    order.id, at=NOON + MINUTE, quantity=Decimal("7.25"), raw={"size": Decimal("7.25")}
                ),
                await handler.canceled(
                    order.id,
                    at=NOON + 2 * MINUTE,
                    filled_quantity=Decimal(0),
                    reason="why",
                    raw={"a": [1.5, None]},
                ),
            ]
            assert [report.is_journaled for report in reports] == [is_away] * 3
            adopted = await handler.adopt(found, at=NOON, raw={"x": 1})
            assert (adopted is found) is is_away
            gate.open()
            await db.journal.drain()
            stored = [await db.orders.one(order.id), await db.orders.one(found.id)]
            history = [row for each in stored for row in await db.order_history.of_order(each.id)]
            seen.append(
                (
                    [
                        (
                            each.status,
                            each.origin,
                            each.quantity,
                            each.reported_filled_quantity,
                            each.canceled_at,
                        )
                        for each in stored
                    ],
                    [
                        (
                            row.to_status,
                            row.applied,
                            row.occurred_at,
                            row.source,
                            row.reason,
                            row.raw,
                        )
                        for row in history
                        if row.reason is not None or row.raw is not None
                    ],
                    str(stored[0].exchange_order_id).replace(str(is_away), ""),
                )
            )
        assert seen[0] == seen[1]


async def test_a_network_that_says_nothing_is_not_waited_for(
    database_url: URL, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fact_journal, "LAST_TRY_SECONDS", 0.2)
    async with (
        Relay(database_url.render_as_string(hide_password=False)) as relay,
        open_database(settings_for(relay.url, directory, statement_timeout_seconds=1)) as db,
    ):
        order = await an_order_of(db)
        relay.fall_silent()
        started = time.monotonic()
        answers = await at_once(lambda n: db.execution.apply_fill(a_fill(order, fill_id=str(n))), 8)
        assert {each.result for each in answers} == {FillResult.JOURNALED}
        assert time.monotonic() - started < 5


async def test_a_pool_without_a_free_connection_is_not_waited_for(database_url: URL, directory: Path) -> None:
    async with open_database(settings_for(database_url, directory, pool_size=1, max_overflow=0)) as db:
        order = await an_order_of(db)
        async with db.transaction():
            assert (await db.execution.apply_fill(a_fill(order))).result is FillResult.JOURNALED
        await until(partial(has_caught_up, db), "it is applied in the background")
        assert len(await db.fills.find_all()) == 1


async def test_a_server_that_only_reads_is_as_good_as_none(
    database_url: URL, owner_url: URL, directory: Path
) -> None:
    """As after a failover to a server that is not promoted yet."""
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as owner,
        open_database(settings_for(database_url, directory)) as db,
    ):
        order = await an_order_of(db)

        async def make_read_only(value: str) -> None:
            async with owner.autocommit() as connection:
                statement = (
                    f"ALTER DATABASE {database_url.database} SET default_transaction_read_only = {value}"
                )
                await connection.execute(text(statement))
            await db.pool.engine.dispose()

        await make_read_only("on")
        assert (await db.execution.apply_fill(a_fill(order))).result is FillResult.JOURNALED
        assert "read-only" in str((await failing(db)).last_error)
        await make_read_only("off")
        await until(partial(has_caught_up, db), "it is applied in the background")
        assert len(await db.fills.find_all()) == 1


async def failing(db: Database) -> Any:
    async def has_failed() -> bool:
        return db.journal.stats().last_error is not None

    await until(has_failed, "the journal has tried")
    return db.journal.stats()


async def test_a_journal_that_is_full_waits_for_the_database(gate: Gate, directory: Path) -> None:
    async with open_database(settings_for(gate.url, directory, {"max_bytes": 65_536})) as db:
        order = await an_order_of(db)
        gate.shut()
        raw = {"padding": "x" * 30_000}
        assert (await db.execution.apply_fill(a_fill(order, raw=raw))).result is FillResult.JOURNALED
        assert (await db.execution.apply_fill(a_fill(order, raw=raw))).result is FillResult.JOURNALED
        with pytest.raises(DatabaseUnavailable):
            await db.execution.apply_fill(a_fill(order, raw=raw))
        assert (await db.execution.apply_fill(a_fill(order, fill_id="small"))).result is FillResult.JOURNALED
        gate.open()
        assert (await db.journal.drain()).applied == 3


async def test_no_new_order_is_sent_while_the_database_is_away_or_facts_wait(
    gate: Gate, directory: Path
) -> None:
    exchange = Exchange()
    async with open_database(settings_for(gate.url, directory)) as db:
        order = await an_order_of(db)
        strategy = await db.strategies.add(a_strategy())
        handler = ExecutionHandler(db, exchange)
        gate.shut()
        with pytest.raises(DatabaseUnavailable):
            await handler.submit(an_order(strategy))
        await handler.fill(a_fill(order))
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="journal"):
            await handler.submit(an_order(strategy))
        assert time.monotonic() - started < 2
        assert exchange.asked == []
        gate.open()
        await until(partial(has_caught_up, db), "the facts are applied")
        assert (await handler.submit(an_order(strategy))).status is OrderStatus.NEW


async def test_an_answer_that_comes_when_the_database_has_gone_is_kept(gate: Gate, directory: Path) -> None:
    async with open_database(settings_for(gate.url, directory)) as db:
        strategy = await db.strategies.add(a_strategy())

        async def answer_and_cut(_: Order) -> Answer:
            gate.shut()
            return Answer(exchange_order_id="OX-1")

        exchange = Exchange(answer_and_cut)
        handler = ExecutionHandler(db, exchange)
        order = await handler.submit(an_order(strategy))
        assert (order.status, order.exchange_order_id) == (OrderStatus.PENDING_NEW, "OX-1")
        exchange.answer = RuntimeError("no answer")
        with pytest.raises(OrderInDoubt):
            await handler.cancel(order.id)
        assert exchange.asked[-1][1].exchange_order_id == "OX-1"
        exchange.answer = answer_and_cut
        gate.open()
        await db.journal.drain()
        stored = await db.orders.one(order.id)
        assert (stored.status, stored.exchange_order_id) == (OrderStatus.PENDING_CANCEL, "OX-1")
        amended = await handler.amend(order.id, Amendment(limit_price=Decimal(7)))
        assert amended.limit_price == order.limit_price
        gate.open()
        await db.journal.drain()
        assert (await db.orders.one(order.id)).limit_price == 7


async def test_a_cancel_is_sent_while_the_database_is_away(gate: Gate, directory: Path) -> None:
    exchange = Exchange()
    async with open_database(settings_for(gate.url, directory)) as db:
        strategy = await db.strategies.add(a_strategy())
        handler = ExecutionHandler(db, exchange)
        exchange.answer = Answer(exchange_order_id="OX-0")
        known = await handler.submit(an_order(strategy))
        orders = [await an_order_of(db, exchange_order_id=f"OX-{number}") for number in range(1, 5)]
        unknown, given, named, silent = orders
        gate.shut()
        with pytest.raises(DatabaseUnavailable, match="give the order itself"):
            await handler.cancel(unknown.id)
        assert db.journal.pending() == 0
        exchange.answer = Answer(status=OrderStatus.CANCELED)
        assert (await handler.cancel(known.id)).id == known.id
        assert (await handler.cancel(OrderKey(exchange_order_id="OX-0", exchange="kraken"))).id == known.id
        assert (await handler.cancel(given)).id == given.id
        exchange.answer = Answer(accepted=False, reason="too late")
        name = OrderKey(exchange_order_id="OX-3", trading_pair=PAIR)
        assert (await handler.cancel(name)).exchange_order_id == "OX-3"
        exchange.answer = RuntimeError("no answer")
        with pytest.raises(OrderInDoubt):
            await handler.cancel(silent)
        assert (await ExecutionHandler(db).cancel(unknown)).id == unknown.id
        asked = [each.exchange_order_id for what, each in exchange.asked if what == "cancel"]
        assert asked == ["OX-0", "OX-0", "OX-2", "OX-3", "OX-4"]
        gate.open()
        stats = await db.journal.drain()
        assert stats.refused == 0
        statuses = [(await db.orders.one(each.id)).status for each in (known, unknown, given, named, silent)]
        assert statuses == [
            OrderStatus.CANCELED,
            OrderStatus.PENDING_CANCEL,
            OrderStatus.CANCELED,
            OrderStatus.NEW,
            OrderStatus.PENDING_CANCEL,
        ]


async def test_what_a_fact_says_wrong_is_an_error_as_ever(database_url: URL, directory: Path) -> None:
    async with open_database(settings_for(database_url, directory)) as db:
        order = await an_order_of(db)
        handler = ExecutionHandler(db)
        with pytest.raises(InvalidReference):
            await handler.fill(a_fill(order, account_id="nobody", order_id=None))
        with pytest.raises(NotFound):
            await handler.canceled(OrderKey(client_order_id="nobody's"))
        assert db.journal.stats().journaled == 0


async def test_who_gives_up_waiting_leaves_nothing_behind(database_url: URL, directory: Path) -> None:
    async with open_database(settings_for(database_url, directory, {"patience_seconds": 10})) as db:
        order = await an_order_of(db)
        async with db.transaction() as uow:
            await uow.session.execute(text("SELECT 1 FROM orders FOR UPDATE"))
            telling = asyncio.create_task(db.execution.apply_fill(a_fill(order)))

            async def waits() -> bool:
                return db.pool.stats().checked_out == 2

            await until(waits, "the fill waits for the order")
            telling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await telling

        async def is_given_back() -> bool:
            return db.pool.stats().checked_out == 0

        await until(is_given_back, "the connection is given back")
        assert db.journal.stats().journaled == 0


async def test_facts_stay_on_disk_when_the_database_stays_away(
    gate: Gate, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(gate.url, directory)
    async with open_database(settings) as db:
        order = await an_order_of(db)
        gate.shut()
        for number in range(3):
            await db.execution.apply_fill(a_fill(order, fill_id=str(number)))
    assert "facts stay in the journal" in caplog.text
    await db.journal.close()  # once is enough
    gate.open()
    async with open_database(settings) as db:
        assert (db.journal.stats().adopted, db.journal.pending()) == (3, 0)
        assert [each.applied_seq for each in await db.fills.find_all(order_by=Fill.fill_id)] == [1, 2, 3]


async def test_without_a_journal_a_fact_waits_for_the_database(gate: Gate, directory: Path) -> None:
    async with open_database(settings_for(gate.url, directory, {"enabled": False})) as db:
        assert not db.journal.is_enabled
        order = await an_order_of(db)
        gate.shut()
        with pytest.raises(DatabaseUnavailable):
            await db.execution.apply_fill(a_fill(order))
        assert db.journal.pending() == 0


async def test_facts_of_another_database_are_left_alone(
    gate: Gate, database_url: URL, directory: Path
) -> None:
    async with open_database(settings_for(gate.url, directory)) as db:
        order = await an_order_of(db)
        gate.shut()
        await db.execution.apply_fill(a_fill(order))
    async with open_database(settings_for(database_url, directory)) as other:
        assert other.journal.stats().adopted == 0
        assert await other.fills.find_all() == []


async def test_a_damaged_slot_is_told_and_left_alone(
    gate: Gate, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(gate.url, directory)
    async with open_database(settings) as db:
        order = await an_order_of(db)
        gate.shut()
        for number in range(3):
            await db.execution.apply_fill(a_fill(order, fill_id=str(number)))
    (segment,) = await asyncio.to_thread(lambda: list(directory.rglob("*.log")))
    content = bytearray(segment.read_bytes())
    content[60] ^= 1
    segment.write_bytes(content)
    gate.open()
    async with open_database(settings) as db:
        assert db.journal.stats().damaged == (str(segment),)
        assert "a slot is damaged" in caplog.text
        gate.shut()
        assert (await db.execution.apply_fill(a_fill(order))).result is FillResult.JOURNALED
        gate.open()
        await db.journal.drain()
    assert segment.read_bytes() == content


async def test_a_place_that_cannot_be_written_to_is_a_setting_that_is_wrong(
    database_url: URL, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="JOURNAL__DIRECTORY"):
        async with open_database(settings_for(database_url, tmp_path / "file")):
            raise AssertionError("it must not open")


def test_the_journal_is_beside_the_embedded_servers_data_by_default(tmp_path: Path) -> None:
    settings = Settings(
        embedded=EmbeddedSettings(data_directory=tmp_path), journal=JournalSettings(directory=None)
    )
    assert journal_root(settings) == tmp_path / "journal"
    assert timedelta(seconds=settings.journal.patience_seconds) == timedelta(seconds=1)


def test_facts_of_each_database_have_a_directory_of_their_own() -> None:
    names = [
        directory_name(None),
        *(
            directory_name(make_url(url))
            for url in (
                "postgresql://bot:secret@db.internal/trading",
                "postgresql://bot:secret@db.internal:5433/trading",
                "postgresql://bot@db.internal/paper",
                "postgresql:///trading?host=/var/run/postgresql",
            )
        ),
    ]
    assert len(set(names)) == 5
    assert names[0] == "embedded"
    assert not any("secret" in name or "/" in name for name in names)
    same = [directory_name(make_url(f"postgresql://{user}@h/trading")) for user in ("bot", "admin:new")]
    assert same[0] == same[1], "whoever logs in"


def test_a_refused_fact_whose_line_a_crash_broke_off_does_not_hide_the_next(tmp_path: Path) -> None:
    refused = RefusedRecords(tmp_path)
    refused.add(b'{"n": 1}', "why")
    refused.path.write_bytes(refused.path.read_bytes()[:-9])
    refused.add(b'{"n": 2}', "why")
    refused.add(b"\xff", "not a fact")
    assert len(refused.lines()) == 3
    assert refused.records() == [b'{"n":2}', b"\\xff"]
