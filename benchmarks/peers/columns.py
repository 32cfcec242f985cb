"""What a model of one of our tables has to say, for libraries with models of their own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnDefault, DefaultClause, Numeric, String, Table, Text
from sqlalchemy import types as kinds
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class Kind(Enum):
    UUID = auto()
    TEXT = auto()
    VARCHAR = auto()
    NUMERIC = auto()
    INTEGER = auto()
    BOOLEAN = auto()
    TIMESTAMP = auto()
    JSON = auto()


@dataclass(frozen=True, slots=True)
class ModelColumn:
    """A column as such a model declares it; a *default* is what the model stores where nothing is given."""

    name: str
    kind: Kind
    primary_key: bool
    nullable: bool
    default: Any = None
    #: Of a VARCHAR.
    length: int | None = None
    #: Of a NUMERIC.
    precision: int = 0
    scale: int = 0


def columns_of(table: Table) -> Iterator[ModelColumn]:
    """The columns of *table* that are written; those the server computes are left out.

    Of a key of several columns the last is the model's: these libraries know keys of one column only.
    """
    *_, key = table.primary_key.columns
    for column in table.columns:
        if column.computed is None:
            assert isinstance(column.type, TypeDecorator)
            plain = column.type.impl_instance
            given = column.default.arg if isinstance(column.default, ColumnDefault) else None
            stored = column.server_default.arg if isinstance(column.server_default, DefaultClause) else None
            yield ModelColumn(
                name=column.name,
                kind=_kind(plain),
                primary_key=column is key,
                nullable=bool(column.nullable),
                default=_default(given if given is not None else stored, plain),
                length=plain.length if isinstance(plain, String) else None,
                precision=(isinstance(plain, Numeric) and plain.precision) or 0,
                scale=(isinstance(plain, Numeric) and plain.scale) or 0,
            )


def now() -> datetime:
    return datetime.now(UTC)


def _kind(plain: TypeEngine[Any]) -> Kind:
    for sql_type, kind in (
        (kinds.Uuid, Kind.UUID),
        (JSONB, Kind.JSON),
        (kinds.DateTime, Kind.TIMESTAMP),
        (kinds.Boolean, Kind.BOOLEAN),
        (kinds.Integer, Kind.INTEGER),
        (kinds.Numeric, Kind.NUMERIC),
        (Text, Kind.TEXT),
        (String, Kind.VARCHAR),
    ):
        if isinstance(plain, sql_type):
            return kind
    raise TypeError(f"no kind for {plain!r}")


def _default(declared: object, plain: TypeEngine[Any]) -> Any:
    """The server's default as Python has it, or None; a moment is a function that tells it."""
    if declared is None:
        return None
    text = str(getattr(declared, "text", declared))
    if isinstance(declared, FunctionElement) or text.endswith("()"):
        return now
    if isinstance(plain, JSONB):
        return json.loads(text.strip("'"))
    if isinstance(plain, kinds.Boolean):
        return text == "true"
    if isinstance(plain, kinds.Integer):
        return int(text)
    return Decimal(text) if isinstance(plain, kinds.Numeric) else text
