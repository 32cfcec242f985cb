"""What the store in PostgreSQL adds to the contract of every store."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL, select, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Candle, MarketTrade, SeriesPoint
from gal_friday.database import Database
from gal_friday.errors import AppendOnlyViolated, PermissionDenied, PointsRefused
from gal_friday.timeseries.instants import nanoseconds
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.points import FieldValue, Point, as_point
from gal_friday.timeseries.postgres_store import PostgresTimeSeriesStore
from tests.factories import MINUTE, NOON, PAIR

NOON_NS = nanoseconds(NOON)
EXACT = Decimal("64250.123456789012345678")


def a_point(number: int = 0, **fields: float | str) -> Point:
    return Point("load", {"host": "a"}, {"value": 1.0, **fields}, NOON_NS + number)


def a_candle(**overrides: Any) -> Ohlcv:
    prices = dict.fromkeys(("open", "high", "low", "close"), EXACT)
    return Ohlcv("kraken", PAIR, "1m", NOON, **{**prices, "volume": Decimal("0.1"), **overrides})


def a_bar(timeframe: str, minute: int, /, *prices: int, vwap: int | str) -> Ohlcv:
    names = ("open", "high", "low", "close", "volume")
    values: dict[str, Any] = {name: Decimal(price) for name, price in zip(names, prices, strict=True)}
    return Ohlcv("kraken", PAIR, timeframe, NOON + minute * MINUTE, **values, vwap=Decimal(vwap))


async def test_prices_go_to_their_tables_exactly(database: Database) -> None:
    tick = Tick("kraken", PAIR, NOON, "7", EXACT, Decimal("0.3"), "SELL")
    await database.time_series.write_market_data(a_candle(vwap=EXACT, trades_count=3, is_final=False), tick)
    async with database.transaction() as uow:
        (candle,) = await uow.market_data.find_all(Candle.timestamp == NOON)
        (trade,) = await uow.market_trades.find_all(MarketTrade.traded_at == NOON)
    assert (candle.close, candle.vwap, candle.trades_count, candle.is_final) == (EXACT, EXACT, 3, False)
    assert (trade.price, trade.trade_id, trade.side) == (EXACT, "7", "SELL")
    assert await database.time_series.query_ohlcv("kraken", PAIR, "1m", NOON, NOON + MINUTE) == [
        a_candle(vwap=EXACT, trades_count=3, is_final=False)
    ]


async def test_a_final_candle_is_not_replaced_by_one_that_still_changes(database: Database) -> None:
    await database.time_series.write_market_data(a_candle())
    await database.time_series.write_market_data(a_candle(volume=Decimal(2), is_final=False))
    assert await database.time_series.query_ohlcv("kraken", PAIR, "1m", NOON, NOON + MINUTE) == [a_candle()]


async def test_candles_of_a_timeframe_that_is_not_stored_are_made_of_shorter_ones(database: Database) -> None:
    store = database.time_series
    minutes = [
        a_bar("1m", number, *prices, vwap=prices[3])
        for number, prices in enumerate([(10, 12, 9, 11, 1), (11, 15, 10, 14, 3), (14, 14, 8, 9, 4)])
    ]
    await store.write_market_data(*minutes)
    (whole,) = await store.query_ohlcv("kraken", PAIR, "3m", NOON, NOON + 3 * MINUTE)
    assert whole == a_bar("3m", 0, 10, 15, 8, 9, 8, vwap="11.125")
    (part,) = await store.query_ohlcv("kraken", PAIR, "5m", NOON, NOON + 5 * MINUTE)
    assert part.close == 9
    assert not part.is_final
    later = await store.query_ohlcv("kraken", PAIR, "1m", nanoseconds(NOON) + 1, NOON + 2 * MINUTE)
    assert later == minutes[1:2]


async def test_fields_can_be_asked_for_in_sql(database: Database) -> None:
    await database.time_series.write_points([a_point(123, note="é", large=1.5e16)])
    async with database.transaction() as uow:
        (row,) = await uow.series_points.between("load", NOON, NOON + MINUTE, tags={"host": "a"})
        assert (row.timestamp, row.nanosecond, row.tags) == (NOON, 123, {"host": "a"})
        value = SeriesPoint.fields["value"].astext
        assert (await uow.session.scalars(select(value))).all() == ["1.0"]
        large = select(SeriesPoint.fields["large"].astext)
        assert (await uow.session.scalars(large)).all() == ["15000000000000000.0"]


async def test_a_point_that_is_no_candle_or_trade_is_refused_and_the_rest_is_stored(
    database: Database,
) -> None:
    half = Point(Ohlcv.measurement, a_candle().tags(), {"open": 1.0}, NOON_NS)
    too_long = Tick("k" * 33, PAIR, NOON, "1", EXACT, Decimal(1))
    too_fine = a_candle(volume=Decimal("1E-19"))
    with pytest.raises(PointsRefused) as caught:
        await database.time_series.write_points([half, too_long, too_fine, a_candle(), a_point()])
    reasons = [reason for _, reason in caught.value.refused]
    assert ["high" in reasons[0], "exchange" in reasons[1], "volume" in reasons[2]] == [True] * 3
    assert await database.time_series.latest(Ohlcv.measurement) == as_point(a_candle())
    assert await database.time_series.latest(Tick.measurement) is None
    assert await database.time_series.latest("load") == a_point()


async def test_another_process_knows_the_types_of_fields_from_what_is_stored(database: Database) -> None:
    fields: dict[str, FieldValue] = {"f": 1.0, "i": 1, "b": True, "s": "1", "g": 1e300}
    await database.time_series.write_points([Point("load", {}, fields, NOON_NS)])
    another = PostgresTimeSeriesStore(database.pool)
    wrong = [
        Point("load", {}, {name: value}, NOON_NS + 1)
        for name, value in zip(fields, [1, 1.0, 1, 1, 1], strict=True)
    ]
    with pytest.raises(PointsRefused) as caught:
        await another.write_points(wrong)
    assert [
        f"stored={name!r}" in reason
        for name, (_, reason) in zip(
            ("float", "integer", "boolean", "string", "float"), caught.value.refused, strict=True
        )
    ] == [True] * 5
    await another.write_points([Point("load", {}, fields, NOON_NS + 1)])


async def test_what_was_not_committed_is_not_known_either(database: Database, owner_url: URL) -> None:
    store = database.time_series
    async with DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as pool:
        async with pool.transaction() as uow:
            await uow.session.execute(text("REVOKE INSERT ON series_points FROM gal_friday_trader"))
        with pytest.raises(PermissionDenied):
            await store.write_points([a_point()])
        async with pool.transaction() as uow:
            await uow.session.execute(text("GRANT INSERT ON series_points TO gal_friday_trader"))
    await store.write_points([Point("load", {}, {"value": "one"}, NOON_NS)])


async def test_a_trader_removes_nothing(database: Database) -> None:
    await database.time_series.write_points([a_point(), a_candle()])
    span = (NOON, NOON + timedelta(days=1))
    for measurement in ("load", Ohlcv.measurement):
        with pytest.raises(PermissionDenied):
            await database.time_series.delete_range(measurement, *span)
    with pytest.raises(AppendOnlyViolated):
        await database.time_series.delete_range(Tick.measurement, *span)
    assert await database.time_series.latest("load") == a_point()


async def test_points_of_a_year_without_a_partition_are_kept(database: Database) -> None:
    old = Point("load", {}, {"value": 1.0}, 1)
    await database.time_series.write_points([old])
    assert await database.time_series.query_data("load", start=0, end=2) == [old]
