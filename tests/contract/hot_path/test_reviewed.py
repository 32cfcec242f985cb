"""What went wrong once on the hot path, each as a test."""

import gc
from datetime import timedelta
from decimal import Decimal
from enum import Enum

import pytest
from sqlalchemy import URL, tuple_

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Candle, MarketTrade, Order, OrderStatus, PortfolioPosition, Strategy
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS
from gal_friday.dal.repositories.order_repository import _SOURCES
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import DatabaseError, InvalidValue, StaleWrite
from gal_friday.state import DatabaseStateManager
from tests.concurrency import at_once
from tests.factories import (
    EXCHANGE,
    MINUTE,
    NOON,
    PAIR,
    a_candle,
    a_portfolio_position,
    a_strategy,
    an_order,
)
from tests.network import AnswerEater, Fate
from tests.replays import opened

D = Decimal
CUT = "cut here"


class PairName(str, Enum):  # noqa: UP042 -- such as have a text of their own for str()
    BTC = "BTC/USD"


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    stored: Strategy = await database.strategies.add(a_strategy())
    return stored


async def test_an_overwriting_save_is_a_marked_transaction(database: Database) -> None:
    """It names no version: a message of its own that arrived late would undo what was saved since."""
    manager = DatabaseStateManager(database)
    position = a_portfolio_position(position_id="P1", lots=1)
    await manager.save_position(position)
    before = await database.commit_markers.count()
    await manager.save_position(position, overwrite=True)
    assert await database.commit_markers.count() == before + 1
    position.lots = 2
    await manager.save_position(position)
    assert await database.commit_markers.count() == before + 1, "one that names its version needs none"


def test_what_one_statement_moves_on_never_comes_back() -> None:
    """By whatever steps: sent twice, as after a lost answer, it is taken once."""

    def reached(status: OrderStatus, before: frozenset[OrderStatus] = frozenset()) -> frozenset[OrderStatus]:
        further = ORDER_TRANSITIONS[status] - before
        return before.union(further, *(reached(each, before | further) for each in further))

    steps = [(source, target) for target, sources in _SOURCES.items() for source in sources]
    assert (OrderStatus.PENDING_NEW, OrderStatus.NEW) in steps
    assert [(source, target) for source, target in steps if source in reached(target)] == []


async def test_caches_hear_of_an_upsert_of_many(database: Database) -> None:
    manager = DatabaseStateManager(database)
    await manager.save_position(a_portfolio_position(position_id="P1", lots=1))
    many = [a_portfolio_position(position_id=f"P{number}", lots=9) for number in range(600)]
    await database.portfolio_positions.upsert_many(many, update=[PortfolioPosition.lots])
    kept = await manager.get_position("P1")
    assert kept is not None
    assert kept.lots == 9


@pytest.mark.parametrize("count", [3, 250])
async def test_a_text_of_a_class_of_its_own_is_stored_as_it_is(
    database: Database, strategy: Strategy, count: int
) -> None:
    await database.orders.add_many([an_order(strategy, trading_pair=PairName.BTC) for _ in range(count)])
    assert await database.orders.count(Order.trading_pair == "BTC/USD") == count
    candles = [a_candle(trading_pair=PairName.BTC, timestamp=NOON + n * MINUTE) for n in range(600)]
    await database.market_data.upsert_many(candles)
    assert await database.market_data.count(Candle.trading_pair == "BTC/USD") == 600


async def test_a_lost_change_is_not_taken_for_made_because_another_changed_the_same(
    database: Database, database_url: URL, strategy: Strategy
) -> None:
    order = await database.orders.add(an_order(strategy))

    async def others() -> None:
        theirs = await database.orders.one(order.id)
        theirs.error_message, theirs.limit_price = CUT, D(999)
        await database.orders.update(theirs)

    relay = AnswerEater(database_url, question=CUT.encode(), fate=Fate.LOST, at_most=1)
    async with relay.url() as url, opened(url) as struck:
        order.error_message = CUT
        async with relay.before_next_connection(others):
            with pytest.raises(StaleWrite):
                await struck.orders.update(order)


async def test_what_a_unit_of_work_holds_is_its_own_to_store(database: Database, strategy: Strategy) -> None:
    order = await database.orders.add(an_order(strategy))
    async with database.transaction() as uow:
        mine = await uow.orders.one(order.id)
        mine.error_message = "changed"
        other = await uow.orders.add(an_order(strategy))
        await database.orders.update(mine)
    assert (await database.orders.one(order.id)).error_message == "changed"
    assert await database.orders.get(other.id) is not None


async def test_garbage_is_collected_while_rows_are_loaded(database: Database, strategy: Strategy) -> None:
    await database.orders.add_many([an_order(strategy) for _ in range(20)])
    collections = gc.get_stats()[0]["collections"]

    async def load(_: int) -> None:
        for _ in range(100):
            assert await database.orders.find_all()

    await at_once(load, 4)
    assert gc.isenabled()
    assert gc.get_stats()[0]["collections"] > collections


async def test_a_frame_of_one_column_has_its_empty_rows(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    await uow.orders.add_many(
        [an_order(strategy, error_message=text) for text in (None, "a", None, "b", None)]
    )
    for column in (Order.error_message, Order.filled_at):
        table = await uow.orders.frame(columns=[column], kind="arrow")
        assert table.num_rows == 5


async def test_a_frame_takes_rows_longer_than_a_block(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    long = "x" * 2_500_000
    await uow.orders.add_many([an_order(strategy, error_message=text) for text in ("a", long, "b")])
    table = await uow.orders.frame(columns=[Order.error_message], kind="arrow")
    assert sorted(table.column(0).to_pylist()) == ["a", "b", long]


async def test_a_frame_of_orders_is_one_in_polars(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    await uow.orders.add(an_order(strategy))
    frame = await uow.orders.frame()
    assert frame.height == 1
    assert D(frame["cost"][0]) == 0


@pytest.mark.parametrize("count", [3, 600])
async def test_what_was_there_counts_as_changed_whatever_is_overwritten(uow: UnitOfWork, count: int) -> None:
    later = NOON + timedelta(days=1)
    candles = [a_candle(timestamp=NOON + n * MINUTE) for n in range(count)]
    assert (await uow.market_data.upsert_many(candles)).inserted == count
    again = [a_candle(timestamp=NOON + n * MINUTE, volume=D(9), created_at=later) for n in range(count)]
    counts = await uow.market_data.upsert_many(again, update=[Candle.volume, Candle.created_at])
    assert (counts.inserted, counts.updated) == (0, count)


async def test_one_upsert_has_one_moment(uow: UnitOfWork) -> None:
    await uow.market_data.upsert_many([a_candle(timestamp=NOON + n * MINUTE) for n in range(6_000)])
    assert len({candle.created_at for candle in await uow.market_data.find_all()}) == 1


async def test_the_column_of_one_of_several_rows_is_named(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    orders = [an_order(strategy), an_order(strategy, limit_price=0.1), an_order(strategy)]
    with pytest.raises(InvalidValue) as caught:
        async with uow.savepoint():
            await uow.orders.add_many(orders)
    assert caught.value.facts["column"] == "limit_price"


async def test_the_column_of_one_of_several_rows_is_named_outside_of_a_savepoint(
    database: Database, strategy: Strategy
) -> None:
    with pytest.raises(InvalidValue) as caught:
        await database.orders.add_many([an_order(strategy), an_order(strategy, limit_price=0.1)])
    assert (caught.value.facts["column"], caught.value.facts["value"]) == ("limit_price", 0.1)


async def test_a_list_of_tuples_is_a_filter(database: Database, strategy: Strategy) -> None:
    orders = await database.orders.add_many([an_order(strategy) for _ in range(3)])
    wanted = [(order.exchange, order.client_order_id) for order in orders[:2]]
    found = await database.orders.find_all(tuple_(Order.exchange, Order.client_order_id).in_(wanted))
    assert {order.id for order in found} == {order.id for order in orders[:2]}


async def test_connections_of_a_burst_are_closed_after_it(database_url: URL) -> None:
    settings = DatabaseSettings(pool_size=2, max_overflow=4)
    async with DatabaseConnectionPool(settings, url=database_url) as pool:
        burst = Database(pool)
        await at_once(lambda _: burst.strategies.count(), 12)
        kept = [lent for lent in pool._measured._kept if not lent.is_broken]
        assert len(kept) <= 2


async def test_rows_of_uneven_length_are_refused_by_number(uow: UnitOfWork) -> None:
    columns = [MarketTrade.exchange, MarketTrade.trading_pair, MarketTrade.trade_id]
    with pytest.raises(InvalidValue) as caught:
        await uow.market_trades.add_rows(columns, [(EXCHANGE, PAIR, "1"), (EXCHANGE, PAIR)])
    assert caught.value.facts["row"] == 1


async def test_rows_that_cannot_be_had_void_the_transaction(database: Database) -> None:
    async def work() -> None:
        async with database.transaction() as uow:
            columns = [
                *(MarketTrade.exchange, MarketTrade.trading_pair, MarketTrade.traded_at),
                *(MarketTrade.trade_id, MarketTrade.price, MarketTrade.quantity),
            ]
            rows = ((EXCHANGE, PAIR, NOON, str(n), D(1), D(10 // (20_000 - n))) for n in range(30_000))
            with pytest.raises(ZeroDivisionError):
                await uow.market_trades.add_rows(columns, rows)

    with pytest.raises(DatabaseError, match="voided"):
        await work()
    assert await database.market_trades.count() == 0
