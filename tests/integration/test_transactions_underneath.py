"""Whatever happens to a session: what is sent over its connection is in a transaction, which ends with it."""

import gc
from typing import Any
from weakref import ref

import pytest
from sqlalchemy import event, func, update
from sqlalchemy.orm.exc import DetachedInstanceError

from gal_friday.dal.detached import detached_copy
from gal_friday.dal.models import MarketTrade, Order, PortfolioPosition, Strategy, models_base
from gal_friday.dal.repositories.market_trade_repository import MarketTradeRepository
from gal_friday.dal.repositories.strategy_repository import StrategyRepository
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, DatabaseError
from tests.factories import NOON, a_portfolio_position, a_strategy, an_order
from tests.state import undone

OF_A_TRADE = [
    MarketTrade.exchange,
    MarketTrade.trading_pair,
    MarketTrade.traded_at,
    MarketTrade.trade_id,
    MarketTrade.price,
    MarketTrade.quantity,
]
A_TRADE = ("kraken", "BTC/USD", NOON, "T1", 1, 1)


@pytest.mark.parametrize("how", ["commit", "rollback"])
async def test_what_comes_after_an_end_of_ones_own_is_a_transaction(database: Database, how: str) -> None:
    async with undone(database.transaction()) as uow:
        await getattr(uow.session, how)()
        await uow.strategies.add(a_strategy())
    assert await database.strategies.count() == 0


async def test_a_session_of_ones_own_is_rolled_back_whole(database: Database) -> None:
    async with database.pool.sessionmaker() as session:
        await StrategyRepository(session).add(a_strategy())
        await MarketTradeRepository(session).add_rows(OF_A_TRADE, [A_TRADE])
        await session.rollback()
        await MarketTradeRepository(session).add_rows(OF_A_TRADE, [A_TRADE])
        await session.rollback()
    assert (await database.strategies.count(), await database.market_trades.count()) == (0, 0)


async def voided(uow: UnitOfWork, strategy: Strategy) -> None:
    """Have a flush refused."""
    uow.session.add(a_strategy(strategy_id=strategy.strategy_id))
    with pytest.raises(AlreadyExists):
        await uow.flush()


async def test_after_a_refused_flush_in_a_savepoint_all_is_refused_in_an_error_of_ours(
    database: Database,
) -> None:
    strategy = await database.strategies.add(a_strategy())
    async with database.transaction() as uow:
        with pytest.raises(DatabaseError, match="voided"):  # noqa: PT012 -- raised at its end
            async with uow.savepoint():
                await voided(uow, strategy)
                for refused in (
                    uow.strategies.find_all(),
                    uow.strategies.get(strategy.strategy_id),
                    uow.market_trades.add_rows(OF_A_TRADE, [A_TRADE]),
                    uow.strategies.add(a_strategy(strategy_id="not to be stored")),
                ):
                    with pytest.raises(DatabaseError, match="voided"):
                        await refused
                raise DatabaseError("voided, as was seen")
    assert [each.strategy_id for each in await database.strategies.find_all()] == [strategy.strategy_id]


async def test_a_unit_of_work_is_gone_when_it_is_over_without_a_look_for_cycles(database: Database) -> None:
    gc.collect()
    gc.disable()
    try:
        async with database.transaction() as uow:
            await uow.strategies.add(a_strategy())
            session = ref(uow.session.sync_session)
        del uow
        assert session() is None
    finally:
        gc.enable()


def test_who_listens_to_an_attribute_hears_of_new_entities() -> None:
    heard: list[Any] = []

    def hear(_: Strategy, value: Any, *__: Any) -> None:
        heard.append(value)

    models_base._columns_of.cache_clear()
    event.listen(Strategy.description, "set", hear)
    try:
        assert a_strategy(description="told").description == "told"
        assert heard == ["told"]
    finally:
        event.remove(Strategy.description, "set", hear)
        models_base._columns_of.cache_clear()


async def test_a_copy_tells_what_is_not_loaded_from_what_is_empty(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    async with database.transaction() as uow:
        await uow.session.get(Strategy, strategy.strategy_id)
        position = a_portfolio_position(position_id="P1", lots=1)
        uow.session.add(position)
        await uow.flush()
        raised = update(PortfolioPosition).values(lots=func.abs(PortfolioPosition.lots) + 6)
        await uow.session.execute(raised)
        copied = detached_copy(position)
        with pytest.raises(DetachedInstanceError):
            copied.lots  # noqa: B018 -- to read it is the point
        order = await uow.orders.add(an_order(strategy))
    assert isinstance(detached_copy(order), Order)
    assert detached_copy(order).quantity == order.quantity
