"""What the exchange says of orders: late, repeated, at once, and of orders that are not ours."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL

from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import (
    Order,
    OrderHistory,
    OrderOrigin,
    OrderStatus,
    OrderType,
    Position,
    PositionSide,
    ReportSource,
    Side,
    Strategy,
    new_id,
)
from gal_friday.database import Database
from gal_friday.errors import (
    AlreadyExists,
    Ambiguous,
    ConstraintViolated,
    IllegalTransition,
    InvalidValue,
    NotFound,
)
from gal_friday.services import ExecutionHandler
from gal_friday.services.order_gateway import Amendment, Answer, OrderKey
from tests.concurrency import at_once
from tests.exchanges import Exchange
from tests.factories import MINUTE, NOON, PAIR, a_fill, a_strategy, an_order
from tests.replays import opened

ONE, TWO = Decimal(1), Decimal(2)


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    stored: Strategy = await database.strategies.add(a_strategy())
    return stored


@pytest.fixture
def handler(database: Database) -> ExecutionHandler:
    return ExecutionHandler(database, actor="bot")


@pytest.fixture
async def order(handler: ExecutionHandler, strategy: Strategy) -> Order:
    return await handler.submit(an_order(strategy))


async def history(database: Database, order: Order) -> Sequence[OrderHistory]:
    rows: Sequence[OrderHistory] = await database.order_history.of_order(order.id)
    return rows


def found_at_the_exchange(**values: Any) -> Order:
    """A manual order, as its exchange lists it."""
    return Order(
        **{
            "exchange": "kraken",
            "trading_pair": PAIR,
            "side": Side.SELL,
            "order_type": OrderType.MARKET,
            "exchange_order_id": "OX-9",
            "quantity": ONE,
            **values,
        }
    )


async def test_an_order_is_known_by_any_of_its_names(
    database: Database, handler: ExecutionHandler, order: Order, strategy: Strategy
) -> None:
    by_client_id = OrderKey(client_order_id=order.client_order_id, exchange_order_id="OX-1")
    assert (await handler.acknowledged(by_client_id, at=NOON)).order.exchange_order_id == "OX-1"
    by_exchange_id = OrderKey(exchange_order_id="OX-1", exchange="kraken", trading_pair=PAIR)
    assert (await handler.canceled(by_exchange_id, filled_quantity=Decimal(0))).order.id == order.id
    with pytest.raises(NotFound) as caught:
        await handler.acknowledged(OrderKey(client_order_id="nobody's"))
    assert caught.value.facts["client_order_id"] == "nobody's"
    await database.orders.add(an_order(strategy, exchange="binance", exchange_order_id="OX-1"))
    with pytest.raises(Ambiguous):
        await handler.expired(OrderKey(exchange_order_id="OX-1"))


async def test_each_end_is_told_in_its_own_words(
    database: Database, handler: ExecutionHandler, strategy: Strategy
) -> None:
    refused, gone, over = [await handler.submit(an_order(strategy)) for _ in range(3)]
    assert (await handler.rejected(refused.id, "post-only")).order.error_message == "post-only"
    assert (await handler.canceled(gone.id)).order.status is OrderStatus.CANCELED
    assert (await handler.expired(over.id, source=ReportSource.POLL)).order.status is OrderStatus.EXPIRED
    assert [row.source for row in await history(database, over)] == [ReportSource.ENGINE, ReportSource.POLL]


async def test_sixteen_reports_of_one_order_at_once_are_all_on_record_and_move_it_once(
    database: Database, handler: ExecutionHandler, order: Order
) -> None:
    said = [OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.CANCELED, OrderStatus.PENDING_CANCEL]

    async def tell(number: int) -> None:
        told = await handler.status_report(
            order.id, said[number % 4], at=NOON + number * MINUTE, exchange_order_id="OX-1"
        )
        assert told.order.id == order.id

    await at_once(tell, 16)
    stored = await database.orders.one(order.id)
    assert (stored.status, stored.exchange_order_id) == (OrderStatus.CANCELED, "OX-1")
    rows = await history(database, order)
    assert len(rows) == 17
    assert (
        sum(row.to_status is OrderStatus.CANCELED and row.from_status is not row.to_status for row in rows)
        == 1
    )


async def test_reports_and_fills_of_one_order_at_once_lead_to_its_end(
    database: Database, handler: ExecutionHandler, order: Order
) -> None:
    async def tell(number: int) -> None:
        match number % 4:
            case 0:
                await handler.status_report(order.id, OrderStatus.FILLED, filled_quantity=TWO)
            case 1:
                await handler.acknowledged(order.id, "OX-1")
            case 2:
                await handler.fill(a_fill(order, fill_id="1", exchange_order_id="OX-1"))
            case _:
                await handler.fill(a_fill(order, fill_id="2", exchange_order_id="OX-1"))

    await at_once(tell, 16)
    stored = await database.orders.one(order.id)
    assert (stored.status, stored.filled_quantity) == (OrderStatus.FILLED, TWO)
    assert await database.fills.count() == 2


async def test_a_manual_close_at_the_exchange_is_noticed_and_booked(
    database: Database, handler: ExecutionHandler
) -> None:
    """The order is found with its fills, which came before it, and with no strategy."""
    early = a_fill(found_at_the_exchange(), order_id=None, exchange_order_id="OX-9", fill_id="1")
    assert (await handler.fill(early)).result is FillResult.UNMATCHED
    found = found_at_the_exchange(status=OrderStatus.FILLED, reported_filled_quantity=ONE, created_at=NOON)
    adopted = await handler.adopt(found, at=NOON + MINUTE, raw={"id": "OX-9"})
    assert (adopted.id, adopted.origin) == (found.id, OrderOrigin.EXTERNAL)
    assert (adopted.status, adopted.filled_quantity) == (OrderStatus.FILLED, ONE)
    assert await database.unmatched_fills.count() == 0
    (fill,) = await database.fills.of_order(adopted.id)
    position: Position = await database.positions.one(fill.position_id)
    assert (position.side, position.quantity, position.strategy_id) == (PositionSide.SHORT, ONE, None)
    found_rows = [row for row in await history(database, adopted) if row.source is ReportSource.RECONCILE]
    assert [row.raw for row in found_rows] == [{"id": "OX-9"}] * 2


async def test_an_order_found_again_is_the_same_and_what_is_found_is_a_report(
    database: Database, handler: ExecutionHandler
) -> None:
    first = await handler.adopt(found_at_the_exchange(), at=NOON)
    again = await handler.adopt(found_at_the_exchange(status="CANCELED"), at=NOON + MINUTE)
    assert (again.id, again.status, again.origin) == (first.id, OrderStatus.CANCELED, OrderOrigin.EXTERNAL)
    assert await database.orders.count() == 1


async def test_an_order_in_doubt_that_is_found_at_the_exchange_is_ours(
    database: Database, handler: ExecutionHandler, order: Order
) -> None:
    found = found_at_the_exchange(client_order_id=order.client_order_id, side=order.side)
    ours = await handler.adopt(found, at=NOON)
    assert (ours.id, ours.origin, ours.status) == (order.id, OrderOrigin.ENGINE, OrderStatus.NEW)
    assert ours.exchange_order_id == "OX-9"
    assert await database.orders.count() == 1


async def test_an_order_found_by_eight_at_once_is_stored_once(
    database: Database, handler: ExecutionHandler
) -> None:
    async def adopt(_: int) -> Order:
        return await handler.adopt(found_at_the_exchange(), at=NOON)

    assert len({order.id for order in await at_once(adopt, 8)}) == 1
    assert await database.orders.count() == 1


async def test_an_id_given_to_two_orders_at_once_is_the_firsts(
    database: Database, handler: ExecutionHandler, strategy: Strategy
) -> None:
    orders = [await handler.submit(an_order(strategy)) for _ in range(8)]

    async def acknowledge(number: int) -> None:
        assert (await handler.acknowledged(orders[number].id, "OX-1")).moved

    await at_once(acknowledge, 8)
    stored = await database.orders.find_by_status(OrderStatus.NEW)
    assert sorted(str(order.exchange_order_id) for order in stored) == ["None"] * 7 + ["OX-1"]


async def test_what_is_found_has_an_id_and_no_figures_that_follow_from_fills(
    database: Database, handler: ExecutionHandler, order: Order
) -> None:
    for wrong in ({"exchange_order_id": None}, {"filled_quantity": ONE}, {"cost": ONE}):
        with pytest.raises(InvalidValue):
            await handler.adopt(found_at_the_exchange(**wrong), at=NOON)
    with pytest.raises(AlreadyExists):
        await handler.adopt(found_at_the_exchange(id=order.id), at=NOON)
    assert await database.orders.count() == 1


async def test_amendments_keep_old_and_new_and_the_later_one_counts(
    database: Database, handler: ExecutionHandler, order: Order
) -> None:
    await handler.amended(order.id, at=NOON + 2 * MINUTE, limit_price=Decimal(49_000), raw={"n": 2})
    late = await handler.amended(order.id, at=NOON + MINUTE, limit_price=Decimal(48_000), raw={"n": 1})
    of_something_else = await handler.amended(order.id, at=NOON + MINUTE, stop_price=Decimal(47_000))
    again = await handler.amended(order.id, at=NOON + 3 * MINUTE, limit_price=Decimal(49_000))
    assert [each.applied for each in (late, of_something_else, again)] == [False, True, False]
    stored = await database.orders.one(order.id)
    assert (stored.limit_price, stored.stop_price) == (Decimal(49_000), Decimal(47_000))
    assert stored.status is OrderStatus.NEW, "what is amended there has arrived there"
    changes = [(row.applied, row.changes) for row in await history(database, order) if row.changes]
    assert (True, {"limit_price": {"old": "50000", "new": "49000"}}) in changes
    assert (False, {"limit_price": {"old": "49000", "new": "48000"}}) in changes
    assert (True, {"stop_price": {"old": None, "new": "47000"}}) in changes
    assert len(changes) == 4


async def test_an_order_replaced_by_one_like_it_has_its_new_id(
    database: Database, handler: ExecutionHandler, order: Order
) -> None:
    await handler.acknowledged(order.id, "OX-1")
    told = await handler.amended(order.id, quantity=TWO, exchange_order_id="OX-2")
    assert (told.applied, told.moved, told.order.exchange_order_id) == (True, False, "OX-2")
    assert [row.applied for row in await history(database, order) if row.changes] == [True]


async def test_an_order_amended_down_to_what_is_filled_is_filled(
    database: Database, handler: ExecutionHandler, order: Order
) -> None:
    await handler.fill(a_fill(order))
    told = await handler.amended(order.id, at=NOON + MINUTE, quantity=ONE)
    assert (told.moved, told.order.status, told.order.filled_at) == (True, OrderStatus.FILLED, NOON + MINUTE)
    late = await handler.amended(order.id, quantity=Decimal(3), exchange_order_id="OX-2")
    assert (late.applied, late.order.quantity, late.order.status) == (False, ONE, OrderStatus.FILLED)
    assert (await history(database, order))[-1].changes == {"quantity": {"old": "1", "new": "3"}}


async def test_an_order_whose_fills_wait_for_its_new_id_gets_them_with_it(
    handler: ExecutionHandler, order: Order
) -> None:
    await handler.acknowledged(order.id, "OX-1")
    early = a_fill(order, order_id=None, exchange_order_id="OX-2", quantity_filled=TWO)
    assert (await handler.fill(early)).result is FillResult.UNMATCHED
    told = await handler.amended(order.id, limit_price=ONE, exchange_order_id="OX-2")
    assert (told.moved, told.order.status) == (True, OrderStatus.FILLED)


async def test_an_amendment_of_nothing_or_to_nothing_is_refused(
    handler: ExecutionHandler, order: Order
) -> None:
    with pytest.raises(InvalidValue):
        await handler.amended(order.id)
    with pytest.raises(ConstraintViolated):
        await handler.amended(order.id, quantity=Decimal(0))
    with pytest.raises(NotFound):
        await handler.amended(new_id(), quantity=ONE)


async def test_an_amendment_changes_the_order_by_the_exchanges_word(
    database: Database, strategy: Strategy
) -> None:
    exchange = Exchange()
    handler = ExecutionHandler(database, exchange)
    order = await handler.submit(an_order(strategy))
    wish = Amendment(limit_price=Decimal("49999.5"), quantity=Decimal(3))

    async def look(asked: Order) -> Answer:
        assert (await database.orders.one(asked.id)).limit_price == Decimal(50_000)
        return Answer(exchange_order_id="OX-2", status=OrderStatus.NEW)

    exchange.answer = look
    amended = await handler.amend(OrderKey(exchange_order_id="OX-1"), wish)
    assert (amended.limit_price, amended.quantity) == (Decimal("49999.5"), Decimal(3))
    assert amended.exchange_order_id == "OX-2"
    rows = await database.order_history.of_order(order.id)
    assert [(row.applied, row.raw, row.changes) for row in rows if row.raw or row.changes] == [
        (False, {"limit_price": "49999.5", "quantity": "3"}, {}),
        (
            True,
            None,
            {"limit_price": {"old": "50000", "new": "49999.5"}, "quantity": {"old": "2", "new": "3"}},
        ),
    ]


async def test_a_refused_amendment_is_on_record_and_changes_nothing(
    database: Database, strategy: Strategy
) -> None:
    exchange = Exchange()
    handler = ExecutionHandler(database, exchange)
    order = await handler.submit(an_order(strategy))
    wish = Amendment(limit_price=Decimal(1))
    assert (await ExecutionHandler(database).amend(order.id, wish)).limit_price == Decimal(50_000)
    exchange.answer = Answer(accepted=False, reason="price too far away")
    assert (await handler.amend(order.id, wish)).limit_price == Decimal(50_000)
    reasons = [row.reason for row in await database.order_history.of_order(order.id)]
    assert reasons[-3:] == ["amendment requested", "amendment requested", "price too far away"]
    with pytest.raises(InvalidValue):
        await handler.amend(order.id, Amendment())
    await handler.canceled(order.id)
    with pytest.raises(IllegalTransition):
        await handler.amend(order.id, wish)


async def test_a_repeated_trade_id_is_an_answer_and_no_error(handler: ExecutionHandler, order: Order) -> None:
    first = await handler.fill(a_fill(order, fill_id="7"))
    again = await handler.fill(a_fill(order, fill_id="7"))
    assert (first.result, again.result) == (FillResult.APPLIED, FillResult.DUPLICATE)
    assert again.fill == first.fill


async def test_fills_without_a_trade_id_are_told_apart_and_marked(
    database: Database, handler: ExecutionHandler, order: Order
) -> None:
    def nameless(minute: int) -> Any:
        return a_fill(order, fill_id=None, filled_at=NOON + minute * MINUTE)

    results = [(await handler.fill(nameless(minute))).result for minute in (0, 1, 1)]
    assert results == [FillResult.APPLIED, FillResult.APPLIED, FillResult.DUPLICATE]
    fills = await database.fills.of_order(order.id)
    assert [fill.fill_id_synthetic for fill in fills] == [True, True]


async def test_a_restart_repeats_nothing_and_finds_a_flipped_position(
    database: Database, database_url: URL, strategy: Strategy
) -> None:
    """Everything is told again after the restart: orders, reports and fills."""

    async def a_day(handler: ExecutionHandler) -> None:
        buy = await handler.submit(an_order(strategy, client_order_id="buy"))
        await handler.acknowledged(buy.id, "OX-1", at=NOON)
        await handler.fill(a_fill(buy, fill_id="1", quantity_filled=TWO))
        sell = an_order(strategy, client_order_id="sell", side=Side.SELL, quantity=Decimal(3))
        sell = await handler.submit(sell)
        await handler.status_report(sell.id, OrderStatus.FILLED, at=NOON + MINUTE, exchange_order_id="OX-2")
        await handler.fill(a_fill(sell, fill_id="2", quantity_filled=Decimal(3), filled_at=NOON + MINUTE))

    await a_day(ExecutionHandler(database))
    async with opened(database_url) as restarted:
        await a_day(ExecutionHandler(restarted))
        orders = await restarted.orders.find_all()
        assert [order.status for order in orders] == [OrderStatus.FILLED] * 2
        assert await restarted.fills.count() == 2
        (position,) = await restarted.positions.get_active_positions()
        assert (position.side, position.quantity) == (PositionSide.SHORT, ONE)
