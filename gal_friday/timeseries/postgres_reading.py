"""Points read from PostgreSQL, whichever of its tables they are in."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import QueryableAttribute

from gal_friday.dal.models import Candle, MarketTrade, Side
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.timeseries.instants import moment
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.points import Point, as_point
from gal_friday.timeseries.points_in_tables import ohlcv_of, tick_of

Criteria = list[ColumnElement[bool]]

_SIDES = frozenset(map(str, Side))
_CANDLE_TAGS = {
    "exchange": Candle.exchange,
    "trading_pair": Candle.trading_pair,
    "interval": Candle.timeframe,
}
_TRADE_TAGS = {
    "exchange": MarketTrade.exchange,
    "trading_pair": MarketTrade.trading_pair,
    "side": MarketTrade.side,
}


async def points_between(
    uow: UnitOfWork,
    measurement: str,
    tags: Mapping[str, str],
    *,
    start_ns: int,
    end_ns: int,
    fields: Collection[str] | None = None,
) -> list[Point]:
    """Points in the span whose tags contain *tags*, oldest first; with *fields* those that have any, without
    the others.
    """
    if measurement == Ohlcv.measurement:
        criteria = candles_between(tags, start_ns, end_ns)
        candles = await uow.market_data.find_all(*criteria, order_by=Candle.timestamp)
        points = [as_point(ohlcv_of(candle)) for candle in candles]
    elif measurement == Tick.measurement:
        # The digits below a microsecond are the ticks' own.
        criteria = [
            *_tagged(_TRADE_TAGS, tags),
            MarketTrade.traded_at >= moment(start_ns),
            MarketTrade.traded_at <= moment(end_ns),
        ]
        trades = await uow.market_trades.find_all(*criteria, order_by=MarketTrade.traded_at)
        ticks = (as_point(tick_of(trade)) for trade in trades)
        points = sorted((tick for tick in ticks if start_ns <= tick.timestamp_ns < end_ns), key=_time)
    else:
        points = await uow.series_points.points(
            measurement, tags, start_ns=start_ns, end_ns=end_ns, fields=fields
        )
    return points if fields is None else [part for point in points if (part := _part(point, fields))]


async def latest_point(uow: UnitOfWork, measurement: str, tags: Mapping[str, str]) -> Point | None:
    """The newest point whose tags contain *tags*, or None."""
    if measurement == Ohlcv.measurement:
        criteria = _tagged(_CANDLE_TAGS, tags)
        candles = await uow.market_data.find_all(*criteria, order_by=Candle.timestamp.desc(), limit=1)
        return as_point(ohlcv_of(candles[0])) if candles else None
    if measurement == Tick.measurement:
        return await _latest_tick(uow, _tagged(_TRADE_TAGS, tags))
    points = await uow.series_points.points(measurement, tags, newest=1)
    return points[0] if points else None


def candles_between(tags: Mapping[str, str], start_ns: int, end_ns: int) -> Criteria:
    """Candles in the span whose tags contain *tags*; they begin at whole microseconds."""
    return [
        *_tagged(_CANDLE_TAGS, tags),
        Candle.timestamp >= moment(start_ns + 999),
        Candle.timestamp < moment(end_ns + 999),
    ]


async def _latest_tick(uow: UnitOfWork, criteria: Criteria) -> Point | None:
    newest = await uow.market_trades.find_all(*criteria, order_by=MarketTrade.traded_at.desc(), limit=1)
    if not newest:
        return None
    # Of several in that microsecond their own digits tell which is the last.
    same_time = MarketTrade.traded_at == newest[0].traded_at
    trades = await uow.market_trades.find_all(*criteria, same_time)
    return max((as_point(tick_of(trade)) for trade in trades), key=_time)


def _tagged(columns: Mapping[str, QueryableAttribute[Any]], tags: Mapping[str, str]) -> Criteria:
    """Rows with *tags*: none, where it is a tag or a side they never have."""
    if not tags.keys() <= columns.keys() or not {tags.get("side", "BUY")} <= _SIDES:
        first = next(iter(columns.values()))
        return [first.is_(None)]
    return [columns[name] == value for name, value in tags.items()]


def _part(point: Point, fields: Collection[str]) -> Point | None:
    part = {name: value for name, value in point.fields().items() if name in fields}
    return Point(point.measurement, point.tags(), part, point.timestamp_ns) if part else None


def _time(point: Point) -> int:
    return point.timestamp_ns
