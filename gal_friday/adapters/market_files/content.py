"""What a recognised file consists of: columns under common names, and rows with their places."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from gal_friday.errors import UnreadableFile

_SHOWN_CHARACTERS = 80


class Kind(StrEnum):
    """What the rows of a file are."""

    CANDLES = "candles"
    TRADES = "trades"


class Format(StrEnum):
    """What can be written."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


class OnError(StrEnum):
    """What becomes of a file in which a row is refused: its other rows are kept, or nothing is."""

    KEEP = "keep"
    REFUSE_FILE = "refuse-file"


#: Columns a row of each kind must have; further ones are in `candles.py` and `trades.py`.
REQUIRED = {
    Kind.CANDLES: ("timestamp", "open", "high", "low", "close", "volume"),
    Kind.TRADES: ("timestamp", "price", "quantity"),
}

Cells = Sequence[object]


@dataclass(frozen=True, slots=True)
class Content:
    """Rows of one recognised format. *rows* can be gone through once.

    *columns* are common names of the cells; a cell of a column that means nothing here has the name "".
    *exchange*, *trading_pair* and *timeframe* are None where the content does not tell.
    *final_until* is the last candle that will not change any more, where the format says.
    """

    format: str
    kind: Kind
    columns: Sequence[str]
    rows: Iterator[tuple[int, Cells]]
    place: str = "line"
    exchange: str | None = None
    trading_pair: str | None = None
    timeframe: str | None = None
    final_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be taken as it is, where it stands, and the value that is wrong."""

    file: Path
    at: str
    problem: str
    value: str

    def __str__(self) -> str:
        return f"{self.file}, {self.at}: {self.problem} ({self.value!r})"


def shown(value: object) -> str:
    """*value* in few enough characters for a message."""
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def refuse(path: Path, problem: str, **facts: object) -> NoReturn:
    """Raise UnreadableFile for the whole file."""
    raise UnreadableFile(problem, file=str(path), **facts) from None
