"""Cells of a row as values of ours; each function raises BadCell for what cannot stand where it does."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy.types import TypeEngine

from gal_friday.adapters.candle_rows import BadCell, exact_number
from gal_friday.adapters.market_files.content import Cells
from gal_friday.adapters.pairs import canonical_pair
from gal_friday.dal.models import Side
from gal_friday.dal.models.types import DIALECT, PlainText
from gal_friday.errors import InvalidValue
from gal_friday.money import amount_rounded
from gal_friday.timeseries.timeframes import parse

T = TypeVar("T")
_SIDES = {"b": Side.BUY, "buy": Side.BUY, "s": Side.SELL, "sell": Side.SELL}
_FLAGS = {"true": True, "false": False, "1": True, "0": False}


class Row:
    """Cells of one row by the common name of their column."""

    __slots__ = ("_cells", "_positions")

    def __init__(self, columns: Sequence[str]) -> None:
        self._positions: Mapping[str, int] = {name: at for at, name in enumerate(columns) if name}
        self._cells: Cells = ()

    def take(self, cells: object, columns: Sequence[str]) -> None:
        """Look at *cells* from now on."""
        if not isinstance(cells, list | tuple) or len(cells) != len(columns):
            raise BadCell(f"is not a row of {', '.join(name or '…' for name in columns)}", cells)
        self._cells = cells

    def has(self, name: str) -> bool:
        """Whether the cell is there and not empty."""
        at = self._positions.get(name)
        return at is not None and self._cells[at] not in (None, "")

    def get(self, name: str, read: Callable[[object], T]) -> T:
        """The cell of a column that is there, as *read* gives it."""
        value = self._cells[self._positions[name]]
        try:
            return read(value)
        except BadCell as error:
            raise BadCell(f"{name} {error.problem}", error.value) from None

    def maybe(self, name: str, read: Callable[[object], T]) -> T | None:
        """The same, or None where there is none."""
        return self.get(name, read) if self.has(name) else None


def number(value: object) -> Decimal:
    """A number as written; of a binary float the shortest decimal that means it, to 18 decimals."""
    if type(value) is not float:
        return exact_number(value)
    try:
        return exact_number(amount_rounded(Decimal(repr(value))))
    except InvalidOperation:
        raise BadCell("is not a finite number", value) from None


def flag(value: object) -> bool:
    found = value if isinstance(value, bool) else _FLAGS.get(str(value).strip().lower())
    if found is None:
        raise BadCell("is neither true nor false", value)
    return found


def side(value: object) -> Side:
    found = _SIDES.get(str(value).strip().lower())
    if found is None:
        raise BadCell("is neither buy nor sell", value)
    return found


def pair(value: object) -> str:
    return _cached(_pair, value)


def timeframe(value: object) -> str:
    return _cached(_timeframe, value)


def text_of(kind: TypeEngine[Any]) -> Callable[[object], str]:
    """Reads text, or a whole number as text, that a column of this type can keep."""
    assert isinstance(kind, PlainText)

    def read(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadCell("is not text", value)
        try:
            return kind.process_bind_param(str(value).strip(), DIALECT) or ""
        except InvalidValue as error:
            raise BadCell(error.explanation, value) from None

    return read


@lru_cache(1_024)
def _pair(name: str) -> str:
    return canonical_pair(name)


@lru_cache(1_024)
def _timeframe(name: str) -> str:
    return str(parse(name))


def _cached(read: Callable[[str], str], value: object) -> str:
    try:
        return read(str(value))
    except InvalidValue as error:
        raise BadCell(error.explanation, value) from None
