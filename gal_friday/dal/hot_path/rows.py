"""Entities and the rows of their table: what of an entity is sent, and what a record becomes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Column, ColumnDefault, ColumnElement, Table, Text, inspect
from sqlalchemy import cast as cast_
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.base import DEFAULT_STATE_ATTR
from sqlalchemy.sql.expression import SQLColumnExpression
from sqlalchemy.types import TypeEngine

from gal_friday.dal.hot_path.loading import collection_held_off
from gal_friday.dal.models import Base
from gal_friday.dal.models.models_base import Identified
from gal_friday.dal.models.types import ClosedSet, ExactNumeric, Json, UtcDateTime, dumps, loads

M = TypeVar("M", bound=Base)

Values = dict[str, Any]
Convert = Callable[[Any], Any]

#: How many records are made entities at a time: so many are still at hand for the processor.
_TOGETHER = 500

#: For compiling statements; equal to that of every engine of this package.
DRIVER_DIALECT = asyncpg_dialect(json_serializer=dumps)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def binder(kind: TypeEngine[Any]) -> Convert | None:
    """How a value of this type is made ready for asyncpg; None: it is as it is. Raises InvalidValue."""
    return kind.dialect_impl(DRIVER_DIALECT).bind_processor(DRIVER_DIALECT)


def reader(kind: TypeEngine[Any]) -> Convert | None:
    """What becomes of a value of this type, never None, that was read; None: it is as it is."""
    if isinstance(kind, ExactNumeric):
        return Decimal
    if isinstance(kind, Json):
        return loads
    if isinstance(kind, UtcDateTime):
        return None  # asyncpg gives UTC
    if isinstance(kind, ClosedSet):
        return _Members(kind).__getitem__
    return kind.dialect_impl(DRIVER_DIALECT).result_processor(DRIVER_DIALECT, None)


class _Members(dict[str, Any]):
    """Members of a closed set by their text."""

    def __init__(self, kind: ClosedSet) -> None:
        super().__init__({member.value: member for member in kind.enum})
        self._enum = kind.enum

    def __missing__(self, text: str) -> Any:
        return self._enum(text)


class Rows(Generic[M]):
    """How entities of one model are sent and read."""

    def __init__(self, model: type[M]) -> None:
        mapper = inspect(model)
        self.model = model
        self.table = cast("Table", model.__table__)
        #: Columns by the attribute they are mapped to.
        self.columns: dict[str, Column[Any]] = {
            attribute.key: cast("Column[Any]", attribute.columns[0]) for attribute in mapper.column_attrs
        }
        self.attributes = {column.name: name for name, column in self.columns.items()}
        self.relationships = frozenset(mapper.relationships.keys())
        self.key = tuple(self.attributes[column.name] for column in mapper.primary_key)
        self.version = None if mapper.version_id_col is None else self.attributes[mapper.version_id_col.name]
        self.filled_on_insert = tuple(
            name
            for name, column in self.columns.items()
            if column.server_default is not None or column.computed is not None or column.identity is not None
        )
        self.filled_on_update = tuple(
            name
            for name, column in self.columns.items()
            if column.server_onupdate is not None or column.computed is not None
        )
        self.defaults = {
            name: column.default.arg
            for name, column in self.columns.items()
            if isinstance(column.default, ColumnDefault) and column.default.is_scalar
        }
        #: Whether a row has an id of its own, made by the client.
        self.is_identified = issubclass(model, Identified)
        #: Whether every default made by the client is a constant, and nobody but Base looks at an entity on
        #: its way: else SQLAlchemy has to see to it.
        self.is_plain = all(
            (column.default is None or name in self.defaults) and column.onupdate is None
            for name, column in self.columns.items()
        ) and not _is_looked_at(mapper)
        #: The columns as every statement asks for them, by attribute.
        self.asked = {name: _asked(column) for name, column in self.columns.items()}
        self.readers = {
            name: read for name, column in self.columns.items() if (read := reader(column.type)) is not None
        }
        self._reading = list(self.readers.items())
        self.renamed = [(column, name) for column, name in self.attributes.items() if column != name]
        self._new = model.__new__
        self._identity_class = cast("type[M]", mapper.class_)

    def entity(self, record: Mapping[str, Any]) -> M:
        """The entity of a record of every column `asked`, as if it had been loaded and its session closed."""
        values = dict(zip(self.columns, record.values(), strict=True))
        for name, read in self._reading:
            if (value := values[name]) is not None:
                values[name] = read(value)
        entity = self._new(self.model)
        entity.__dict__ = values  # what SQLAlchemy keeps of it is made when it asks
        return entity

    def entities(self, records: Sequence[Mapping[str, Any]]) -> list[M]:
        """The entities of records of one query."""
        if len(records) == 1:
            return [self.entity(records[0])]
        made: list[M] = []
        with collection_held_off():
            for begin in range(0, len(records), _TOGETHER):
                self._make(records[begin : begin + _TOGETHER], made)
        return made

    def _make(self, records: Sequence[Mapping[str, Any]], made: list[M]) -> None:
        """Add to *made* the entities of *records*, whose values are read column by column."""
        names = tuple(self.columns)
        columns: list[Iterable[Any]] = list(zip(*(record.values() for record in records), strict=True))
        for place, name in enumerate(names):
            if (read := self.readers.get(name)) is None:
                continue
            if self.columns[name].nullable:
                columns[place] = [None if value is None else read(value) for value in columns[place]]
            else:
                columns[place] = map(read, columns[place])
        new, model = self._new, self.model
        for row in zip(*columns, strict=False):  # to compare their lengths for every row takes its time
            entity = new(model)
            entity.__dict__ = dict(zip(names, row, strict=False))
            made.append(entity)

    def identity(self, key: tuple[Any, ...]) -> tuple[type[M], tuple[Any, ...], None]:
        """What a session knows the row with this key by."""
        return (self._identity_class, key, None)

    def identity_of(self, entity: M) -> tuple[type[M], tuple[Any, ...], None]:
        kept = entity.__dict__
        return self.identity(tuple([kept[name] for name in self.key]))

    def to_insert(self, entity: M) -> Values | None:
        """The values to be inserted, by attribute; None where SQLAlchemy has to see to it.

        As in SQLAlchemy, an attribute that is None is one that was not given.
        """
        given = entity.__dict__
        state = instance_state(entity)
        if state.key is not None or state.session_id is not None or not self.is_plain:
            return None
        if not self.relationships.isdisjoint(given):
            return None
        values = {name: value for name, value in given.items() if value is not None and name in self.columns}
        for name, default in self.defaults.items():
            if name not in values:
                values[name] = default
        if any(isinstance(value, SQLColumnExpression) for value in values.values()):
            return None
        return values if all(name in values for name in self.key) else None

    def inserted(self, entity: M, values: Values, records: Sequence[Mapping[str, Any]]) -> None:
        """Make *entity*, which belongs to no session, the stored one, with what the server has filled in."""
        kept = entity.__dict__
        for name in self.defaults:
            kept[name] = values[name]
        for record in records:
            self._take(kept, record)
        instance_state(entity).key = self.identity_of(entity)
        instance_state(entity)._commit_all(kept)  # noqa: SLF001 -- see `updated`

    def to_update(self, entity: M) -> Values | None:
        """What was changed on a stored entity, by attribute; None where SQLAlchemy has to see to it."""
        if not self.is_plain:
            return None
        state = instance_state(entity)
        given = entity.__dict__
        changes = {}
        for name, before in state.committed_state.items():
            if name not in self.columns or name in self.key or name == self.version or name not in given:
                return None
            value = given[name]
            if isinstance(value, SQLColumnExpression):
                return None
            if before is not value and before != value:
                changes[name] = value
        if self.version is not None and given.get(self.version) is None:
            return None
        return changes

    def updated(self, entity: M, record: Mapping[str, Any], session: Session | None) -> None:
        """Make *entity*, of *session*, the one stored, with what the server has filled in."""
        kept = entity.__dict__
        self._take(kept, record)
        # The public ways to say that nothing is changed on an entity go through each attribute.
        instance_state(entity)._commit_all(kept, None if session is None else session.identity_map)  # noqa: SLF001

    def _take(self, kept: Values, record: Mapping[str, Any]) -> None:
        attributes, readers = self.attributes, self.readers
        for column, value in record.items():
            name = attributes[column]
            read = readers.get(name)
            kept[name] = value if read is None or value is None else read(value)


def is_changed(entity: Base) -> bool:
    """Whether an entity read, of no session, has been changed and is still a row of no session."""
    if DEFAULT_STATE_ATTR not in entity.__dict__:
        return False  # nobody has asked for its state, which any change does
    state = instance_state(entity)
    return state.modified and state.session_id is None and state.key is not None


def _asked(column: Column[Any]) -> ColumnElement[Any]:
    """*column*, as text where asyncpg takes longer over its values than Python over their texts."""
    is_slow = isinstance(column.type, ExactNumeric | Json)
    return cast_(column, Text).label(column.name) if is_slow else column


def _is_looked_at(mapper: Mapper[Any]) -> bool:
    """Whether someone listens to the storing of this model's entities, Base's check of keys aside."""
    dispatch = mapper.dispatch
    of_keys = 1
    heard = (dispatch.before_insert, dispatch.after_insert, dispatch.before_update, dispatch.after_update)
    return sum(map(len, heard)) > of_keys


@cache
def rows_of(model: type[M]) -> Rows[M]:
    return Rows(model)
