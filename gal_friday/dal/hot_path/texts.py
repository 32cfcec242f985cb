"""Columns of values as the texts COPY takes, checked a whole column at a time.

A column is checked by what can be asked of all its values at once, in C: their types, and one look over
their joined texts. Only where that finds something is each value put through its column's type, which refuses
it or says how it is kept.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Column
from sqlalchemy.types import TypeDecorator

from gal_friday.dal.error_facts import WITHHELD_TABLES
from gal_friday.dal.models.types import (
    DIALECT,
    AnyWholeNumber,
    CalendarDate,
    ClosedSet,
    ExactNumeric,
    Flag,
    Identifier,
    Json,
    PlainText,
    UtcDateTime,
    dumps,
)
from gal_friday.errors import InvalidValue

NULL = r"\N"

Texts = list[str]

_NOTHING = type(None)
_zone = attrgetter("tzinfo")
_hex = attrgetter("hex")
_FLAGS = {True: "t", False: "f"}
#: What asyncpg takes for infinity, everywhere else.
_INFINITE = {
    datetime.max.replace(tzinfo=UTC): "infinity",
    datetime.min.replace(tzinfo=UTC): "-infinity",
    date.max: "infinity",
    date.min: "-infinity",
}
_SPECIAL = re.compile(r"[\\\r\n\x00\ud800-\udfff]")
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def can_be_copied(*columns: Column[Any]) -> bool:
    """Whether this module knows the texts of the columns' types."""
    return all(isinstance(column.type, tuple(_TEXT_OF)) for column in columns)


def texts_of(
    column: Column[Any], values: Sequence[Any], *, first_row: int | None = 0, is_escaped: bool = True
) -> Sequence[str | None]:
    """*values* of a column as PostgreSQL reads them, *is_escaped* as COPY does.

    Raises InvalidValue with table, column, row and value; without row where *first_row* is None.
    """
    kind = column.type
    assert isinstance(kind, TypeDecorator)
    types = set(map(type, values))
    there = values if _NOTHING not in types else [value for value in values if value is not None]
    texts = _quick(kind, types - {_NOTHING}, there)
    if texts is None:
        texts = _one_by_one(column, values, first_row)
        if is_escaped and isinstance(kind, PlainText | Json):
            texts = [text.translate(_ESCAPED) for text in texts]
    if there is values:
        return texts
    remaining, null = iter(texts), NULL if is_escaped else None
    return [null if value is None else next(remaining) for value in values]


def _quick(kind: TypeDecorator[Any], types: set[type], values: Sequence[Any]) -> Texts | None:
    """The texts, or None where something asks for a closer look."""
    if not values:
        return []
    if len(types) > 1:
        return None
    (only,) = types
    text = next(text for known, text in _COLUMN_OF.items() if isinstance(kind, known))
    return text(kind, only, values)


def _decimals(kind: ExactNumeric, only: type, values: Sequence[Any]) -> Texts | None:
    if only is not Decimal:
        return None
    texts = list(map(str, values))
    return None if _beyond(kind.precision, kind.scale).search("\n".join(texts)) else texts


def _times(_: UtcDateTime, only: type, values: Sequence[Any]) -> Texts | None:
    in_utc = only is datetime and set(map(_zone, values)) == {UTC}
    is_endless = in_utc and not _INFINITE.keys().isdisjoint(values)
    return list(map(datetime.isoformat, values)) if in_utc and not is_endless else None


def _plain(kind: PlainText, only: type, values: Sequence[Any]) -> Texts | None:
    if only is not str or (kind.length is not None and max(map(len, values)) > kind.length):
        return None
    joined = "\t".join(values)
    return None if joined.count("\t") >= len(values) or _SPECIAL.search(joined) else list(values)


def _members(kind: ClosedSet, only: type, values: Sequence[Any]) -> Texts | None:
    if only is kind.enum or (only is str and set(values) <= set(kind.enum)):
        return list(map(str.__str__, values))
    return None


def _identifiers(_: Identifier, only: type, values: Sequence[Any]) -> Texts | None:
    return list(map(_hex, values)) if issubclass(only, UUID) else None


def _flags(_: Flag, only: type, values: Sequence[Any]) -> Texts | None:
    return list(map(_FLAGS.__getitem__, values)) if only is bool else None


def _whole(kind: AnyWholeNumber, only: type, values: Sequence[Any]) -> Texts | None:
    fits = only is int and -(1 << kind.bits - 1) <= min(values) and max(values) < 1 << kind.bits - 1
    return list(map(str, values)) if fits else None


def _unknown(kind: TypeDecorator[Any], only: type, values: Sequence[Any]) -> None:
    """Values that have to be looked at one by one."""


_COLUMN_OF: dict[type[TypeDecorator[Any]], Callable[[Any, type, Sequence[Any]], Texts | None]] = {
    ExactNumeric: _decimals,
    UtcDateTime: _times,
    PlainText: _plain,
    ClosedSet: _members,
    Identifier: _identifiers,
    Flag: _flags,
    AnyWholeNumber: _whole,
    TypeDecorator: _unknown,
}


def _one_by_one(column: Column[Any], values: Sequence[Any], first_row: int | None) -> Texts:
    """The texts of those *values* that are there, each checked by the column's type."""
    kind = column.type
    assert isinstance(kind, TypeDecorator)
    text = next(text for known, text in _TEXT_OF.items() if isinstance(kind, known))
    texts = []
    for number, value in enumerate(values):
        try:
            if value is not None:
                texts.append(text(kind.process_bind_param(value, DIALECT)))
        except InvalidValue as error:
            facts = {**error.facts, "table": column.table.name, "column": column.name}
            if first_row is not None:
                facts["row"] = first_row + number
            if column.table.name in WITHHELD_TABLES:
                facts.pop("value", None)
            raise InvalidValue(error.explanation, **facts) from None
    return texts


@cache
def _beyond(precision: int, scale: int) -> re.Pattern[str]:
    """What asks for a closer look at decimals: more digits than there is room for, an exponent, NaN."""
    return re.compile(rf"\.\d{{{scale + 1}}}|\d{{{precision - scale + 1}}}|[^\d.\n-]")


def _of_time(value: date) -> str:
    return _INFINITE.get(value) or value.isoformat()


_TEXT_OF: dict[type[TypeDecorator[Any]], Callable[[Any], str]] = {
    ExactNumeric: lambda value: format(value, "f"),
    UtcDateTime: _of_time,
    CalendarDate: _of_time,
    PlainText: str.__str__,  # of a class derived from str, too
    ClosedSet: str.__str__,
    Identifier: _hex,
    Flag: _FLAGS.__getitem__,
    AnyWholeNumber: str,
    Json: dumps,
}
