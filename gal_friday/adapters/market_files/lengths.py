"""How long candles are that do not say it themselves."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from gal_friday.adapters.candle_rows import BadCell, exact_number, point_in_time
from gal_friday.adapters.market_files.cells import Row
from gal_friday.adapters.market_files.content import Cells, refuse

_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_SHORTEST_MONTH, _LONGEST_MONTH = timedelta(days=28), timedelta(days=31)


def timeframe_of(duration: timedelta) -> str:
    """A candle's length as tables write it.

    >>> timeframe_of(timedelta(minutes=5)), timeframe_of(timedelta(hours=24))
    ('5m', '1d')
    """
    if _SHORTEST_MONTH < duration <= _LONGEST_MONTH:
        return "1M"
    seconds = duration // timedelta(seconds=1)
    unit, length = next((unit, length) for unit, length in _UNITS if seconds % length == 0)
    return f"{seconds // length}{unit}"


def told_by_rows(path: Path, columns: Sequence[str], rows: Sequence[tuple[int, Cells]]) -> str:
    """The timeframe that candles with these first *rows* have.

    From where one ends, or from their usual distance: gaps are longer, nothing is shorter. Rows that cannot
    be read tell nothing. Raises UnreadableFile where too few can.
    """
    lengths: Counter[timedelta] = Counter()
    begun: list[datetime] = []
    row = Row(columns)
    for _, cells in rows:
        try:
            row.take(cells, columns)
            begun.append(row.get("timestamp", point_in_time))
            if row.has("end"):
                lengths[row.get("end", _moment_after) - begun[-1]] += 1
        except BadCell:
            continue  # refused in its turn, with file, place and value
    for earlier, later in pairwise(begun):
        if not row.has("end") and later > earlier:
            lengths[later - earlier] += 1
    if not lengths:
        refuse(path, "too few candles to tell their length; give it with --timeframe", candles=len(begun))
    usual = max(lengths, key=lambda length: (lengths[length], -length))
    if usual < timedelta(seconds=1) or usual % timedelta(seconds=1):
        refuse(path, "candles are not whole seconds apart", distance=str(usual))
    return timeframe_of(usual)


def _moment_after(value: object) -> datetime:
    """Binance's candles end in the last instant that is theirs: 59.999 s, in the unit it is written in."""
    return point_in_time(exact_number(value) + 1)
