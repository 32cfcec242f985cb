"""Formats of recorded candles: Kraken's OHLC answer, freqtrade's JSON, and CSV, told apart by content.

Numbers are taken as they are written; none passes through a float.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from gal_friday.adapters.candle_rows import BadCell, CandleRow
from gal_friday.errors import UnreadableFile

_TIME_HEADERS = ("timestamp", "time", "date", "datetime", "open_time", "")  # "": the index pandas writes
_COUNT_HEADERS = ("trades_count", "trades", "count")


@dataclass(frozen=True, slots=True)
class Content:
    """Rows of one recognised format, each with the place in the file it stands at."""

    format: str
    columns: Sequence[str]
    rows: Iterator[tuple[str, Sequence[object]]]
    exchange: str | None = None
    pair: str | None = None


def json_content(path: Path, text: str) -> Content:
    """Rows of Kraken's or freqtrade's JSON. Raises UnreadableFile."""

    def refuse(constant: str) -> NoReturn:
        raise BadCell("is not a finite number", constant)

    try:
        document = json.loads(text, parse_float=Decimal, parse_constant=refuse)
    except BadCell as error:
        raise UnreadableFile(error.problem, file=str(path), value=error.value) from None
    except RecursionError:
        raise UnreadableFile("is nested too deep for candles", file=str(path)) from None
    except json.JSONDecodeError as error:
        raise UnreadableFile(f"is not JSON: {error.msg}", file=str(path), line=error.lineno) from None
    except (ValueError, ArithmeticError) as error:  # a number of more digits than Python converts
        raise UnreadableFile(f"holds an impossible number: {error}", file=str(path)) from None
    match document:
        case {"error": [first, *_]}:
            raise UnreadableFile("is an error of Kraken's, not candles", file=str(path), value=first)
        case {"result": dict() as result}:
            return _kraken_content(path, result)
        case [list(), *_]:
            return Content("freqtrade JSON", CandleRow.COLUMNS, _numbered("row", document, 0))
        case []:
            raise UnreadableFile("holds no candles", file=str(path))
    raise UnreadableFile("is neither Kraken's OHLC answer nor freqtrade's list of candles", file=str(path))


def _kraken_content(path: Path, result: dict[str, Any]) -> Content:
    pairs = [name for name in result if name != "last"]
    if len(pairs) != 1 or not isinstance(result[pairs[0]], list):
        raise UnreadableFile("is not Kraken's OHLC answer for one pair", file=str(path), result=list(result))
    columns = ("timestamp", "open", "high", "low", "close", "vwap", "volume", "trades_count")
    return Content("Kraken OHLC", columns, _numbered("row", result[pairs[0]], 0), "kraken", pairs[0])


def csv_content(path: Path, text: str) -> Content:
    """Rows of a CSV file, with a header or with the six usual columns in their order.

    Raises UnreadableFile.
    """
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UnreadableFile(f"is not CSV: {error}", file=str(path)) from None
    start = next(number for number, line in enumerate(lines) if line)
    header = [cell.strip().lower() for cell in lines[start]]
    if "open" not in header:
        if len(header) != len(CandleRow.COLUMNS) or header[0] in _TIME_HEADERS:
            raise UnreadableFile(
                "has no candles: a row of one holds " + ", ".join(CandleRow.COLUMNS),
                file=str(path),
                line=start + 1,
                columns=lines[start],
            )
        return Content("CSV", CandleRow.COLUMNS, _numbered("line", lines, start))
    names = _column_names(header)
    if missing := [name for name in CandleRow.COLUMNS if name not in names]:
        raise UnreadableFile("misses columns", file=str(path), missing=missing, columns=lines[start])
    return Content("CSV", names, _numbered("line", lines, start + 1))


def _column_names(header: Sequence[str]) -> Sequence[str]:
    """Our names of the columns; of two that tell the time, the first counts."""
    names = list(header)
    if times := [position for position, name in enumerate(header) if name in _TIME_HEADERS]:
        names[times[0]] = "timestamp"
        for other in times[1:]:
            names[other] = f"other {header[other]}"
    return ["trades_count" if name in _COUNT_HEADERS else name for name in names]


def _numbered(kind: str, rows: Sequence[Any], start: int) -> Iterator[tuple[str, Sequence[object]]]:
    return ((f"{kind} {number}", row) for number, row in enumerate(rows[start:], start + 1) if row != [])
