"""Measurements with tables of their own in PostgreSQL, as rows and back: exact, not by way of a float."""

from typing import Any, TypeVar

from gal_friday.dal.models import Base, Candle, MarketTrade, Side
from gal_friday.dal.models.types import DIALECT
from gal_friday.dal.upserts import given_values
from gal_friday.errors import InvalidValue
from gal_friday.timeseries.bars import Bar, Bars
from gal_friday.timeseries.instants import moment
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.points import Measured

R = TypeVar("R", bound=Base)


def candle_of(measured: Measured) -> Candle:
    """The row of a candle. Raises InvalidValue for what its table cannot hold."""
    ohlcv = measured if isinstance(measured, Ohlcv) else Ohlcv.from_point(measured)
    return _checked(
        Candle(
            exchange=ohlcv.exchange,
            trading_pair=ohlcv.trading_pair,
            timeframe=ohlcv.interval,
            timestamp=moment(ohlcv.timestamp_ns),
            open=ohlcv.open,
            high=ohlcv.high,
            low=ohlcv.low,
            close=ohlcv.close,
            volume=ohlcv.volume,
            vwap=ohlcv.vwap,
            trades_count=ohlcv.trades_count,
            is_final=ohlcv.is_final,
        )
    )


def ohlcv_of(candle: Candle) -> Ohlcv:
    """The candle of a row."""
    return Ohlcv(
        candle.exchange,
        candle.trading_pair,
        candle.timeframe,
        candle.timestamp,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        vwap=candle.vwap,
        trades_count=candle.trades_count,
        is_final=candle.is_final,
    )


def ohlcv_of_bar(bars: Bars, bar: Bar) -> Ohlcv:
    """One of *bars* as a candle; it is final where nothing of it is missing or changes."""
    return Ohlcv(
        bars.exchange,
        bars.trading_pair,
        bars.timeframe,
        bar.timestamp,
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        vwap=bar.vwap,
        trades_count=bar.trades_count,
        is_final=bar.is_complete,
    )


def trade_of(measured: Measured) -> MarketTrade:
    """The row of a trade. Raises InvalidValue for what its table cannot hold."""
    tick = measured if isinstance(measured, Tick) else Tick.from_point(measured)
    return _checked(
        MarketTrade(
            exchange=tick.exchange,
            trading_pair=tick.trading_pair,
            traded_at=moment(tick.timestamp_ns),
            trade_id=tick.trade_id,
            price=tick.price,
            quantity=tick.quantity,
            side=None if tick.side is None else Side(tick.side),
        )
    )


def tick_of(trade: MarketTrade) -> Tick:
    """The trade of a row."""
    return Tick(
        trade.exchange,
        trade.trading_pair,
        trade.traded_at,
        trade.trade_id,
        trade.price,
        trade.quantity,
        trade.side,
    )


def _checked(row: R) -> R:
    """*row*, each value of which its column can hold. Raises InvalidValue."""
    columns: Any = row.__table__.c
    for name, value in given_values(row).items():
        try:
            columns[name].type.process_bind_param(value, DIALECT)
        except InvalidValue as error:
            raise InvalidValue(error.explanation, column=name, **error.facts) from None
    return row
