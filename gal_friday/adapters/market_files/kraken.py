"""Kraken: the answers of its public REST interface, and the CSV files of its downloadable history.

REST, https://docs.kraken.com/api/docs/rest-api/get-ohlc-data and …/get-recent-trades: one pair an answer.
The last candle of an answer is the one still being made; `last` names the one before.
CSV without a header, times in seconds: `time,price,volume` of trades, and of candles
`time,open,high,low,close,volume,trades`, with the length in minutes in the name (XBTUSD_60.csv).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gal_friday.adapters.candle_rows import point_in_time
from gal_friday.adapters.market_files.content import Content, Kind, refuse, shown
from gal_friday.adapters.pairs import canonical_pair
from gal_friday.errors import InvalidValue

EXCHANGE = "kraken"
_CSV_TRADES = ("timestamp", "price", "quantity")
_CSV_CANDLES = ("timestamp", "open", "high", "low", "close", "volume", "trades_count")
_CANDLES = ("timestamp", "open", "high", "low", "close", "vwap", "volume", "trades_count")
_TRADES = ("price", "quantity", "timestamp", "side", "", "", "trade_id")


def rest_answer(path: Path, answer: Mapping[str, object]) -> Content:
    """Candles or trades of an answer of the REST interface. Raises UnreadableFile."""
    match answer:
        case {"error": [first, *_]}:
            refuse(path, "is an error of Kraken's, not candles or trades", value=shown(first))
        case {"result": dict() as result}:
            pairs = [name for name in result if name != "last"]
        case _:
            refuse(path, "is neither an answer of Kraken's nor freqtrade's list", keys=sorted(answer)[:10])
    rows = result[pairs[0]] if len(pairs) == 1 else None
    if not isinstance(rows, list):
        refuse(path, "is not Kraken's answer for one pair", result=[shown(name) for name in result])
    kind = _kind(rows)
    numbered = iter(enumerate(rows, 1))
    if kind is Kind.TRADES:
        return Content(
            "Kraken Trades", kind, _TRADES, numbered, "row", exchange=EXCHANGE, trading_pair=_pair(pairs[0])
        )
    last = result.get("last")
    return Content(
        "Kraken OHLC",
        kind,
        _CANDLES,
        numbered,
        "row",
        exchange=EXCHANGE,
        trading_pair=_pair(pairs[0]),
        final_until=point_in_time(last) if isinstance(last, int) and last > 1 else None,
    )


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
