"""Fills that come before their order is known."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import (
    Fill,
    Order,
    OrderHistory,
    OrderStatus,
    ReportSource,
    Side,
    Strategy,
    UnmatchedFill,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from tests.books import unbalanced
from tests.concurrency import at_once
from tests.factories import MINUTE, NOON, a_strategy, an_order, an_unmatched_fill
from tests.ledger import NOW, a_report, columns
from tests.state import are_waiting
from tests.waiting import until

ROUNDS = 50
BY_OUR_ID: dict[str, Any] = {"exchange_order_id": None, "client_order_id": None}
BY_CLIENT_ID: dict[str, Any] = {"order_id": None, "exchange_order_id": None, "client_order_id": "C1"}
BY_EXCHANGE_ID: dict[str, Any] = {"order_id": None, "exchange_order_id": "OX-1", "client_order_id": None}
EVERY_WAY = [BY_OUR_ID, BY_CLIENT_ID, BY_EXCHANGE_ID]


@pytest.fixture
async def order(uow: UnitOfWork) -> Order:
    """Not stored yet."""
    strategy = await uow.strategies.add(a_strategy())
    return an_order(strategy, client_order_id="C1", exchange_order_id="OX-1")


async def kept(uow: UnitOfWork, fill: Fill) -> UnmatchedFill:
    outcome = await uow.execution.apply_fill(fill)
    assert columns(outcome, "result", "fill", "order_id", "reason") == ("UNMATCHED", None, None, None)
    (waiting,) = await uow.unmatched_fills.find_all()
    return waiting


@pytest.mark.parametrize("named", EVERY_WAY, ids=["ours", "client", "exchange"])
async def test_a_fill_of_an_unknown_order_is_kept_and_applied_with_it(
    uow: UnitOfWork, order: Order, named: dict[str, Any]
) -> None:
    report = a_report(order, fill_id="T1", source=ReportSource.STREAM, trading_pair="XXBTZUSD", **named)
    waiting = await kept(uow, report)
    assert columns(waiting, "fill_id", "trading_pair", "source") == ("T1", "XXBTZUSD", "STREAM")
    assert waiting.payload["quantity_filled"] == "1"

    await uow.orders.add(order)
    await uow.session.execute(NOW)
    await uow.session.refresh(order)
    assert columns(order, "status", "filled_quantity") == (OrderStatus.PARTIALLY_FILLED, 1)
    (fill,) = await uow.fills.of_order(order.id)
    assert columns(fill, "fill_id", "trading_pair", "source") == ("T1", "BTC/USD", "STREAM")
    assert fill.received_at == waiting.received_at
    assert await uow.unmatched_fills.count() == 0
    assert (await uow.execution.apply_fill(report)).result is FillResult.DUPLICATE
    assert await unbalanced(uow, order.account_id) == []


@pytest.mark.parametrize(
    ("named", "learned"),
    [(BY_CLIENT_ID, "client_order_id"), (BY_EXCHANGE_ID, "exchange_order_id")],
    ids=["client", "exchange"],
)
async def test_a_fill_is_applied_when_its_order_learns_the_id(
    uow: UnitOfWork, order: Order, named: dict[str, Any], learned: str
) -> None:
    waiting = await kept(uow, a_report(order, **named))
    known_as = getattr(order, learned)
    setattr(order, learned, "something else")
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    assert await uow.unmatched_fills.find_all() == [waiting]

    setattr(order, learned, known_as)
    await uow.orders.update(order)
    await uow.session.refresh(order)
    assert order.filled_quantity == 1
    assert await uow.unmatched_fills.count() == 0


async def test_a_fill_that_names_the_exchanges_id_brings_in_those_that_waited_for_it(
    uow: UnitOfWork, order: Order
) -> None:
    await kept(uow, a_report(order, fill_id="T1", **BY_EXCHANGE_ID))
    order.exchange_order_id = None
    await uow.orders.add(order)
    await uow.execution.apply_fill(a_report(order, fill_id="T2", exchange_order_id="OX-1"))
    await uow.session.execute(NOW)
    await uow.session.refresh(order)
    assert columns(order, "status", "filled_quantity") == (OrderStatus.FILLED, 2)


async def test_a_change_of_other_columns_looks_for_nothing(uow: UnitOfWork, order: Order) -> None:
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    # As if it had come by another way: only an id that is new is looked for.
    await uow.unmatched_fills.add(an_unmatched_fill(exchange_order_id="OX-1"))
    await uow.session.execute(text("UPDATE orders SET exchange_order_id = exchange_order_id"))
    assert [fill.problem for fill in await uow.unmatched_fills.find_all()] == [None]


async def test_kept_fills_are_applied_in_the_order_they_happened(uow: UnitOfWork, order: Order) -> None:
    for minute in (3, 1, 2):
        await uow.execution.apply_fill(
            a_report(order, filled_at=NOON + minute * MINUTE, fill_id=f"T{minute}")
        )
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    await uow.session.refresh(order)
    assert order.position_id is not None
    assert [fill.fill_id for fill in await uow.fills.of_position(order.position_id)] == ["T1", "T2", "T3"]


async def test_a_fill_kept_twice_is_kept_once(uow: UnitOfWork, order: Order) -> None:
    for _ in range(2):
        await kept(uow, a_report(order, fill_id="T1"))
    assert (await uow.execution.apply_fill(a_report(order, fill_id="T2"))).result is FillResult.UNMATCHED
    assert await uow.unmatched_fills.count() == 2


async def test_a_fill_kept_in_two_spellings_is_applied_once(uow: UnitOfWork, order: Order) -> None:
    for named in EVERY_WAY:
        await uow.execution.apply_fill(a_report(order, fill_id="T1", **named))
    assert await uow.unmatched_fills.count() == 3
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    assert (await uow.unmatched_fills.count(), await uow.fills.count()) == (0, 1)


async def test_fills_without_id_are_kept_each(uow: UnitOfWork, order: Order) -> None:
    reports = [a_report(order, fill_id=None) for _ in range(2)]
    await uow.execution.apply_fills(reports)
    await uow.execution.apply_fills(reports)
    assert await uow.unmatched_fills.count() == 2
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    assert [outcome.result for outcome in await uow.execution.apply_fills(reports)] == ["DUPLICATE"] * 2
    assert await uow.fills.count() == 2


async def test_what_cannot_be_applied_stays_with_the_reason(uow: UnitOfWork, order: Order) -> None:
    waiting = await kept(uow, a_report(order, side=Side.SELL))
    await uow.execution.apply_fill(a_report(order))
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    await uow.session.refresh(waiting)
    assert waiting.problem == "its side is not its order's"
    assert (await uow.unmatched_fills.count(), await uow.fills.count()) == (1, 1)


async def test_what_the_books_cannot_hold_does_not_keep_its_order_from_being_stored(
    uow: UnitOfWork, order: Order
) -> None:
    huge = Decimal(10**15)
    waiting = await kept(uow, a_report(order, quantity_filled=huge, fill_price=huge))
    await uow.execution.apply_fill(a_report(order))
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    await uow.session.refresh(waiting)
    assert waiting.problem == "numeric field overflow"
    assert (await uow.unmatched_fills.count(), await uow.fills.count()) == (1, 1)
    await uow.session.refresh(order)
    assert order.filled_quantity == 1


@pytest.mark.parametrize("payload", [{}, {"quantity_filled": "much"}, {"filled_at": "soon"}])
async def test_what_is_no_fill_does_not_keep_its_order_from_being_stored(
    uow: UnitOfWork, order: Order, payload: dict[str, str]
) -> None:
    waiting = await uow.unmatched_fills.add(an_unmatched_fill(exchange_order_id="OX-1", payload=payload))
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    await uow.session.refresh(waiting)
    assert waiting.problem is not None


async def test_fills_of_others_are_left_waiting(uow: UnitOfWork, order: Order) -> None:
    await uow.accounts.open_account("other")
    for values in ({"account_id": "other"}, {"exchange": "binance"}, {"client_order_id": "C2"}):
        await uow.execution.apply_fill(a_report(order, **{**BY_CLIENT_ID, **values}))
    await uow.orders.add(order)
    await uow.session.execute(NOW)
    assert (await uow.unmatched_fills.count(), await uow.fills.count()) == (3, 0)


async def test_actor_and_source_of_the_one_who_stored_the_order_stay(uow: UnitOfWork, order: Order) -> None:
    await uow.execution.apply_fill(a_report(order, source=ReportSource.STREAM))
    async with uow.recorded_as(source=ReportSource.RECONCILE, reason="found"):
        await uow.orders.add(order)
        await uow.session.execute(NOW)
    rows = await uow.order_history.find_all(order_by=OrderHistory.id)
    assert [(row.to_status, row.source) for row in rows] == [
        ("PENDING_NEW", "RECONCILE"),
        ("PARTIALLY_FILLED", "STREAM"),
    ]


async def test_who_stores_an_order_waits_for_who_keeps_a_fill(database: Database) -> None:
    order = an_order(await database.strategies.add(a_strategy()), exchange_order_id="OX-1")
    async with database.transaction() as uow:
        waiting = await kept(uow, a_report(order, **BY_EXCHANGE_ID))
        storing = asyncio.create_task(database.orders.add(order))
        await until(lambda: are_waiting(database, 1), "the other to wait")
    await storing
    (fill,) = await database.fills.of_order(order.id)
    assert fill.received_at == waiting.received_at
    assert fill.applied_at is not None
    assert fill.received_at < fill.applied_at
    assert await database.unmatched_fills.count() == 0


async def test_who_keeps_a_fill_waits_for_who_stores_an_order(database: Database) -> None:
    order = an_order(await database.strategies.add(a_strategy()), exchange_order_id="OX-1")
    async with database.transaction() as uow:
        await uow.orders.add(order)
        await uow.session.execute(NOW)  # it has looked for kept fills, and found none
        reporting = asyncio.create_task(database.execution.apply_fill(a_report(order, **BY_EXCHANGE_ID)))
        await until(lambda: are_waiting(database, 1), "the other to wait")
    assert (await reporting).result is FillResult.APPLIED
    assert await database.unmatched_fills.count() == 0


async def test_an_order_stored_while_its_fill_is_reported_never_leaves_it_waiting(database: Database) -> None:
    strategy: Strategy = await database.strategies.add(a_strategy())
    for number in range(ROUNDS):
        order = an_order(strategy, exchange_order_id=f"OX-{number}")
        report = a_report(order, order_id=None, exchange_order_id=f"OX-{number}")

        async def take(task: int, order: Order = order, report: Fill = report) -> None:
            if task == 1:
                await database.retrying(lambda uow: uow.orders.add(order))
            else:
                await database.execution.apply_fill(report)

        await at_once(take, 3)
        assert await database.unmatched_fills.count() == 0, f"round {number}"
        assert (await database.orders.one(order.id)).filled_quantity == 1
    assert await database.fills.count() == ROUNDS
    async with database.transaction() as uow:
        assert await unbalanced(uow, "default") == []


async def test_an_order_that_learns_its_id_meanwhile_never_leaves_a_fill_waiting(database: Database) -> None:
    strategy: Strategy = await database.strategies.add(a_strategy())
    for number in range(ROUNDS):
        order = await database.orders.add(an_order(strategy))
        report = a_report(order, order_id=None, exchange_order_id=f"OX-{number}")

        async def acknowledge(uow: UnitOfWork, order: Order = order, number: int = number) -> None:
            await uow.orders.transition(order.id, OrderStatus.NEW, exchange_order_id=f"OX-{number}")

        async def take(task: int, report: Fill = report) -> None:
            if task == 1:
                await database.retrying(acknowledge)
            else:
                await database.execution.apply_fill(report)

        await at_once(take, 3)
        assert await database.unmatched_fills.count() == 0, f"round {number}"
        assert (await database.orders.one(order.id)).filled_quantity == 1


async def test_fills_kept_by_many_at_once_are_all_there_when_the_order_comes(
    database: Database, database_url: URL
) -> None:
    strategy: Strategy = await database.strategies.add(a_strategy())
    order = an_order(strategy, quantity=Decimal(12))
    reports = [a_report(order, fill_id=f"T{number % 12}") for number in range(36)]
    async with DatabaseConnectionPool(DatabaseSettings(pool_size=16), url=database_url) as pool:
        many = Database(pool)
        await at_once(lambda number: many.execution.apply_fill(reports[number]), len(reports))
        assert await many.unmatched_fills.count() == 12
        await many.orders.add(order)
    stored = await database.orders.one(order.id)
    assert columns(stored, "status", "filled_quantity") == ("FILLED", 12)
    assert await database.unmatched_fills.count() == 0
