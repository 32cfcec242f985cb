"""Recorded candles, read from a file of any format candle_formats.py knows."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from gal_friday.adapters.candle_formats import Content, csv_content, json_content
from gal_friday.adapters.candle_rows import BadCell, CandleRow, exact_number, point_in_time, whole_number
from gal_friday.adapters.pairs import canonical_pair
from gal_friday.errors import InvalidValue, UnreadableFile

_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_SHOWN_CHARACTERS = 80
_FILE_NAME = re.compile(r"(?P<pair>[A-Za-z0-9.]+_[A-Za-z0-9.]+)-(?P<length>[1-9][0-9]*)(?P<unit>[smhdw])")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CandleFile:
    """What a file holds. *exchange* and *trading_pair* are None where neither content nor name tells."""

    path: Path
    format: str
    sha256: str
    exchange: str | None
    trading_pair: str | None
    timeframe: str
    duration: timedelta
    candles: Sequence[CandleRow]


def read_candles(path: Path) -> CandleFile:
    """The candles of a file, oldest first; gaps may be between them.

    Raises UnreadableFile naming the file, the row or line and the value: not JSON or CSV, an unknown shape,
    NaN, a low above the high, a time that repeats or goes back, missing columns, no candles at all.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UnreadableFile(error.strerror or "cannot be opened", file=str(path)) from None
    except UnicodeDecodeError as error:
        raise UnreadableFile("is not UTF-8 text", file=str(path), byte=error.start) from None
    if not text.strip():
        raise UnreadableFile("is empty", file=str(path))
    content = json_content(path, text) if text.lstrip()[0] in "[{" else csv_content(path, text)
    candles = _candles(path, content)
    named = _FILE_NAME.match(path.stem)
    duration = _duration(path, candles, named)
    return CandleFile(
        path=path,
        format=content.format,
        sha256=hashlib.sha256(data).hexdigest(),
        exchange=content.exchange,
        trading_pair=_pair(content.pair or (named and named["pair"])),
        timeframe=timeframe_of(duration),
        duration=duration,
        candles=candles,
    )


def timeframe_of(duration: timedelta) -> str:
    """A candle's length as tables write it.

    >>> timeframe_of(timedelta(minutes=5)), timeframe_of(timedelta(hours=24))
    ('5m', '1d')
    """
    seconds = duration // timedelta(seconds=1)
    unit, length = next((unit, length) for unit, length in _UNITS if seconds % length == 0)
    return f"{seconds // length}{unit}"


def _candles(path: Path, content: Content) -> Sequence[CandleRow]:
    candles: list[CandleRow] = []
    for place, row in content.rows:
        try:
            candle = _candle(row, content.columns)
            _check_order(candle, candles[-1] if candles else None)
        except BadCell as error:
            value = str(error.value)
            shown = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
            raise UnreadableFile(error.problem, file=str(path), at=place, value=shown) from None
        candles.append(candle)
    if not candles:
        raise UnreadableFile("holds no candles", file=str(path))
    return tuple(candles)


def _candle(row: object, columns: Sequence[str]) -> CandleRow:
    if not isinstance(row, list) or len(row) != len(columns):
        raise BadCell(f"is not a row of {', '.join(columns)}", row)
    cells = dict(zip(columns, row, strict=True))
    prices = {name: _cell(cells, name, exact_number) for name in ("open", "high", "low", "close", "volume")}
    vwap = _cell(cells, "vwap", exact_number) if _given(cells, "vwap") else None
    return CandleRow(
        timestamp=_cell(cells, "timestamp", point_in_time),
        vwap=vwap or None,  # Kraken sends 0.0 where nothing was traded
        trades_count=_cell(cells, "trades_count", whole_number) if _given(cells, "trades_count") else None,
        **prices,
    )


def _cell(cells: Mapping[str, object], column: str, read: Callable[[object], T]) -> T:
    try:
        return read(cells[column])
    except BadCell as error:
        raise BadCell(f"{column} {error.problem}", error.value) from None


def _given(cells: Mapping[str, object], column: str) -> bool:
    value = cells.get(column)
    return value is not None and value != ""


def _check_order(candle: CandleRow, previous: CandleRow | None) -> None:
    if previous is None or candle.timestamp > previous.timestamp:
        return
    problem = "repeats" if candle.timestamp == previous.timestamp else "goes back"
    raise BadCell(f"the time {problem}", candle.timestamp.isoformat())


def _duration(path: Path, candles: Sequence[CandleRow], named: re.Match[str] | None) -> timedelta:
    """How long one candle is: their usual distance; gaps are longer, nothing is shorter."""
    if len(candles) == 1:
        if named:
            return int(named["length"]) * timedelta(seconds=dict(_UNITS)[named["unit"]])
        raise UnreadableFile(
            "one candle does not tell its length; call the file BASE_QUOTE-1m", file=str(path)
        )
    distances = Counter(later.timestamp - earlier.timestamp for earlier, later in pairwise(candles))
    usual = max(distances, key=lambda distance: (distances[distance], -distance))
    if (shortest := min(distances)) < usual:
        row = next(
            number
            for number, (earlier, later) in enumerate(pairwise(candles), 2)
            if later.timestamp - earlier.timestamp == shortest
        )
        raise UnreadableFile(
            "candles overlap",
            file=str(path),
            candle=row,
            seconds_apart=str(shortest / timedelta(seconds=1)),
            usual=str(usual / timedelta(seconds=1)),
        )
    if usual % timedelta(seconds=1):
        raise UnreadableFile("candles are not whole seconds apart", file=str(path), distance=str(usual))
    return usual


def _pair(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return canonical_pair(name)
    except InvalidValue:
        return None
