"""INSERT … ON CONFLICT DO UPDATE: which rows are sent, in which order, and what became of each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnDefault,
    ColumnElement,
    Index,
    Table,
    UniqueConstraint,
    and_,
    exists,
    inspect,
    literal_column,
    or_,
)
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.types import TypeDecorator

from gal_friday.dal.models import Base
from gal_friday.dal.models.types import DIALECT
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


@dataclass(frozen=True, slots=True)
class Rowset:
    """Rows that give the same columns: one statement's."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def sorted_by(self, key: Sequence[str]) -> list[tuple[Any, ...]] | None:
        """The rows in the order of their *key*; None where its values are not all of one kind and there."""
        if not set(key) <= set(self.columns):
            return None
        parts = [self.columns.index(name) for name in key]
        if any(None in {row[part] for row in self.rows} for part in parts):
            return None
        try:
            return sorted(self.rows, key=itemgetter(*parts))
        except TypeError:
            return None

    def in_order(self, table: Table, key: Sequence[str]) -> list[Row]:
        """The rows by column name, in the order of their *key*.

        So whoever stores the same rows locks them in the same order. Raises InvalidValue for a key no column
        can keep.
        """
        parts = [(self.columns.index(name), table.c[name]) for name in key if name in self.columns]

        def comparable(row: tuple[Any, ...]) -> list[tuple[bool, Any]]:
            return [(row[place] is None, _comparable(column, row[place])) for place, column in parts]

        return [dict(zip(self.columns, row, strict=True)) for row in sorted(self.rows, key=comparable)]


@dataclass(frozen=True, slots=True)
class _Shape:
    """How entities that have the same attributes set become rows."""

    columns: tuple[str, ...]
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    key: Callable[[tuple[Any, ...]], Any]


def rowsets_of(table: Table, key: Sequence[str], entities: Iterable[Base]) -> list[Rowset]:
    """The rows of *entities*; of those with the same *key* only the last.

    Raises InvalidValue for a key that cannot be stored.
    """
    shapes: dict[tuple[str, ...], _Shape] = {}
    latest: dict[Any, tuple[_Shape, tuple[Any, ...]]] = {}
    nulls_are_equal = _nulls_are_equal(table, key)
    for number, entity in enumerate(entities):
        given = entity.__dict__
        names = tuple(given)
        if (shape := shapes.get(names)) is None:
            shape = shapes[names] = _shape_of(table, key, entity)
        values = shape.values(given)
        identity = shape.key(values)
        if not nulls_are_equal and None in identity:
            identity = (*identity, number)  # one of a kind
        try:
            latest[identity] = shape, values
        except TypeError:
            for name, value in zip(key, identity, strict=True):
                _comparable(table.c[name], value)
            raise
    by_columns: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for shape, values in latest.values():
        by_columns.setdefault(shape.columns, []).append(values)
    return [Rowset(columns, by_columns[columns]) for columns in sorted(by_columns)]


def latest_of(
    columns: Sequence[str], key: Sequence[str], rows: Iterable[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """Of *rows* with the same *key* the last one. Raises InvalidValue for a key that cannot be stored."""
    key_of = _places_of([columns.index(name) for name in key])
    try:
        return list({key_of(row): row for row in map(tuple, rows)}.values())
    except TypeError as error:
        raise InvalidValue(f"not a key: {error}", columns=key) from error


def _shape_of(table: Table, key: Sequence[str], entity: Base) -> _Shape:
    attributes = {
        column.name: attribute.key
        for attribute in inspect(type(entity)).column_attrs
        for column in attribute.columns
        if attribute.key in entity.__dict__ and column.computed is None
    }
    # The part of the key that would be filled in when it is sent.
    defaults = {
        name: default.arg
        for name in key
        if name not in attributes and isinstance(default := table.c[name].default, ColumnDefault)
    }
    columns = tuple(sorted([*attributes, *defaults]))
    given = _tuple_of([attributes.get(name, name) for name in columns])
    places = [columns.index(name) if name in columns else None for name in key]
    if not defaults:
        return _Shape(columns, given, _places_of(places))
    return _Shape(columns, lambda values: given({**defaults, **values}), _places_of(places))


def _places_of(places: Sequence[int | None]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if len(places) > 1 and None not in places:
        return itemgetter(*places)
    return lambda values: tuple([None if place is None else values[place] for place in places])


def _tuple_of(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple([values[name] for name in names])


def upsert(
    statement: Insert,
    key: Sequence[str],
    overwrite: Sequence[str],
    may_replace: Callable[[Insert], ColumnElement[bool]] | None,
) -> Insert:
    """Store a row, or its columns *overwrite* where one with its *key* is there, unless it is as given."""
    table = statement.table
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


def _comparable(column: Column[Any], value: Any) -> Any:
    """*value* in the one form its column takes, so that those spelled differently are seen to be equal."""
    assert isinstance(column.type, TypeDecorator)  # every column has a type of ours
    try:
        return column.type.process_bind_param(value, DIALECT)
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
