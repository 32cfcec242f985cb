"""Many rows at once: by COPY and as texts the same is stored, counted and refused as row by row."""

import asyncio
import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import inspect

from gal_friday.dal.base import UpsertCounts
from gal_friday.dal.hot_path import copying
from gal_friday.dal.hot_path.rows import rows_of
from gal_friday.dal.hot_path.texts import can_be_copied
from gal_friday.dal.models import Base, Candle, MarketTrade, PortfolioSnapshot, Trade
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, DatabaseError, InvalidFilter, InvalidValue
from tests.contract.hot_path.paths import (
    MODELS,
    Both,
    Refused,
    assert_same,
    attributes_of,
    examples,
    result_of,
    rows_in,
    settable,
    state_of,
    stored_row,
)
from tests.contract.hot_path.values import changes_of, misfits_of
from tests.factories import NOON, a_candle, a_market_trade, a_snapshot, a_strategy, a_trade, an_order
from tests.state import undone

ENOUGH_FOR_A_COPY = 200
ENOUGH_FOR_A_STAGE = 500


async def many_trades(database: Database, odd: dict[str, Any]) -> list[dict[str, Any]]:
    """What becomes of many trades, one of them with odd values."""
    async with undone(database.transaction()) as uow:
        trades = [a_trade(None) for _ in range(ENOUGH_FOR_A_COPY)]
        # All of one shape, or they would not travel together.
        for trade in trades:
            for name in odd:
                setattr(trade, name, getattr(trades[-1], name))
        for name, value in copy.deepcopy(odd).items():
            setattr(trades[-1], name, value)
        assert await uow.trades.add_many(trades) == trades
        results = []
        for trade, given_of_it in ((trades[0], {}), (trades[-1], odd)):
            row = await stored_row(uow.session, trade, given=given_of_it)
            results.append(row | state_of(trade, session=uow.session))
        return results
    raise AssertionError("unreachable: the block returns or raises")


CHANGES = changes_of(Trade, keys=False).map(
    lambda changes: {name: value for name, value in changes.items() if value is not ...}
)


@examples
@given(CHANGES | misfits_of(Trade))
async def test_many_rows_are_stored_the_same(both: Both, odd: dict[str, Any]) -> None:
    hot, orm = [await result_of(many_trades(database, odd)) for database in both.each]
    if isinstance(hot, list) and isinstance(orm, list):
        for one, other in zip(hot, orm, strict=True):
            assert_same(one, other)
    else:
        # Of a row among many the ORM does not say which value the server refused; COPY names a wrong one.
        assert isinstance(hot, Refused)
        assert isinstance(orm, Refused)
        assert hot.kind is orm.kind
        assert hot.facts.get("constraint") == orm.facts.get("constraint")
        assert hot.facts.get("table") == orm.facts.get("table")


CANDLE_NAMES = [
    *("exchange", "trading_pair", "timeframe", "timestamp"),
    *("open", "high", "low", "close", "volume"),
]
COPIED = [model for model in MODELS if rows_of(model).is_plain and can_be_copied(*settable(model).values())]


@pytest.mark.parametrize("model", COPIED, ids=lambda model: model.__tablename__)
@examples
@given(data=st.data())
async def test_a_row_copied_is_the_row_inserted(both: Both, model: type[Base], data: st.DataObject) -> None:
    drawn = data.draw(changes_of(model) | misfits_of(model))
    # Keys the ORM refuses to be without are the server's to miss in a COPY.
    drawn = {n: v for n, v in drawn.items() if v not in (None, ...) or not settable(model)[n].primary_key}
    values = {name: value for name, value in {**both.valid[model], **drawn}.items() if value is not ...}
    names = [name for name in values if name in settable(model) and values[name] is not None]
    columns = [inspect(model).attrs[name].class_attribute for name in names]

    async def copied() -> dict[str, Any]:
        async with undone(both.hot.transaction()) as uow:
            row = tuple(copy.deepcopy(values[name]) for name in names)
            if await rows_in(model, uow).add_rows(columns, [row]) != 1:
                raise AssertionError("one row is one row")
            return await found(uow)
        raise AssertionError("unreachable: the block returns or raises")

    async def inserted() -> dict[str, Any]:
        async with undone(both.orm.transaction()) as uow:
            await rows_in(model, uow).add(model(**copy.deepcopy({name: values[name] for name in names})))
            uow.session.expunge_all()
            return await found(uow)
        raise AssertionError("unreachable: the block returns or raises")

    async def found(uow: UnitOfWork) -> dict[str, Any]:
        given_key = [
            column == values[name]
            for name, column in attributes_of(model).items()
            if column.primary_key and name in names
        ]
        (entity,) = await rows_in(model, uow).find_all(*given_key, limit=1, order_by=newest(model))
        return await stored_row(uow.session, entity, given={name: values[name] for name in names})

    hot, orm = await result_of(copied()), await result_of(inserted())
    if isinstance(hot, Refused) and isinstance(orm, Refused):
        facts = {name: fact for name, fact in orm.facts.items() if name != "value"}
        facts.pop("column", None) if "column" not in hot.facts else None
        assert hot.kind is orm.kind, (hot, orm)
        assert {name: hot.facts.get(name) for name in facts} == facts, (hot, orm)
    else:
        assert_same(hot, orm)


def newest(model: type[Base]) -> list[Any]:
    return [
        inspect(model).get_property_by_column(c).class_attribute.desc() for c in inspect(model).primary_key
    ]


async def test_of_a_wrong_value_among_many_rows_the_row_is_named(both: Both) -> None:
    async with undone(both.hot.transaction()) as uow:
        columns = [Candle.exchange, Candle.trading_pair, Candle.timeframe, Candle.timestamp, Candle.open]
        rows = [("kraken", "BTC/USD", "1m", NOON + timedelta(minutes=n), Decimal(n)) for n in range(7_000)]
        rows[6_001] = (*rows[6_001][:4], Decimal("NaN"))
        refused = await result_of(uow.market_data.add_rows(columns, rows))
        assert isinstance(refused, Refused)
        assert refused.facts == {
            "table": "'market_data'",
            "column": "'open'",
            "value": "Decimal('NaN')",
        }
        with pytest.raises(DatabaseError):
            await uow.market_data.count()


async def test_rows_whose_columns_copy_does_not_know_are_refused(both: Both) -> None:
    async with undone(both.hot.transaction()) as uow:
        with pytest.raises(InvalidFilter, match="add_many"):
            await uow.strategies.add_rows(
                [inspect(type(a_strategy())).attrs.trading_pairs.class_attribute], []
            )
        columns = inspect(uow.system_config.model).attrs
        with pytest.raises(InvalidFilter, match="add_many"):
            await uow.system_config.add_rows(
                [columns.key.class_attribute, columns.is_sensitive.class_attribute], []
            )


async def test_a_row_that_is_there_already_stops_them_all(both: Both) -> None:
    for database in both.each:
        async with undone(database.transaction()) as uow:
            strategy = await uow.strategies.add(a_strategy())
            orders = [an_order(strategy) for _ in range(ENOUGH_FOR_A_COPY)]
            twice = [*orders, an_order(strategy, client_order_id=orders[3].client_order_id)]
            with pytest.raises(AlreadyExists) as caught:
                await uow.orders.add_many(twice)
            assert caught.value.facts["constraint"] == "uq_orders_account_id_exchange_client_order_id"
            assert all(inspect(order).transient for order in twice)
            with pytest.raises(DatabaseError):
                await uow.orders.count()


Make = Callable[[int], Base]


def candle(n: int) -> Candle:
    return a_candle(timestamp=NOON + timedelta(minutes=n), volume=Decimal(n))


def market_trade(n: int) -> MarketTrade:
    return a_market_trade(trade_id=str(n))


def snapshot(n: int) -> PortfolioSnapshot:
    return a_snapshot(snapshot_timestamp=NOON + timedelta(minutes=n), strategy_id=None, id=UUIDS[n])


UUIDS = [a_snapshot().id for _ in range(2 * ENOUGH_FOR_A_STAGE)]
ONE_PER_INSTANT = (
    PortfolioSnapshot.account_id,
    PortfolioSnapshot.strategy_id,
    PortfolioSnapshot.snapshot_timestamp,
)


@pytest.mark.parametrize(
    ("make", "conflict"),
    [(candle, None), (market_trade, None), (snapshot, None), (snapshot, ONE_PER_INSTANT)],
    ids=["market_data", "market_trades", "snapshots", "snapshots, a part of whose key is empty"],
)
async def test_an_upsert_of_many_counts_as_one_of_few(
    both: Both, make: Make, conflict: Sequence[Any] | None
) -> None:
    """First new, then as they are, then some of them changed and some new."""
    results = []
    for database in both.each:
        async with undone(database.transaction()) as uow:
            model = type(make(0))
            rows = rows_in(model, uow)
            counts: list[UpsertCounts] = []
            for numbers in (range(600), range(600), range(300, 900)):
                entities = [make(n) for n in numbers]
                if len(counts) == 2:
                    for entity in entities[:100]:
                        name = next(n for n in ("volume", "price", "total_equity") if hasattr(entity, n))
                        setattr(entity, name, Decimal(77))
                counts.append(await rows.upsert_many([*entities, make(numbers[-1])], conflict=conflict))
            stored = await rows.find_all()
            connection = [repr(sorted(given_of(entity).items())) for entity in stored]
            results.append((counts, sorted(connection)))
    assert results[0][0] == results[1][0]
    assert results[0] == results[1]


def given_of(entity: Base) -> dict[str, Any]:
    return {
        name: repr(getattr(entity, name))
        for name in attributes_of(type(entity))
        if name not in {"created_at", "id", "received_at"}
    }


async def test_a_wrong_value_in_an_upsert_of_many_is_refused_as_in_one_of_few(both: Both) -> None:
    wrong: Any
    for wrong in (Decimal("NaN"), 0.5, Decimal(10) ** 20):
        refused = []
        for database in both.each:
            async with undone(database.transaction()) as uow:
                candles = [candle(n) for n in range(600)]
                candles[-1].volume = wrong
                refused.append(await result_of(uow.market_data.upsert_many(candles)))
        assert isinstance(refused[0], Refused)
        assert isinstance(refused[1], Refused)
        assert refused[0].kind is refused[1].kind
        assert refused[0].facts["table"] == refused[1].facts["table"]
        assert refused[0].facts["column"] == "'volume'"


async def test_an_upsert_of_many_twice_in_a_transaction_and_around_a_savepoint(both: Both) -> None:
    for database in both.each:
        async with undone(database.transaction()) as uow:
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 -- raised at its end
                async with uow.savepoint():
                    await uow.market_data.upsert_many(candle(n) for n in range(600))
                    raise ZeroDivisionError
            for inserted in (600, 0):
                counts = await uow.market_data.upsert_many(candle(n) for n in range(600))
                assert counts == UpsertCounts(inserted, 0, 600 - inserted)


async def test_a_value_refused_while_the_rows_before_it_are_stored_is_told_and_the_transaction_goes_on(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "ROWS_OF_A_BATCH", 500)
    candles = [candle(n) for n in range(1_300)]
    candles[700].volume = "many"  # type: ignore[assignment]  # that is the point
    for database in both.each:
        async with undone(database.transaction()) as uow:
            with pytest.raises(InvalidValue, match="not exact"):
                await uow.market_data.upsert_many(candles)
            assert (await uow.market_data.upsert_many(candles[701:])).updated == 0
        assert await database.market_data.count() == 0


async def test_an_upsert_cancelled_anywhere_stores_all_of_it_or_nothing(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "ROWS_OF_A_BATCH", 100)
    for database in both.each:
        for turns in range(1, 40, 3):
            storing = asyncio.ensure_future(database.market_data.upsert_many(candle(n) for n in range(600)))
            for _ in range(turns):
                await asyncio.sleep(0)
            storing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await storing
            assert await database.market_data.count() == 0
        assert database.pool.stats().checked_out == 0


async def test_a_savepoint_undoes_what_a_repository_used_before_it_has_stored(both: Both) -> None:
    for database in both.each:
        async with undone(database.transaction()) as uow:
            await uow.market_data.upsert_many(candle(n) for n in range(600))
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 -- raised at its end
                async with uow.savepoint():
                    await uow.market_data.upsert_many(candle(n) for n in range(1_200))
                    await uow.market_data.add_rows(
                        [inspect(Candle).attrs[name].class_attribute for name in CANDLE_NAMES],
                        [[getattr(candle(1_500), name) for name in CANDLE_NAMES]],
                    )
                    raise ZeroDivisionError
            assert await uow.market_data.count() == 600


async def test_times_at_the_very_end_are_the_same_however_they_were_stored(both: Both) -> None:
    """The driver takes the last moment there is for infinity."""
    names = ["exchange", "trading_pair", "traded_at", "trade_id", "price", "quantity"]
    for last in (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
        for database in both.each:
            async with undone(database.transaction()) as uow:
                copied = a_market_trade(traded_at=last)
                await uow.market_trades.add_rows(
                    [inspect(MarketTrade).attrs[name].class_attribute for name in names],
                    [tuple(getattr(copied, name) for name in names)],
                )
                await uow.market_trades.add(a_market_trade(traded_at=last))
                assert await uow.market_trades.count(MarketTrade.traded_at == last) == 2
