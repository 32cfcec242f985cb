"""Columns found by their names, whichever of the usual spellings a file has for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from gal_friday.adapters.market_files.content import REQUIRED, Kind, refuse

_TIMES = ("timestamp", "time", "date", "datetime", "open_time", "transact_time", "traded_at")
_COMMON: Mapping[str, str] = MappingProxyType(
    {"": "", "exchange": "exchange", "trading_pair": "trading_pair"}
)
_SPELLINGS: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        Kind.CANDLES: {
            **{name: name for name in REQUIRED[Kind.CANDLES]},
            **dict.fromkeys(("trades_count", "trades", "count", "number_of_trades"), "trades_count"),
            **dict.fromkeys(("close_time",), "end"),
            **dict.fromkeys(("quote_volume", "quote_asset_volume"), "quote_volume"),
            **{name: name for name in ("timeframe", "vwap", "is_final", "data_source", "data_quality_score")},
        },
        Kind.TRADES: {
            "price": "price",
            **dict.fromkeys(("quantity", "qty", "amount", "size", "volume"), "quantity"),
            **dict.fromkeys(("trade_id", "agg_trade_id", "id"), "trade_id"),
            "side": "side",
            "is_buyer_maker": "buyer_is_maker",
        },
    }
)


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first row names columns rather than being one of numbers."""
    names = {cell.strip().lower() for cell in cells}
    return bool(names & {"open", "price", "close"}) or bool(names & set(_TIMES))


def columns_by_name(path: Path, header: Sequence[str], place: str) -> tuple[Kind, Sequence[str]]:
    """What the rows are, and a common name for each column; of two that mean the same, the first counts.

    Raises UnreadableFile where a column is missing.
    """
    names = [name.strip().lower() for name in header]
    kind = Kind.TRADES if "price" in names and "open" not in names else Kind.CANDLES
    spellings = _SPELLINGS[kind]
    columns: list[str] = []
    for position, name in enumerate(names):
        # pandas writes its index without a name; only where nothing else tells the time it is the time.
        is_time = name in _TIMES or (name == "" and position == 0 and not set(names) & set(_TIMES))
        common = "timestamp" if is_time else (_COMMON.get(name) or spellings.get(name, ""))
        columns.append("" if common in columns else common)
    if missing := [name for name in REQUIRED[kind] if name not in columns]:
        refuse(path, "misses columns", at=place, missing=missing, columns=list(header))
    return kind, columns
