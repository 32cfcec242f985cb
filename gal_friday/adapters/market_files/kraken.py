"""Kraken: answers of its public REST interface, messages of its streams, and CSV files of its history.

REST, https://docs.kraken.com/api/docs/rest-api/get-ohlc-data and …/get-recent-trades: one pair an answer.
The last candle of an answer is the one still being made; `last` names the one before.
CSV without a header, times in seconds: `time,price,volume` of trades, and of candles
`time,open,high,low,close,volume,trades`, with the length in minutes in the name (XBTUSD_60.csv).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gal_friday.adapters.candle_rows import BadCell, point_in_time
from gal_friday.adapters.market_files.content import Content, Kind, refuse, shown
from gal_friday.adapters.market_files.lengths import timeframe_of
from gal_friday.adapters.pairs import canonical_pair
from gal_friday.errors import InvalidValue

EXCHANGE = "kraken"
_CSV_TRADES = ("timestamp", "price", "quantity")
_CSV_CANDLES = ("timestamp", "open", "high", "low", "close", "volume", "trades_count")
_CANDLES = ("timestamp", "open", "high", "low", "close", "vwap", "volume", "trades_count")
_TRADES = ("price", "quantity", "timestamp", "side", "", "", "trade_id")

_YEAR_MINUTES = 525_600
# What a stream calls our columns.
_STREAM_TRADES = {
    "trading_pair": "symbol",
    "timestamp": "timestamp",
    "price": "price",
    "quantity": "qty",
    "side": "side",
    "trade_id": "trade_id",
}
_STREAM_CANDLES = {
    "trading_pair": "symbol",
    "timestamp": "interval_begin",
    **{name: name for name in ("open", "high", "low", "close", "volume", "vwap")},
    "trades_count": "trades",
}


def message(path: Path, document: Mapping[str, object]) -> Content:
    """Candles or trades of an answer of the REST interface, or of a message of the streams.

    Raises UnreadableFile.
    """
    match document:
        case {"error": [first, *_]}:
            refuse(path, "is an error of Kraken's, not candles or trades", value=shown(first))
        case {"result": dict() as result}:
            pairs = [name for name in result if name != "last"]
        case {"channel": "ohlc" | "trade" as channel, "data": list(items)}:
            return _stream_message(channel, items)
        case _:
            refuse(path, "is neither an answer of Kraken's nor freqtrade's list", keys=sorted(document)[:10])
    rows = result[pairs[0]] if len(pairs) == 1 else None
    if not isinstance(rows, list):
        refuse(path, "is not Kraken's answer for one pair", result=[shown(name) for name in result])
    kind = _kind(rows)
    numbered = _numbered(rows)
    if kind is Kind.TRADES:
        return Content(
            "Kraken Trades", kind, _TRADES, numbered, "row", exchange=EXCHANGE, trading_pair=_pair(pairs[0])
        )
    return Content(
        "Kraken OHLC",
        kind,
        _CANDLES,
        numbered,
        "row",
        exchange=EXCHANGE,
        trading_pair=_pair(pairs[0]),
        final_until=_moment(path, result.get("last")),
    )


def _stream_message(channel: str, items: Sequence[object]) -> Content:
    """Of version 2 of the WebSocket interface; its candles are still being made."""
    name = f"Kraken {channel} stream"
    if channel == "trade":
        trades = [_cells(item, _STREAM_TRADES) for item in items]
        return Content(name, Kind.TRADES, list(_STREAM_TRADES), _numbered(trades), "row", exchange=EXCHANGE)
    candles = [_cells(item, _STREAM_CANDLES, _interval(item), False) for item in items]
    columns = [*_STREAM_CANDLES, "timeframe", "is_final"]
    return Content(name, Kind.CANDLES, columns, _numbered(candles), "row", exchange=EXCHANGE)


def _cells(item: object, names: Mapping[str, str], *others: object) -> Any:
    return [*(item.get(name) for name in names.values()), *others] if isinstance(item, dict) else item


def _interval(item: object) -> str | None:
    match item:
        case {"interval": int() as minutes} if 0 < minutes <= _YEAR_MINUTES:
            return timeframe_of(timedelta(minutes=minutes))
    return None


def _numbered(rows: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    return iter(enumerate(rows, 1))


def _moment(path: Path, last: object) -> datetime | None:
    if last is None:
        return None
    try:
        return point_in_time(last)
    except BadCell as error:
        return refuse(path, f"last {error.problem}", value=shown(error.value))


def columns_of(cells: Sequence[str]) -> tuple[Kind, Sequence[str]] | None:
    """Kind and columns of a file without a header whose first row is *cells*; None for others'."""
    if len(cells) == len(_CSV_TRADES):
        return Kind.TRADES, _CSV_TRADES
    return (Kind.CANDLES, _CSV_CANDLES) if len(cells) == len(_CSV_CANDLES) else None


def _kind(rows: Sequence[object]) -> Kind:
    """Trades have the side, as b or s, in their fourth cell; candles have numbers alone."""
    match rows:
        case [[_, _, _, "b" | "s", *_], *_]:
            return Kind.TRADES
    return Kind.CANDLES


def _pair(name: str) -> str | None:
    try:
        return canonical_pair(name)
    except InvalidValue:
        return None
