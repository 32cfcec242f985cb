"""What every repository can be asked, on both server versions."""

import tracemalloc
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import desc, func, inspect, text
from sqlalchemy.exc import InvalidRequestError

from gal_friday.dal.base import UpsertCounts
from gal_friday.dal.models import (
    MarketTrade,
    Order,
    OrderStatus,
    PortfolioSnapshot,
    Side,
    Strategy,
    Trade,
    new_id,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import (
    AlreadyExists,
    Ambiguous,
    ConstraintViolated,
    InvalidFilter,
    InvalidReference,
    InvalidValue,
    NotFound,
)
from tests.factories import (
    NOON,
    a_candle,
    a_closed_trade,
    a_log,
    a_market_trade,
    a_risk_limit,
    a_series_point,
    a_signal_log,
    a_snapshot,
    a_strategy,
    an_order,
)


async def orders_of(uow: UnitOfWork, count: int) -> tuple[Strategy, list[Order]]:
    strategy = await uow.strategies.add(a_strategy())
    return strategy, list(await uow.orders.add_many(an_order(strategy) for _ in range(count)))


async def test_an_added_row_is_read_back_with_what_the_server_filled_in(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    order = an_order(strategy, quantity=Decimal("1.5"))
    known_before = order.id
    await uow.orders.add(order)
    assert order.id == known_before
    assert (order.row_version, order.filled_quantity) == (1, Decimal(0))
    assert order.remaining_quantity == Decimal("1.5")
    uow.session.expunge_all()
    stored = await uow.orders.one(known_before)
    assert stored is not order
    assert stored.quantity == Decimal("1.5")
    assert stored.created_at == order.created_at


async def test_what_is_not_there_is_none_or_not_found(uow: UnitOfWork) -> None:
    absent = an_order(a_strategy()).id
    assert await uow.orders.get(absent) is None
    with pytest.raises(NotFound) as caught:
        await uow.orders.one(absent)
    assert caught.value.facts == {"table": "orders", "key": absent}


async def test_a_key_of_several_columns_is_a_tuple(uow: UnitOfWork) -> None:
    candle = a_candle()
    await uow.market_data.add(candle)
    key = (candle.exchange, candle.trading_pair, candle.timeframe, candle.timestamp)
    assert await uow.market_data.one(key) is candle


async def test_an_update_raises_the_version_and_is_read_back(uow: UnitOfWork) -> None:
    _, (order,) = await orders_of(uow, 1)
    order.retry_count += 1
    await uow.orders.update(order)
    assert order.row_version == 2
    uow.session.expunge_all()
    assert (await uow.orders.one(order.id)).retry_count == 1


async def test_what_was_never_stored_cannot_be_updated(uow: UnitOfWork) -> None:
    with pytest.raises(InvalidValue, match="use add"):
        await uow.orders.update(an_order(a_strategy()))


async def test_what_was_never_stored_cannot_be_deleted(uow: UnitOfWork) -> None:
    strategy, _ = await orders_of(uow, 0)
    pending = an_order(strategy)
    with pytest.raises(InvalidValue, match="never stored"):
        await uow.orders.delete(pending)
    uow.session.add(pending)
    with pytest.raises(InvalidValue, match="never stored"):
        await uow.orders.delete(pending)


@pytest.mark.parametrize("key", [None, (), ("kraken", None), ("kraken",), "kraken", ("kraken", []), {}])
async def test_a_key_with_a_part_missing_is_refused(uow: UnitOfWork, key: object) -> None:
    with pytest.raises(InvalidValue, match="each of its columns"):
        await uow.instruments.get(key)
    with pytest.raises(InvalidValue):
        await uow.instruments.one(key)


async def test_an_empty_key_is_refused(uow: UnitOfWork) -> None:
    with pytest.raises(InvalidValue) as caught:
        await uow.orders.get(None)
    assert caught.value.facts == {"table": "orders", "columns": ["id"], "key": None}


async def test_a_deleted_row_is_gone(uow: UnitOfWork) -> None:
    entry = await uow.signal_log.add(a_signal_log())
    await uow.signal_log.delete(entry)
    assert await uow.signal_log.get(entry.id) is None


async def test_a_row_others_refer_to_stays(owner_uow: UnitOfWork) -> None:
    strategy, _ = await orders_of(owner_uow, 1)
    with pytest.raises(InvalidReference) as caught:
        async with owner_uow.savepoint():
            await owner_uow.strategies.delete(strategy)
    assert caught.value.facts["constraint"] == "fk_orders_strategy_id"
    assert await owner_uow.strategies.count(Strategy.strategy_id == strategy.strategy_id) == 1


async def test_errors_say_which_constraint_and_which_value(uow: UnitOfWork) -> None:
    strategy, (order,) = await orders_of(uow, 1)
    with pytest.raises(AlreadyExists) as exists:
        async with uow.savepoint():
            await uow.orders.add(an_order(strategy, client_order_id=order.client_order_id))
    assert exists.value.facts["constraint"] == "uq_orders_account_id_exchange_client_order_id"
    assert str(order.client_order_id) in str(exists.value)
    with pytest.raises(InvalidReference) as reference:
        async with uow.savepoint():
            await uow.orders.add(an_order(strategy, strategy_id="absent"))
    assert "absent" in str(reference.value)
    with pytest.raises(ConstraintViolated) as violated:
        async with uow.savepoint():
            await uow.orders.add(an_order(strategy, quantity=Decimal(-1)))
    assert violated.value.facts["constraint"] == "ck_orders_has_a_quantity"
    assert await uow.orders.count() == 1


async def test_many_are_added_together_or_not_at_all(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    good, bad = an_order(strategy), an_order(strategy, quantity=Decimal(0))
    with pytest.raises(ConstraintViolated):
        async with uow.savepoint():
            await uow.orders.add_many([good, bad])
    assert await uow.orders.count() == 0


async def test_finding_filters_orders_and_limits(uow: UnitOfWork) -> None:
    strategy, orders = await orders_of(uow, 5)
    orders[0].side = Side.SELL
    await uow.flush()
    mine = Order.strategy_id == strategy.strategy_id
    assert await uow.orders.find_all(mine, Order.side == Side.SELL) == orders[:1]
    assert await uow.orders.find_all(mine, order_by=Order.id.desc(), limit=2) == [orders[4], orders[3]]
    assert await uow.orders.find_all(mine, order_by=[Order.side, Order.id.desc()]) == [
        *reversed(orders[1:]),
        orders[0],
    ]
    assert await uow.orders.find_one_by(mine, Order.side == Side.SELL) is orders[0]
    assert await uow.orders.find_one_by(mine, Order.status == OrderStatus.FILLED) is None
    assert (await uow.orders.count(mine), await uow.orders.exists(mine)) == (5, True)
    assert not await uow.orders.exists(mine, Order.status == OrderStatus.FILLED)
    with pytest.raises(Ambiguous):
        await uow.orders.find_one_by(mine)


@pytest.mark.parametrize("limit", ["a", -1, 1.5, True, Decimal(1)])
async def test_a_limit_is_a_number_of_rows(uow: UnitOfWork, limit: int) -> None:
    with pytest.raises(InvalidFilter):
        await uow.orders.find_all(limit=limit)
    with pytest.raises(InvalidFilter):
        await uow.orders.page(limit=limit)


async def test_no_rows_may_be_asked_for(uow: UnitOfWork) -> None:
    await orders_of(uow, 1)
    assert await uow.orders.find_all(limit=0) == []


@pytest.mark.parametrize(
    "order_by",
    [
        -Order.quantity,
        Order.created_at.desc().nulls_last(),
        Order.created_at.nulls_first(),
        Order.quantity.desc().asc(),
        Order.status.collate("C"),
        Order.quantity + 1,
        Order.created_at.label("created_at"),
        func.lower(Order.exchange),
        Strategy.created_at,
        text("created_at"),
        "created_at",
        desc("created_at"),
        None,
        1,
    ],
    ids=str,
)
async def test_rows_are_ordered_by_plain_columns_only(uow: UnitOfWork, order_by: object) -> None:
    with pytest.raises(InvalidFilter, match="a column of the table"):
        await uow.orders.find_all(order_by=[order_by])  # type: ignore[list-item]  # on purpose


async def test_ascending_can_be_said(uow: UnitOfWork) -> None:
    _, orders = await orders_of(uow, 3)
    assert await uow.orders.find_all(order_by=Order.id.asc()) == orders


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_follow_each_other_without_gap_or_repetition(uow: UnitOfWork, descending: bool) -> None:
    _, orders = await orders_of(uow, 25)  # one transaction: all of them have the same created_at
    order_by = Order.created_at.desc() if descending else Order.created_at
    seen: list[Order] = []
    cursor = None
    sizes = []
    while True:
        page = await uow.orders.page(order_by=order_by, after=cursor, limit=10)
        seen += page.items
        sizes.append(len(page.items))
        cursor = page.next
        if cursor is None:
            break
    assert sizes == [10, 10, 5]
    assert seen == (orders[::-1] if descending else orders)


async def test_rows_that_arrive_between_two_pages_disturb_neither(uow: UnitOfWork) -> None:
    strategy, orders = await orders_of(uow, 4)
    first = await uow.orders.page(order_by=Order.id, limit=2)
    await uow.orders.add(an_order(strategy))
    second = await uow.orders.page(order_by=Order.id, after=first.next, limit=2)
    assert [*first.items, *second.items] == orders


async def test_a_page_says_why_it_cannot_be(uow: UnitOfWork) -> None:
    with pytest.raises(InvalidFilter, match="never empty"):
        await uow.trades.page(order_by=Trade.exit_timestamp)
    with pytest.raises(InvalidFilter, match="one direction"):
        await uow.orders.page(order_by=[Order.created_at, Order.status.desc()], after=(NOON, "NEW", None))
    with pytest.raises(InvalidFilter, match="another ordering"):
        await uow.orders.page(order_by=Order.created_at, after=(NOON,))
    with pytest.raises(InvalidFilter, match="at least one"):
        await uow.orders.page(limit=0)


async def test_an_upsert_counts_what_is_new_what_changed_and_what_was_there(uow: UnitOfWork) -> None:
    start = NOON
    candles = [a_candle(timestamp=start + timedelta(minutes=minute)) for minute in range(4)]
    assert await uow.market_data.upsert_many(candles) == UpsertCounts(4, 0, 0)
    again = [a_candle(timestamp=start + timedelta(minutes=minute)) for minute in range(2, 6)]
    again[0].volume += 1
    assert await uow.market_data.upsert_many(again) == UpsertCounts(2, 1, 1)
    assert await uow.market_data.count() == 6


async def test_an_upsert_leaves_the_identity_of_a_row_alone(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy(description="old"))
    changed = a_strategy(strategy_id=strategy.strategy_id, name=strategy.name, description="new")
    counts = await uow.strategies.upsert_many([changed], update=[Strategy.description])
    assert counts == UpsertCounts(0, 1, 0)
    await uow.session.refresh(strategy)
    assert (strategy.description, strategy.row_version) == ("new", 2)


async def test_of_two_rows_with_one_key_in_an_upsert_the_last_counts(uow: UnitOfWork) -> None:
    first, last = a_candle(), a_candle()
    last.volume = first.volume + 1
    assert await uow.market_data.upsert_many([first, last]) == UpsertCounts(1, 0, 0)
    (stored,) = await uow.market_data.find_all()
    assert stored.volume == last.volume


async def test_in_an_upsert_the_last_row_counts_whatever_columns_it_gives(uow: UnitOfWork) -> None:
    kinds: tuple[dict[str, Any], ...] = ({}, {"max_leverage": Decimal(2)}, {"account_id": "default"})
    for first in kinds:
        for last in kinds:
            given = enumerate([last, first, last, first, last])
            limits = [a_risk_limit(max_open_positions=number, **columns) for number, columns in given]
            counts = await uow.risk_limits.upsert_many(limits)
            assert counts.inserted + counts.updated + counts.unchanged == 1
            uow.session.expunge_all()
            (stored,) = await uow.risk_limits.find_all()
            assert stored.max_open_positions == 4


async def test_a_key_the_server_would_fill_in_is_a_key_like_any_other(uow: UnitOfWork) -> None:
    series = new_id()
    points = [
        a_series_point(series_hash=series, fields={"x": 1}),
        a_series_point(series_hash=series, fields={"x": 2}, nanosecond=0),
        a_series_point(series_hash=series, fields={"x": 3}),
    ]
    assert await uow.series_points.upsert_many(points) == UpsertCounts(1, 0, 0)
    (stored,) = await uow.series_points.find_all()
    assert stored.fields == {"x": 3}


async def test_rows_whose_key_is_empty_are_the_same_where_the_database_says_so(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    found = [an_order(strategy, origin="EXTERNAL", client_order_id=None) for _ in range(2)]
    client_order = [Order.account_id, Order.exchange, Order.client_order_id]
    assert await uow.orders.upsert_many(found, conflict=client_order) == UpsertCounts(2, 0, 0)
    snapshots = [a_snapshot(), a_snapshot(strategy_id=None, total_equity=Decimal(1))]
    one_per_instant = [
        PortfolioSnapshot.account_id,
        PortfolioSnapshot.strategy_id,
        PortfolioSnapshot.snapshot_timestamp,
    ]
    assert await uow.snapshots.upsert_many(snapshots, conflict=one_per_instant) == UpsertCounts(1, 0, 0)
    (stored,) = await uow.snapshots.find_all()
    assert stored.total_equity == Decimal(1)


async def test_an_append_only_row_that_is_there_stays_as_it_is(uow: UnitOfWork) -> None:
    first = a_market_trade()
    assert await uow.market_trades.upsert_many([first]) == UpsertCounts(1, 0, 0)
    again = a_market_trade(trade_id=first.trade_id, price=Decimal(7))
    assert await uow.market_trades.upsert_many([again, a_market_trade()]) == UpsertCounts(1, 0, 1)
    assert await uow.market_trades.exists(
        MarketTrade.price == first.price, MarketTrade.trade_id == first.trade_id
    )


async def test_a_row_whose_key_cannot_be_stored_is_refused_by_an_upsert(uow: UnitOfWork) -> None:
    unfit: object
    for unfit in ([], 5, "x" * 33):
        with pytest.raises(InvalidValue) as caught:
            await uow.market_data.upsert_many([a_candle(), a_candle(exchange=unfit)])
        assert (caught.value.facts["table"], caught.value.facts["column"]) == ("market_data", "exchange")


async def test_relationships_do_not_query_behind_ones_back(uow: UnitOfWork) -> None:
    _, (order,) = await orders_of(uow, 1)
    uow.session.expunge_all()
    stored = await uow.orders.one(order.id)
    with pytest.raises(InvalidRequestError, match="raise_on_sql"):
        _ = stored.strategy


async def test_streaming_keeps_memory_flat(database: Database) -> None:
    for _ in range(5):
        await database.logs.add_many(a_log(message="x" * 1_000) for _ in range(2_000))

    async def peak_of(batches: int) -> tuple[int, int]:
        count = 0
        tracemalloc.start()
        async with database.transaction() as uow:
            async for entry in uow.logs.stream(batch_size=100):
                count += inspect(entry).detached
                if count == batches:
                    break
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return count, peak

    await peak_of(100)  # warms the caches
    _, small = await peak_of(1_000)
    count, large = await peak_of(10_000)
    assert count == 10_000
    assert large < small + 5_000_000  # 9,000 more rows kept would be more than 9,000,000 bytes


async def test_a_closed_trade_needs_its_exit(uow: UnitOfWork) -> None:
    with pytest.raises(ConstraintViolated, match="closed_is_complete"):
        await uow.trades.add(a_closed_trade(exit_timestamp=None))
