"""INSERT … ON CONFLICT DO UPDATE: which rows are sent, in which order, and what became of each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnDefault,
    ColumnElement,
    Dialect,
    Index,
    Table,
    UniqueConstraint,
    and_,
    exists,
    inspect,
    literal_column,
    or_,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.types import TypeDecorator

from gal_friday.dal.models import Base
from gal_friday.errors import InvalidValue

Row = dict[str, Any]


def given_values(entity: Base) -> Row:
    """Column values set on *entity*, by column name."""
    mapper = inspect(type(entity))
    return {
        column.name: entity.__dict__[attribute.key]
        for attribute in mapper.column_attrs
        for column in attribute.columns
        if attribute.key in entity.__dict__ and column.computed is None
    }


def statements_of(
    table: Table, key: Sequence[str], entities: Iterable[Base], dialect: Dialect
) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    """The columns and rows of each statement it takes: rows that give the same columns go together.

    Of rows with the same *key* only the last is among them. They come in the order of their keys, so that
    whoever stores the same rows locks them in the same order. Raises InvalidValue for a key that cannot be
    stored.
    """
    rows: dict[tuple[Any, ...], Row] = {}
    nulls_are_equal = _nulls_are_equal(table, key)
    for number, entity in enumerate(entities):
        row = _with_default_key(table, key, given_values(entity))
        parts = tuple(
            (row.get(name) is None, _comparable(table.c[name], row.get(name), dialect)) for name in key
        )
        one_of_a_kind = not nulls_are_equal and any(missing for missing, _ in parts)
        rows[(*parts, number if one_of_a_kind else 0)] = row
    by_columns: dict[tuple[str, ...], list[Row]] = {}
    for identity in sorted(rows):
        by_columns.setdefault(tuple(sorted(rows[identity])), []).append(rows[identity])
    yield from sorted(by_columns.items())


def upsert(
    table: Table,
    key: Sequence[str],
    overwrite: Sequence[str],
    may_replace: Callable[[Insert], ColumnElement[bool]] | None,
) -> Insert:
    """Store a row, or its columns *overwrite* where one with its *key* is there, unless it is as given."""
    statement = insert(table)
    if not overwrite:
        return statement.on_conflict_do_nothing(index_elements=key)
    excluded = statement.excluded
    changed = or_(*(table.c[name].is_distinct_from(excluded[name]) for name in overwrite))
    return statement.on_conflict_do_update(
        index_elements=key,
        set_={name: excluded[name] for name in overwrite},
        where=changed if may_replace is None else and_(changed, may_replace(statement)),
    )


def was_inserted(table: Table, key: Sequence[str]) -> ColumnElement[bool]:
    """Whether a row returned by an upsert is new; PostgreSQL only says so from version 18 on."""
    if not table.dialect_options["postgresql"]["partition_by"]:
        return literal_column("(xmax = 0)", Boolean)
    # A partitioned table has no system columns; but a statement does not see the rows it inserts itself.
    before = table.alias("before")
    # By name, as SQLAlchemy would list the table of an INSERT once more in the subquery's FROM.
    same = (before.c[name] == literal_column(str(table.c[name])) for name in key)
    return ~exists().select_from(before).where(*same)


def _with_default_key(table: Table, key: Sequence[str], row: Row) -> Row:
    """*row* with the part of its key that would be filled in when it is sent."""
    for name in key:
        default = table.c[name].default
        if name not in row and isinstance(default, ColumnDefault) and default.is_scalar:
            row[name] = default.arg
    return row


def _comparable(column: Column[Any], value: Any, dialect: Dialect) -> Any:
    """*value* in the one form its column takes, so that those spelled differently are seen to be equal."""
    assert isinstance(column.type, TypeDecorator)  # every column has a type of ours
    try:
        return column.type.process_bind_param(value, dialect)
    except InvalidValue as error:
        place = {"table": column.table.name, "column": column.name}
        raise InvalidValue(error.explanation, **{**error.facts, **place}) from None


def _nulls_are_equal(table: Table, key: Sequence[str]) -> bool:
    """Whether the unique key takes two rows whose column is empty for the same."""
    unique: list[UniqueConstraint | Index] = [index for index in table.indexes if index.unique]
    unique += [item for item in table.constraints if isinstance(item, UniqueConstraint)]
    return any(
        item.dialect_options["postgresql"]["nulls_not_distinct"]
        for item in unique
        if {column.name for column in item.columns} == set(key)
    )
