"""Statements over stored candles that answer in one round trip what would else be computed row by row."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Interval,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    exists,
    extract,
    func,
    literal,
    or_,
    select,
    values,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.orm import QueryableAttribute

from gal_friday.dal.criteria import within
from gal_friday.dal.models.timeseries import Candle
from gal_friday.dal.models.types import Cost, Money, UtcDateTime
from gal_friday.timeseries.timeframes import Timeframe

_EPOCH_MONTH = 1970 * 12


#: Exchange and pair.
Series = tuple[str, str]


def candles_of(series: Series, timeframe: Any) -> ColumnElement[bool]:
    """Candles of one series and timeframe."""
    exchange, trading_pair = series
    return and_(
        Candle.exchange == exchange, Candle.trading_pair == trading_pair, Candle.timeframe == timeframe
    )


def stored_among(
    series: Series, timeframes: Sequence[Timeframe], start: datetime, end: datetime
) -> Select[tuple[str]]:
    """Which of *timeframes* have a candle in the span: an index probe for each."""
    asked = values(column("timeframe", Text), name="asked").data([(str(each),) for each in timeframes])
    one = exists().where(candles_of(series, asked.c.timeframe), *within(Candle.timestamp, start, end))
    return select(asked.c.timeframe).where(one)


def aggregated(
    series: Series, timeframe: Timeframe, finer: Timeframe, start: datetime, end: datetime
) -> Select[*tuple[Any, ...]]:
    """Candles of *timeframe* from *start* up to *end*, which both begin one, made of the *finer* ones stored.

    The columns are those of `bars.Bar`, which also says what vwap is null for; `begins` is its time. Candles
    that begin off the grid of their timeframe belong to no bar and are left out.
    """
    begins = _begin_of(Candle.timestamp, timeframe, start)
    on_grid = _begin_of(Candle.timestamp, finer, start) == Candle.timestamp
    count = func.count()
    volume = func.sum(Candle.volume, type_=Money())
    value = func.sum(Candle.vwap * Candle.volume, type_=Cost())
    tells_vwap = and_(func.bool_and(or_(Candle.vwap.is_not(None), Candle.volume == 0)), volume > 0)
    tells_trades = func.count(Candle.trades_count) == count
    return (
        select(
            begins.label("begins"),
            _in_order(Candle.open)[1].label("open"),
            func.max(Candle.high).label("high"),
            func.min(Candle.low).label("low"),
            _in_order(Candle.close)[cast(count, Integer)].label("close"),
            volume.label("volume"),
            case((tells_trades, func.sum(Candle.trades_count))).label("trades_count"),
            case((tells_vwap, func.average_price_rounded(value, volume, type_=Money()))).label("vwap"),
            func.bool_and(Candle.is_final).label("is_final"),
            count.label("candles"),
        )
        .where(candles_of(series, str(finer)), *within(Candle.timestamp, start, end), on_grid)
        .group_by("begins")
        .order_by("begins")
    )


def gap_edges(
    series: Series, timeframe: Timeframe, start: datetime, end: datetime
) -> Select[*tuple[Any, ...]]:
    """Each candle that does not follow on its `previous` one, which it tells; the first and last as well."""
    candles = (
        select(
            func.lag(Candle.timestamp).over(order_by=Candle.timestamp).label("previous"),
            Candle.timestamp,
            func.lead(Candle.timestamp).over(order_by=Candle.timestamp).label("following"),
        )
        .where(
            candles_of(series, str(timeframe)),
            *within(Candle.timestamp, start, end),
            _begin_of(Candle.timestamp, timeframe, start) == Candle.timestamp,
        )
        .subquery()
    )
    follows = _later(candles.c.previous, timeframe) == candles.c.timestamp
    return (
        select(candles.c.previous, candles.c.timestamp)
        .where(or_(follows.is_not(True), candles.c.following.is_(None)))
        .order_by(candles.c.timestamp)
    )


def coverage_of(*criteria: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Series, first and last candle, how many, and how many that still change."""
    series = (Candle.exchange, Candle.trading_pair, Candle.timeframe)
    return (
        select(
            *series,
            func.min(Candle.timestamp).label("first"),
            func.max(Candle.timestamp).label("last"),
            func.count().label("candles"),
            func.count().filter(~Candle.is_final).label("live"),
        )
        .where(*criteria)
        .group_by(*series)
        .order_by(*series)
    )


def _in_order(price: ColumnElement[Decimal] | QueryableAttribute[Decimal]) -> Any:
    """An array, whose items can be asked for by position."""
    return func.array_agg(aggregate_order_by(price, Candle.timestamp), type_=ARRAY(Money()))


def _begin_of(when: Any, timeframe: Timeframe, grid: datetime) -> ColumnElement[datetime]:
    """Where the candle of *timeframe* that *when* falls in begins; *grid* is where any of them does."""
    if timeframe.duration is not None:
        origin = literal(grid, UtcDateTime())
        return func.date_bin(literal(timeframe.duration, Interval), when, origin, type_=UtcDateTime())
    in_utc = func.timezone("UTC", when)
    month = extract("year", in_utc) * 12 + extract("month", in_utc) - 1 - _EPOCH_MONTH
    beyond = func.make_interval(0, cast(month % timeframe.count, Integer))
    return func.timezone("UTC", func.date_trunc("month", in_utc) - beyond, type_=UtcDateTime())


def _later(when: ColumnElement[datetime], timeframe: Timeframe) -> ColumnElement[datetime]:
    """*when* one candle later."""
    if timeframe.duration is not None:
        return when + literal(timeframe.duration, Interval)
    months = func.make_interval(0, timeframe.count)
    return func.timezone("UTC", func.timezone("UTC", when) + months, type_=UtcDateTime())
