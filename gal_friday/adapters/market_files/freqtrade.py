"""freqtrade's JSON: a list of rows.

Candles are `[ms, open, high, low, close, volume]`, trades `[ms, id, type, side, price, amount, cost]`:
https://www.freqtrade.io/en/stable/data-download
"""

from itertools import chain
from pathlib import Path
from typing import TextIO

from gal_friday.adapters.market_files import json_rows
from gal_friday.adapters.market_files.content import REQUIRED, Content, Kind, refuse

_TRADES = ("timestamp", "trade_id", "", "side", "price", "quantity", "")


def json_list(path: Path, text: TextIO) -> Content:
    """Candles or trades of a JSON list. Raises UnreadableFile."""
    rows = json_rows.rows(path, text)
    first = next(rows, None)
    if first is None:
        refuse(path, "holds no candles or trades")
    if not isinstance(first[1], list):
        refuse(path, "is neither an answer of Kraken's nor freqtrade's list")
    kind = Kind.TRADES if len(first[1]) == len(_TRADES) else Kind.CANDLES
    columns = _TRADES if kind is Kind.TRADES else REQUIRED[kind]
    return Content(f"freqtrade {kind} JSON", kind, columns, chain([first], rows), "row")
