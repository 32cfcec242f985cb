"""What a bot intends with its orders: stored before the exchange hears of it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import FillResult
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.models import Order, OrderStatus, ReportSource, Signal, SignalStatus, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import IllegalTransition, InvalidValue, NotFound, OrderInDoubt
from gal_friday.services import ExecutionHandler
from gal_friday.services.order_gateway import Answer, OrderKey
from tests.concurrency import at_once
from tests.exchanges import Exchange, silence
from tests.factories import MINUTE, NOON, a_fill, a_log, a_signal, a_strategy, an_order
from tests.network import AnswerEater, Fate
from tests.replays import environment_without_settings, opened
from tests.servers import PostgresServer

ROOT = Path(__file__).parents[2]
REFUSED = Answer(accepted=False, reason="insufficient funds")


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    stored: Strategy = await database.strategies.add(a_strategy())
    return stored


async def an_approved_signal(database: Database, strategy: Strategy) -> Signal:
    signal: Signal = await database.signals.add(a_signal(strategy, status=SignalStatus.APPROVED))
    return signal


async def stored(database: Database, order: Order) -> Order:
    found: Order = await database.orders.one(order.id)
    return found


def a_bot_that_hangs_while_it_sends(url: URL, strategy: Strategy) -> subprocess.Popen[str]:
    environment = environment_without_settings(PYTHONPATH=str(ROOT))
    for measured in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        environment.pop(measured, None)  # what is killed leaves no data
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.exchanges",
            url.render_as_string(hide_password=False),
            strategy.strategy_id,
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_an_order_is_stored_before_it_is_sent(
    database: Database, database_url: URL, strategy: Strategy
) -> None:
    """The order filled on the exchange, the insert failed, the trade was lost: not here."""
    async with opened(database_url) as another:

        async def look_into_the_database(sent: Order) -> Answer:
            seen = await stored(another, sent)
            assert (seen.status, seen.client_order_id) == (OrderStatus.PENDING_NEW, sent.client_order_id)
            return Answer(exchange_order_id="OX-1", at=NOON)

        handler = ExecutionHandler(database, Exchange(look_into_the_database))
        order = await handler.submit(an_order(strategy))
    assert (order.status, order.exchange_order_id) == (OrderStatus.NEW, "OX-1")
    assert (order.submitted_at, order.reported_status) == (NOON, OrderStatus.NEW)
    sources = [row.source for row in await database.order_history.of_order(order.id)]
    assert sources == [ReportSource.ENGINE] * 2


async def test_a_bot_killed_while_it_sends_finds_its_order_again(
    database: Database, database_url: URL, strategy: Strategy
) -> None:
    with a_bot_that_hangs_while_it_sends(database_url, strategy) as bot:
        assert bot.stdout is not None
        client_order_id = (await asyncio.to_thread(bot.stdout.readline)).strip()
        bot.kill()
    (order,) = await database.orders.find_by_status(OrderStatus.PENDING_NEW)
    assert client_order_id
    assert order.client_order_id == client_order_id


async def test_a_refused_order_is_rejected_with_the_reason(database: Database, strategy: Strategy) -> None:
    order = await ExecutionHandler(database, Exchange(REFUSED)).submit(an_order(strategy))
    assert (order.status, order.error_message) == (OrderStatus.REJECTED, "insufficient funds")


async def test_an_answer_that_the_order_is_filled_waits_for_its_fills(
    database: Database, strategy: Strategy
) -> None:
    answer = Answer(exchange_order_id="OX-1", status=OrderStatus.FILLED, filled_quantity=Decimal(2))
    handler = ExecutionHandler(database, Exchange(answer))
    order = await handler.submit(an_order(strategy))
    assert (order.status, order.reported_status) == (OrderStatus.NEW, OrderStatus.FILLED)
    outcome = await handler.fill(a_fill(order, quantity_filled=Decimal(2)))
    assert outcome.order_status is OrderStatus.FILLED


async def test_fills_that_outran_the_answer_are_there_with_it(database: Database, strategy: Strategy) -> None:
    handler = ExecutionHandler(database)

    async def fill_first(sent: Order) -> Answer:
        early = a_fill(sent, order_id=None, exchange_order_id="OX-1", quantity_filled=Decimal(2))
        assert (await handler.fill(early)).result is FillResult.UNMATCHED
        return Answer(exchange_order_id="OX-1")

    order = await ExecutionHandler(database, Exchange(fill_first)).submit(an_order(strategy))
    assert (order.status, order.filled_quantity) == (OrderStatus.FILLED, Decimal(2))


@pytest.mark.parametrize("failure", [ConnectionError("secret=1"), silence])
async def test_an_order_nobody_answered_for_is_in_doubt_and_not_sent_again_by_itself(
    database: Database, strategy: Strategy, failure: Any
) -> None:
    exchange = Exchange(failure)
    handler = ExecutionHandler(database, exchange, answer_timeout_seconds=0.05)
    order = an_order(strategy)
    with pytest.raises(OrderInDoubt) as caught:
        await handler.submit(order)
    assert caught.value.facts["order"] == order.id
    assert caught.value.facts["client_order_id"] == order.client_order_id
    assert "secret" not in str(caught.value)
    assert (await stored(database, order)).status is OrderStatus.PENDING_NEW

    exchange.answer = Answer(exchange_order_id="OX-1")
    again = await handler.submit(an_order(strategy, client_order_id=order.client_order_id))
    assert (again.id, again.status, len(exchange.asked)) == (order.id, OrderStatus.PENDING_NEW, 1)

    sent_again = await handler.resend(order.id)
    assert (sent_again.status, sent_again.retry_count) == (OrderStatus.NEW, 1)
    assert (await handler.resend(order.id)).retry_count == 1, "what the exchange has is not sent again"
    assert [what for what, _ in exchange.asked] == ["submit"] * 2


async def test_a_bot_that_stops_waiting_leaves_the_order_in_doubt(
    database: Database, strategy: Strategy
) -> None:
    patience = asyncio.timeout(None)

    async def wait_in_vain(sent: Order) -> Answer:
        patience.reschedule(0)
        return await silence(sent)

    order = an_order(strategy)
    with pytest.raises(TimeoutError):
        async with patience:
            await ExecutionHandler(database, Exchange(wait_in_vain)).submit(order)
    assert (await stored(database, order)).status is OrderStatus.PENDING_NEW


async def test_an_answer_that_cannot_be_stored_is_told_and_can_be_told_again(
    breakable_server: PostgresServer,
) -> None:
    """The order filled on the exchange while the database was away: nothing of it is lost."""
    async with a_fresh_database(breakable_server) as database:
        strategy = await database.strategies.add(a_strategy())

        async def answer_while_the_server_stops(_: Order) -> Answer:
            await asyncio.to_thread(breakable_server.kill)
            return Answer(exchange_order_id="OX-1")

        handler = ExecutionHandler(database, Exchange(answer_while_the_server_stops))
        order = an_order(strategy)
        with pytest.raises(OrderInDoubt, match="could not be stored") as caught:
            await handler.submit(order)
        assert caught.value.facts["exchange_order_id"] == "OX-1"
        await asyncio.to_thread(breakable_server.start)
        assert (await stored(database, order)).status is OrderStatus.PENDING_NEW
        told = await handler.acknowledged(OrderKey(client_order_id=order.client_order_id), "OX-1")
        assert (told.moved, told.order.id, told.order.exchange_order_id) == (True, order.id, "OX-1")


@asynccontextmanager
async def a_fresh_database(server: PostgresServer) -> AsyncIterator[Database]:
    """A migrated database on *server* that does not wait long for it."""
    url = make_url(server.url())
    settings = DatabaseSettings(retry_timeout_seconds=0.3)
    await MigrationManager(url, settings).run_migrations()
    async with DatabaseConnectionPool(settings, url=url) as pool:
        async with pool.transaction() as uow:
            await uow.accounts.open_account()
        yield Database(pool)


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_commit_nobody_answered_for_is_settled_before_anything_is_sent(
    *, database: Database, database_url: URL, strategy: Strategy, arrives: bool
) -> None:
    exchange = Exchange(Answer(exchange_order_id="OX-1"))
    relay = AnswerEater(database_url, every=3, fate=Fate.ANSWERED if arrives else Fate.LOST)
    async with relay.url() as url, opened(url) as struck:
        handler = ExecutionHandler(struck, exchange)
        orders = [await handler.submit(an_order(strategy)) for _ in range(6)]
        assert relay.eaten >= 3
        assert {order.status for order in orders} == {OrderStatus.NEW}
        assert [order.id for _, order in exchange.asked] == [order.id for order in orders]
    assert await database.orders.count() == 6


async def test_the_signal_and_what_else_belongs_there_are_stored_with_the_order(
    database: Database, strategy: Strategy
) -> None:
    signal = await an_approved_signal(database, strategy)

    async def log(uow: UnitOfWork, order: Order) -> None:
        await uow.logs.add(a_log(order_id=order.id))

    handler = ExecutionHandler(database)
    order = await handler.submit(an_order(strategy, signal_id=signal.id), also=log)
    assert order.status is OrderStatus.PENDING_NEW, "without a gateway the bot sends it"
    assert (await database.signals.one(signal.id)).status is SignalStatus.EXECUTED
    assert await database.logs.count() == 1
    stop = an_order(strategy, signal_id=signal.id, parent_order_id=order.id)
    assert (await handler.submit(stop)).parent_order_id == order.id


async def test_a_signal_is_executed_once(database: Database, strategy: Strategy) -> None:
    signal = await an_approved_signal(database, strategy)
    exchange = Exchange(Answer())
    handler = ExecutionHandler(database, exchange)

    async def submit(_: int) -> Order | None:
        try:
            return await handler.submit(an_order(strategy, signal_id=signal.id))
        except IllegalTransition:
            return None

    taken = [order for order in await at_once(submit, 8) if order]
    assert len(taken) == len(exchange.asked) == await database.orders.count() == 1


async def test_nothing_is_stored_or_sent_where_what_belongs_there_fails(
    database: Database, strategy: Strategy
) -> None:
    signal = await an_approved_signal(database, strategy)
    exchange = Exchange()

    async def fail(uow: UnitOfWork, order: Order) -> None:
        raise NotFound(table=order.__tablename__, pending=len(uow.session.new))

    order = an_order(strategy, signal_id=signal.id)
    with pytest.raises(NotFound):
        await ExecutionHandler(database, exchange).submit(order, also=fail)
    assert (await database.orders.count(), exchange.asked) == (0, [])
    assert (await database.signals.one(signal.id)).status is SignalStatus.APPROVED
    sent = await ExecutionHandler(database, exchange).submit(order)
    assert sent.status is OrderStatus.NEW, "the same order can be submitted once the cause is gone"


async def test_an_order_submitted_by_eight_at_once_is_sent_once(
    database: Database, strategy: Strategy
) -> None:
    """A restart that doubles orders: the client_order_id is taken once."""
    exchange = Exchange()
    handler = ExecutionHandler(database, exchange)

    async def submit(_: int) -> Order:
        return await handler.submit(an_order(strategy, client_order_id="momentum-1"))

    assert len({order.id for order in await at_once(submit, 8)}) == 1
    assert len(exchange.asked) == await database.orders.count() == 1


async def test_an_order_without_a_name_gets_one_and_one_that_is_not_new_is_refused(
    database: Database, strategy: Strategy
) -> None:
    handler = ExecutionHandler(database)
    order = await handler.submit(an_order(strategy, client_order_id=None))
    assert order.client_order_id == order.id.hex
    with pytest.raises(InvalidValue):
        await handler.submit(an_order(strategy, status=OrderStatus.NEW))


async def test_a_cancel_is_on_record_before_it_is_asked_for(database: Database, strategy: Strategy) -> None:
    exchange = Exchange()
    handler = ExecutionHandler(database, exchange)
    order = await handler.submit(an_order(strategy))

    async def look(asked: Order) -> Answer:
        assert (await stored(database, asked)).status is OrderStatus.PENDING_CANCEL
        return Answer(status=OrderStatus.CANCELED, filled_quantity=Decimal(0), at=NOON)

    exchange.answer = look
    canceled = await handler.cancel(order.id, reason="stop of the day")
    assert (canceled.status, canceled.canceled_at) == (OrderStatus.CANCELED, NOON)
    requested = [
        row
        for row in await database.order_history.of_order(order.id)
        if row.to_status == OrderStatus.PENDING_CANCEL
    ]
    assert [row.reason for row in requested] == ["stop of the day"]


async def test_an_accepted_cancel_is_pending_until_the_exchange_says_more(
    database: Database, strategy: Strategy
) -> None:
    exchange = Exchange(Answer())
    handler = ExecutionHandler(database, exchange)
    order = await handler.submit(an_order(strategy))
    requested = await ExecutionHandler(database).cancel(order.id)
    assert (requested.status, requested.reported_status) == (OrderStatus.PENDING_CANCEL, OrderStatus.NEW)
    pending = await handler.cancel(order.id)
    assert (pending.status, pending.reported_status) == (OrderStatus.PENDING_CANCEL,) * 2
    await handler.canceled(order.id)
    with pytest.raises(IllegalTransition):
        await handler.cancel(order.id)
    assert [what for what, _ in exchange.asked] == ["submit", "cancel"], "an ended order is not asked for"


async def test_an_order_whose_cancel_is_refused_works_on(database: Database, strategy: Strategy) -> None:
    exchange = Exchange()
    handler = ExecutionHandler(database, exchange)
    order = await handler.submit(an_order(strategy))
    exchange.answer = Answer(accepted=False, reason="too late", at=NOON - MINUTE)
    assert (await handler.cancel(order.id)).status is OrderStatus.NEW
    await handler.fill(a_fill(order))
    assert (await handler.cancel(order.id)).status is OrderStatus.PARTIALLY_FILLED


async def test_a_cancel_nobody_answered_for_is_pending_and_can_be_asked_for_again(
    database: Database, strategy: Strategy
) -> None:
    exchange = Exchange()
    handler = ExecutionHandler(database, exchange)
    order = await handler.submit(an_order(strategy))
    exchange.answer = ConnectionError()
    with pytest.raises(OrderInDoubt):
        await handler.cancel(order.id)
    assert (await stored(database, order)).status is OrderStatus.PENDING_CANCEL
    exchange.answer = Answer(status=OrderStatus.CANCELED)
    assert (await handler.cancel(order.id)).status is OrderStatus.CANCELED


async def test_a_fill_that_crosses_with_the_cancel_wins(database: Database, strategy: Strategy) -> None:
    exchange = Exchange()
    handler = ExecutionHandler(database, exchange)
    order = await handler.submit(an_order(strategy))

    async def fill_meanwhile(asked: Order) -> Answer:
        await handler.fill(a_fill(asked, quantity_filled=Decimal(2)))
        return Answer(accepted=False, reason="order is closed")

    exchange.answer = fill_meanwhile
    assert (await handler.cancel(order.id)).status is OrderStatus.FILLED
