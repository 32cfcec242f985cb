"""CSV, with a header of any of the usual spellings or without one, in the formats known by their shape."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from gal_friday.adapters.market_files import binance, kraken
from gal_friday.adapters.market_files.content import REQUIRED, Content, Kind, refuse, shown
from gal_friday.adapters.market_files.opening import reading
from gal_friday.adapters.market_files.table import columns_by_name, is_header

_DELIMITERS = ",;\t"


def csv_rows(path: Path, text: TextIO) -> Content:
    """Candles or trades of a CSV file. Raises UnreadableFile."""
    lines = _lines(path, text)
    number, first = next(lines)
    header = [cell.strip().lower() for cell in first]
    if is_header(header):
        kind, columns = columns_by_name(path, first, f"line {number}")
        known = binance.format_of(header)
        return Content(known or "CSV", kind, columns, lines, exchange=binance.EXCHANGE if known else None)
    rows = _from(number, first, lines)
    if found := binance.columns_of(first):
        name, kind, columns = found
        return Content(name, kind, columns, rows, exchange=binance.EXCHANGE)
    if len(first) == len(REQUIRED[Kind.CANDLES]):
        return Content("CSV", Kind.CANDLES, REQUIRED[Kind.CANDLES], rows)
    if shape := kraken.columns_of(first):
        kind, columns = shape
        return Content("Kraken CSV", kind, columns, rows, exchange=kraken.EXCHANGE)
    candles, trades = (",".join(REQUIRED[kind]) for kind in Kind)
    return refuse(
        path,
        f"is of no format known; name the columns in the first line: {candles} or {trades}",
        at=f"line {number}",
        columns=[shown(cell) for cell in first[:12]],
    )


def _lines(path: Path, text: TextIO) -> Iterator[tuple[int, Sequence[str]]]:
    """Rows that are not empty, each with the number of its (last) line; there is at least one."""
    with reading(path, "line 1"):
        beginning = text.readline()
        while beginning.strip() == "":  # recognised as not empty
            beginning = text.readline()
        text.seek(0)
    delimiter = max(_DELIMITERS, key=beginning.count)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        try:
            with reading(path, f"line {reader.line_num + 1}"):
                row = next(reader, None)
        except csv.Error as error:
            refuse(path, f"is not CSV: {error}", at=f"line {reader.line_num}")
        if row is None:
            return
        if row:
            yield reader.line_num, row


def _from(
    number: int, first: Sequence[str], lines: Iterator[tuple[int, Sequence[str]]]
) -> Iterator[tuple[int, Sequence[str]]]:
    yield number, first
    yield from lines
