"""Binance: the CSV files of data.binance.vision, with a header (futures) or without (spot).

https://github.com/binance/binance-public-data tells their columns. Times are in milliseconds, those of spot
from 2025 on in microseconds.
"""

import re
from collections.abc import Sequence

from gal_friday.adapters.market_files.content import Kind

EXCHANGE = "binance"
KLINES = (
    *("timestamp", "open", "high", "low", "close", "volume", "end", "quote_volume", "trades_count"),
    *("", "", ""),  # what takers bought, and a column Binance calls ignore
)
_AGGREGATE_TRADES = ("trade_id", "price", "quantity", "", "", "timestamp", "buyer_is_maker")
_TRADES = ("trade_id", "price", "quantity", "", "timestamp", "buyer_is_maker")
_WHOLE = re.compile(r"[0-9]+")
_FLAGS = frozenset({"true", "false"})


def columns_of(cells: Sequence[str]) -> tuple[str, Kind, Sequence[str]] | None:
    """Format, kind and columns of a file without a header whose first row is *cells*; None for others'."""
    if len(cells) == len(KLINES) and _WHOLE.fullmatch(cells[6]):
        return "Binance klines", Kind.CANDLES, KLINES
    if len(cells) in (7, 8) and cells[6].lower() in _FLAGS and _WHOLE.fullmatch(cells[5]):
        return "Binance aggTrades", Kind.TRADES, (*_AGGREGATE_TRADES, "")[: len(cells)]
    if len(cells) in (6, 7) and cells[5].lower() in _FLAGS and _WHOLE.fullmatch(cells[4]):
        return "Binance trades", Kind.TRADES, (*_TRADES, "")[: len(cells)]
    return None


def format_of(header: Sequence[str]) -> str | None:
    """The format of a file with this header, in lower case; None for others'."""
    names = set(header)
    if {"open_time", "close_time", "quote_volume"} <= names:
        return "Binance klines"
    if {"agg_trade_id", "transact_time"} <= names:
        return "Binance aggTrades"
    return "Binance trades" if {"quote_qty", "is_buyer_maker"} <= names else None
