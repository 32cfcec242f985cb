"""Orders and their history, fills and those that wait for an order."""

from datetime import timedelta
from decimal import Decimal

import pytest

from gal_friday.dal.models import Account, Fill, Order, OrderOrigin, OrderStatus, new_id
from gal_friday.dal.models.enums import WORKING_ORDER_STATUSES
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import (
    AlreadyExists,
    Ambiguous,
    IllegalTransition,
    InvalidFilter,
    InvalidReference,
    InvalidValue,
    NotFound,
    StaleWrite,
)
from tests.concurrency import at_once
from tests.factories import (
    MINUTE,
    NOON,
    a_fill,
    a_position,
    a_strategy,
    an_order,
    an_order_history,
    an_unmatched_fill,
)

BOT_B = "bot-b"


async def two_orders_of_two_bots(uow: UnitOfWork, **values: object) -> tuple[Order, Order]:
    await uow.accounts.add(Account(account_id=BOT_B))
    strategy = await uow.strategies.add(a_strategy())
    ours, theirs = an_order(strategy, **values), an_order(strategy, account_id=BOT_B, **values)
    await uow.orders.add_many([ours, theirs])
    return ours, theirs


@pytest.fixture
async def order(uow: UnitOfWork) -> Order:
    strategy = await uow.strategies.add(a_strategy())
    return await uow.orders.add(an_order(strategy))


async def test_active_orders_are_those_that_can_still_fill_newest_first(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    orders = {status: an_order(strategy, status=status) for status in OrderStatus}
    await uow.orders.add_many(orders.values())

    active = await uow.orders.get_active_orders()

    assert {order.status for order in active} == set(WORKING_ORDER_STATUSES)
    assert [order.id for order in active] == sorted((order.id for order in active), reverse=True)


async def test_a_list_of_orders_shows_those_of_the_account_asked_for_only(uow: UnitOfWork) -> None:
    ours, theirs = await two_orders_of_two_bots(uow, client_order_id="1", exchange_order_id="2")
    for repository_method, arguments in (
        (uow.orders.get_active_orders, ()),
        (uow.orders.get_open_orders_for_pair, (ours.trading_pair,)),
        (uow.orders.get_recent_orders, ()),
        (uow.orders.find_by_status, (OrderStatus.PENDING_NEW,)),
    ):
        assert await repository_method(*arguments) == [ours]
        assert await repository_method(*arguments, account_id=BOT_B) == [theirs]
    assert await uow.orders.get_by_client_order_id("1") is ours
    assert await uow.orders.get_by_client_order_id("1", account_id=BOT_B) is theirs
    assert await uow.orders.get_by_exchange_order_id("2") is ours
    assert await uow.orders.get_by_exchange_order_id("2", account_id=BOT_B) is theirs


async def test_open_orders_for_a_pair_can_be_narrowed_to_an_exchange(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    at_kraken, at_binance = an_order(strategy), an_order(strategy, exchange="binance")
    filled, other_pair = an_order(strategy, status="FILLED"), an_order(strategy, trading_pair="XRP/USD")
    await uow.orders.add_many([at_kraken, at_binance, filled, other_pair])

    assert await uow.orders.get_open_orders_for_pair("BTC/USD") == [at_kraken, at_binance]
    assert await uow.orders.get_open_orders_for_pair("BTC/USD", exchange="binance") == [at_binance]
    assert await uow.orders.get_open_orders_for_pair("BTC/EUR") == []


async def test_an_id_several_exchanges_use_is_ambiguous_until_one_is_named(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    at_kraken, at_binance = (
        an_order(strategy, exchange=exchange, client_order_id="7", exchange_order_id="8")
        for exchange in ("kraken", "binance")
    )
    await uow.orders.add_many([at_kraken, at_binance])

    with pytest.raises(Ambiguous):
        await uow.orders.get_by_client_order_id("7")
    with pytest.raises(Ambiguous):
        await uow.orders.get_by_exchange_order_id("8")
    assert await uow.orders.get_by_client_order_id("7", exchange="binance") is at_binance
    assert await uow.orders.get_by_exchange_order_id("8", exchange="kraken") is at_kraken
    assert await uow.orders.get_by_exchange_order_id("8", exchange="kraken", trading_pair="XRP/USD") is None


async def test_recent_orders_are_counted_back_from_the_servers_clock(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    fresh = await uow.orders.add(an_order(strategy))
    await uow.orders.add(an_order(strategy, created_at=fresh.created_at - timedelta(hours=25)))
    assert await uow.orders.get_recent_orders() == [fresh]
    assert len(await uow.orders.get_recent_orders(hours=26)) == 2
    assert await uow.orders.get_recent_orders(hours=0) == []
    hours: object
    for hours in ("a", None, -1, float("nan"), 10**12):
        with pytest.raises(InvalidFilter):
            await uow.orders.get_recent_orders(hours=hours)  # type: ignore[arg-type]  # on purpose


async def test_orders_by_status_come_oldest_first_and_as_many_as_asked_for(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    orders = await uow.orders.add_many([an_order(strategy, status="FILLED") for _ in range(3)])
    assert await uow.orders.find_by_status(OrderStatus.FILLED) == orders
    assert await uow.orders.find_by_status(OrderStatus.FILLED, limit=2) == orders[:2]


async def test_an_order_goes_its_way_with_a_time_at_each_stage(uow: UnitOfWork, order: Order) -> None:
    await uow.orders.transition(order.id, OrderStatus.NEW, at=NOON, exchange_order_id="OX-1")
    await uow.orders.transition(
        order.id, OrderStatus.PARTIALLY_FILLED, filled_quantity=Decimal("0.3"), cost=Decimal(10)
    )
    await uow.orders.transition(
        order.id, OrderStatus.FILLED, at=NOON + MINUTE, filled_quantity=Decimal(2), cost=Decimal(100)
    )

    await uow.session.refresh(order)
    assert (order.status, order.exchange_order_id) == (OrderStatus.FILLED, "OX-1")
    assert (order.submitted_at, order.filled_at, order.canceled_at) == (NOON, NOON + MINUTE, None)
    assert (order.average_fill_price, order.remaining_quantity) == (Decimal(50), Decimal(0))
    assert order.row_version == 4


async def test_the_average_price_is_the_exact_cost_over_the_quantity(uow: UnitOfWork, order: Order) -> None:
    await uow.orders.transition(
        order.id, OrderStatus.PARTIALLY_FILLED, filled_quantity=Decimal(3), cost=Decimal(10)
    )
    assert order.average_fill_price == Decimal("3.333333333333333333")


async def test_update_order_status_takes_an_average_price(uow: UnitOfWork, order: Order) -> None:
    await uow.orders.update_order_status(
        order.id, OrderStatus.PARTIALLY_FILLED, Decimal("0.1"), Decimal("0.123456789012345678")
    )
    await uow.session.refresh(order)
    assert order.filled_quantity == Decimal("0.1")
    assert order.average_fill_price == Decimal("0.123456789012345678")
    assert order.cost == Decimal("0.0123456789012345678")

    await uow.orders.update_order_status(order.id, OrderStatus.CANCELED, average_fill_price=Decimal("0.2"))
    assert (order.average_fill_price, order.cost) == (Decimal("0.2"), Decimal("0.02"))


async def test_a_rejected_order_says_why(uow: UnitOfWork, order: Order) -> None:
    await uow.orders.transition(order.id, OrderStatus.REJECTED, error_message="insufficient funds")
    assert order.error_message == "insufficient funds"


@pytest.mark.parametrize("source", OrderStatus)
async def test_every_status_leads_where_the_table_says_and_nowhere_else(
    uow: UnitOfWork, source: OrderStatus
) -> None:
    strategy = await uow.strategies.add(a_strategy())
    for target in OrderStatus:
        filled = {"filled_quantity": Decimal(2), "cost": Decimal(4)}
        order = await uow.orders.add(an_order(strategy, status=source, **filled))
        if target is source or target in ORDER_TRANSITIONS[source]:
            assert (await uow.orders.transition(order.id, target)).status is target
        else:
            with pytest.raises(IllegalTransition) as caught:
                await uow.orders.transition(order.id, target)
            assert caught.value.facts == {
                "order": order.id,
                "source": source,
                "target": target,
                "allowed": sorted(ORDER_TRANSITIONS[source]),
            }
            assert order.status is source


async def test_a_fill_that_crossed_with_the_cancel_completes_the_order(uow: UnitOfWork, order: Order) -> None:
    await uow.orders.transition(order.id, OrderStatus.CANCELED, at=NOON)
    await uow.orders.transition(
        order.id, OrderStatus.FILLED, at=NOON + MINUTE, filled_quantity=Decimal(2), cost=Decimal(4)
    )
    assert (order.canceled_at, order.filled_at) == (NOON, NOON + MINUTE)


async def test_what_was_filled_stays_filled(uow: UnitOfWork, order: Order) -> None:
    await uow.orders.transition(
        order.id, OrderStatus.PARTIALLY_FILLED, filled_quantity=Decimal(1), cost=Decimal(2)
    )
    with pytest.raises(IllegalTransition):
        await uow.orders.transition(
            order.id, OrderStatus.PARTIALLY_FILLED, filled_quantity=Decimal("0.5"), cost=Decimal(1)
        )


@pytest.mark.parametrize("status", [OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.CANCELED])
async def test_more_filled_needs_its_price(uow: UnitOfWork, order: Order, status: OrderStatus) -> None:
    half = Decimal("0.5")
    for move in (uow.orders.transition, uow.orders.update_order_status):
        with pytest.raises(InvalidValue, match="give cost or average_fill_price with filled_quantity"):
            await move(order.id, status, filled_quantity=half)
    await uow.orders.transition(
        order.id, OrderStatus.PARTIALLY_FILLED, filled_quantity=half, cost=Decimal(50)
    )
    for move in (uow.orders.transition, uow.orders.update_order_status):
        with pytest.raises(InvalidValue):
            await move(order.id, status, filled_quantity=Decimal(2))

    assert not uow.session.is_modified(order)
    await uow.orders.update_order_status(order.id, OrderStatus.CANCELED, half)  # no more than was known
    assert (order.filled_quantity, order.cost, order.average_fill_price) == (half, Decimal(50), Decimal(100))


async def test_nothing_filled_has_no_price(uow: UnitOfWork, order: Order) -> None:
    with pytest.raises(InvalidValue, match="give filled_quantity with cost"):
        await uow.orders.transition(order.id, OrderStatus.NEW, cost=Decimal(5))
    for nothing in (None, Decimal(0)):
        with pytest.raises(InvalidValue, match="give filled_quantity with average_fill_price"):
            await uow.orders.update_order_status(order.id, OrderStatus.NEW, nothing, Decimal(100))
    await uow.orders.update_order_status(order.id, OrderStatus.NEW, Decimal(0), Decimal(0))
    assert (order.status, order.cost, order.average_fill_price) == (OrderStatus.NEW, Decimal(0), None)


@pytest.mark.parametrize("before", [OrderStatus.PENDING_NEW, OrderStatus.NEW, OrderStatus.CANCELED])
async def test_an_order_of_ours_is_filled_once_its_quantity_is(
    uow: UnitOfWork, order: Order, before: OrderStatus
) -> None:
    if before is not order.status:
        await uow.orders.transition(order.id, before)
    with pytest.raises(IllegalTransition) as caught:
        await uow.orders.transition(order.id, OrderStatus.FILLED)
    assert caught.value.facts["quantity"] == Decimal(2)
    almost = Decimal("1.999999999999999999")
    with pytest.raises(IllegalTransition):
        await uow.orders.transition(order.id, OrderStatus.FILLED, filled_quantity=almost, cost=Decimal(4))
    assert not uow.session.is_modified(order)

    await uow.orders.transition(order.id, OrderStatus.FILLED, filled_quantity=Decimal("2.1"), cost=Decimal(4))
    assert (order.status, order.overfilled) == (OrderStatus.FILLED, True)


async def test_an_order_by_cost_is_filled_once_anything_is(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    order = await uow.orders.add(an_order(strategy, quantity=None, quote_quantity=Decimal(100)))
    with pytest.raises(IllegalTransition):
        await uow.orders.transition(order.id, OrderStatus.FILLED)
    await uow.orders.update_order_status(order.id, OrderStatus.FILLED, Decimal("0.002"), Decimal(50_000))
    assert (order.status, order.cost) == (OrderStatus.FILLED, Decimal(100))


async def test_of_an_order_found_at_the_exchange_its_word_is_taken(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    order = await uow.orders.add(an_order(strategy, origin=OrderOrigin.EXTERNAL))
    await uow.orders.update_order_status(order.id, OrderStatus.FILLED)
    assert (order.status, order.filled_quantity) == (OrderStatus.FILLED, Decimal(0))


@pytest.mark.parametrize("number", [1.5, Decimal("NaN"), Decimal("1E-19"), Decimal("1E+30"), "1"])
async def test_what_is_no_exact_amount_is_refused_and_the_order_stays(
    uow: UnitOfWork, order: Order, number: Decimal
) -> None:
    with pytest.raises(InvalidValue):
        await uow.orders.update_order_status(order.id, OrderStatus.FILLED, number)
    with pytest.raises(InvalidValue):
        await uow.orders.update_order_status(order.id, OrderStatus.FILLED, Decimal(1), number)
    cost = number if number != Decimal("1E-19") else Decimal("1E-37")
    with pytest.raises(InvalidValue):
        await uow.orders.transition(order.id, OrderStatus.FILLED, filled_quantity=Decimal(1), cost=cost)
    assert not uow.session.is_modified(order)


async def test_a_status_no_order_has_is_refused(uow: UnitOfWork, order: Order) -> None:
    with pytest.raises(IllegalTransition):
        await uow.orders.transition(order.id, "ACTIVE")  # type: ignore[arg-type]  # on purpose
    await uow.orders.transition(order.id, "NEW")  # type: ignore[arg-type]  # text of a status will do
    assert order.status is OrderStatus.NEW


async def test_a_transition_of_no_order_is_not_found(uow: UnitOfWork) -> None:
    with pytest.raises(NotFound):
        await uow.orders.transition(new_id(), OrderStatus.NEW)
    with pytest.raises(NotFound):
        await uow.orders.update_order_status(new_id(), OrderStatus.NEW, average_fill_price=Decimal(1))


async def test_of_two_who_read_an_order_only_the_first_to_write_may(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    order = await database.orders.add(an_order(strategy))
    async with database.transaction() as uow:
        as_read = await uow.orders.one(order.id)
        await database.orders.transition(order.id, OrderStatus.CANCELED)
        with pytest.raises(StaleWrite):
            await uow.orders.transition(as_read.id, OrderStatus.PENDING_CANCEL)
        await uow.session.rollback()
    assert (await database.orders.one(order.id)).status is OrderStatus.CANCELED


async def test_orders_by_signal_and_history_of_an_order(uow: UnitOfWork, order: Order) -> None:
    assert await uow.orders.get_orders_by_signal(new_id()) == []
    later = an_order_history(order, occurred_at=NOON + MINUTE, to_status=OrderStatus.CANCELED)
    earlier = an_order_history(order)
    await uow.order_history.add_many([later, earlier])
    assert [row for row in await uow.order_history.of_order(order.id) if row in {earlier, later}] == [
        earlier,
        later,
    ]


async def test_a_fill_is_stored_once_however_often_it_is_reported(uow: UnitOfWork, order: Order) -> None:
    first = a_fill(order, fill_id="T1")
    stored = await uow.fills.add_once(first)
    again = await uow.fills.add_once(a_fill(order, fill_id="T1", fill_price=Decimal(1)))

    assert stored is not None
    assert (stored.id, stored.fill_price) == (first.id, Decimal(50_000))
    assert stored.received_at == stored.created_at
    assert again is None
    identity = (stored.exchange, stored.trading_pair, stored.exchange_order_id, "T1")
    assert await uow.fills.get_by_identity(*identity) is stored
    assert await uow.fills.get_by_identity(*identity, account_id=BOT_B) is None


async def test_a_fill_that_clashes_with_another_by_its_id_is_not_taken_for_stored(
    uow: UnitOfWork, order: Order
) -> None:
    stored = await uow.fills.add(a_fill(order))
    with pytest.raises(AlreadyExists) as caught:
        async with uow.savepoint():
            await uow.fills.add_once(a_fill(order, id=stored.id))
    assert caught.value.facts["constraint"] == "pk_fills"
    waiting = await uow.unmatched_fills.add(an_unmatched_fill())
    with pytest.raises(AlreadyExists):
        async with uow.savepoint():
            await uow.unmatched_fills.add_once(an_unmatched_fill(id=waiting.id))


async def test_of_eight_that_report_a_fill_at_once_one_stores_it(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    order = await database.orders.add(an_order(strategy))

    async def report(_: int) -> Fill | None:
        stored: Fill | None = await database.fills.add_once(a_fill(order, fill_id="T1"))
        return stored

    reports = await at_once(report, 8)
    assert sum(stored is not None for stored in reports) == 1
    assert await database.fills.count() == 1


async def test_a_fill_of_no_order_is_refused(uow: UnitOfWork, order: Order) -> None:
    with pytest.raises(InvalidReference):
        async with uow.savepoint():
            await uow.fills.add_once(a_fill(order, order_id=new_id()))
    fill = await uow.fills.add(a_fill(order))
    with pytest.raises(AlreadyExists):
        await uow.fills.add(a_fill(order, fill_id=fill.fill_id))


async def test_fills_are_found_by_order_position_and_time(uow: UnitOfWork, order: Order) -> None:
    position = await uow.positions.add(a_position())
    late, early = (
        a_fill(order, position_id=position.id, applied_seq=seq, filled_at=NOON + minutes * MINUTE)
        for seq, minutes in ((1, 5), (2, 3))
    )
    other_pair = a_fill(order, trading_pair="XRP/USD", filled_at=NOON + 4 * MINUTE)
    await uow.fills.add_many([late, early, other_pair])

    assert await uow.fills.of_order(order.id) == [early, other_pair, late]
    assert await uow.fills.of_position(position.id) == [late, early]
    span = (NOON + 3 * MINUTE, NOON + 5 * MINUTE)
    assert await uow.fills.between(*span) == [early, other_pair]
    assert await uow.fills.between(*span, trading_pair="BTC/USD") == [early]
    assert await uow.fills.between(*span, account_id=BOT_B) == []


async def test_fills_wait_for_their_order_once_each(uow: UnitOfWork) -> None:
    fill = await uow.unmatched_fills.add_once(an_unmatched_fill(exchange_order_id="OX-9", fill_id="T1"))
    assert fill is not None
    assert fill.payload == {"price": "50000", "quantity": "1"}
    again = an_unmatched_fill(exchange_order_id="OX-9", fill_id="T1")
    assert await uow.unmatched_fills.add_once(again) is None

    assert await uow.unmatched_fills.of_exchange_order("kraken", "OX-9") == [fill]
    assert await uow.unmatched_fills.of_exchange_order("kraken", "OX-9", account_id=BOT_B) == []
    await uow.unmatched_fills.delete(fill)
    assert await uow.unmatched_fills.of_exchange_order("kraken", "OX-9") == []
