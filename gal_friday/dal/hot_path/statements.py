"""Statements of one model, compiled once for each shape, and their execution on asyncpg."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar, cast

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
from sqlalchemy import (
    ARRAY,
    ClauseElement,
    Select,
    Table,
    and_,
    any_,
    bindparam,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.sqltypes import TupleType

from gal_friday.dal.error_facts import Sent
from gal_friday.dal.error_translation import located, translated_driver_error
from gal_friday.dal.hot_path.rows import DRIVER_DIALECT, Convert, Rows, Values, binder
from gal_friday.dal.models import Base
from gal_friday.errors import InvalidFilter, InvalidValue, StaleWrite

M = TypeVar("M", bound=Base)
T = TypeVar("T")
Record = Mapping[str, Any]

#: How many shapes of statements are kept compiled.
_KEPT = 1_000
#: The argument that is the version a row was read in.
VERSION_READ = "version_read"
#: The argument that is a list of keys.
KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Statement:
    """A compiled statement and how its arguments are made ready."""

    text: str
    table: Table | None
    #: Name of each argument, in the order of $1, $2 …
    names: Sequence[str]
    binders: Sequence[Convert | None]
    #: Columns by the argument, where their names differ.
    columns: Mapping[str, str] = field(default_factory=dict)
    #: Columns of a new row that are left empty.
    empty: Sequence[str] = ()
    #: Whether its arguments are those of several rows, with the number of each.
    is_of_several: bool = False

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """*values* as asyncpg takes them. Raises InvalidValue, with the place."""
        arguments = []
        for name, bind in zip(self.names, self.binders, strict=True):
            value = values[name]
            if bind is not None:
                try:
                    value = bind(value)
                except InvalidValue as error:
                    raise located(error, self.sent({name: value})) from error
            arguments.append(value)
        return arguments

    def sent(self, values: Mapping[str, Any]) -> Sent:
        """What errors say of it: the values by column."""
        rows: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            number = name.rpartition("_")[2] if self.is_of_several else ""
            row = rows.setdefault(number, dict.fromkeys(self.empty))
            row[self.columns.get(name, name)] = value
        positions = [self.columns.get(name, name) for name in self.names]
        return Sent(self.text, self.table, list(rows.values()), positions)


async def fetch(
    connection: asyncpg.Connection,
    statement: Statement,
    values: Mapping[str, Any],
    *,
    info: dict[str, Any] | None = None,
) -> list[Record]:
    """The records *statement* gives. Raises as SQLAlchemy's connections do here.

    *info* is that of SQLAlchemy's connection whose transaction it is part of.
    """
    arguments = statement.arguments(values)
    try:
        return cast("list[Record]", await connection.fetch(statement.text, *arguments))
    except Exception as error:
        failure = translated_driver_error(error, statement.sent(values), connection=connection, info=info)
        if failure is None:
            raise
        raise failure from error


@lru_cache(_KEPT)
def select_by_key(rows: Rows[Any]) -> Statement:
    """Its arguments are the key's attributes."""
    same = and_(*(rows.columns[name] == _argument(rows, name) for name in rows.key))
    return statement_of(select(*rows.asked.values()).where(same))


@lru_cache(_KEPT)
def insert_of(rows: Rows[Any], names: frozenset[str]) -> Statement:
    """An INSERT of the attributes *names* that gives back what the server fills in of the others."""
    values = {rows.columns[name].name: _argument(rows, name) for name in rows.columns if name in names}
    filled = [rows.asked[name] for name in rows.filled_on_insert if name not in names]
    statement = insert(rows.table).values(values)
    empty = [
        rows.columns[name].name
        for name in rows.columns
        if name not in names and name not in rows.filled_on_insert
    ]
    compiled = statement_of(statement.returning(*filled) if filled else statement)
    return replace(compiled, columns=_renamed(rows), empty=empty)


@lru_cache(_KEPT)
def insert_of_several(rows: Rows[Any], names: frozenset[str], count: int) -> Statement:
    """An INSERT of *count* rows; gives back their keys and what the server fills in.

    Its arguments are the attributes' names with the number of the row, from 0.
    """
    values = [
        {
            rows.columns[name].name: bindparam(f"{name}_{number}", type_=rows.columns[name].type)
            for name in rows.columns
            if name in names
        }
        for number in range(count)
    ]
    filled = [rows.asked[name] for name in rows.filled_on_insert if name not in names]
    key = [rows.columns[name] for name in rows.key]
    statement = statement_of(insert(rows.table).values(values).returning(*key, *filled))
    numbered = {f"{name}_{number}": rows.columns[name].name for name in names for number in range(count)}
    return replace(statement, columns=numbered, is_of_several=True)


@lru_cache(_KEPT)
def filled_of_many(rows: Rows[Any], names: frozenset[str]) -> Statement:
    """What the server has filled in of rows with the KEYS given, *names* having been inserted."""
    key = rows.columns[rows.key[0]]
    filled = [rows.asked[name] for name in rows.filled_on_insert if name not in names]
    keys = bindparam(KEYS, type_=ARRAY(key.type))
    return statement_of(select(key, *filled).where(key == any_(keys)))


@lru_cache(_KEPT)
def update_of(rows: Rows[Any], names: frozenset[str]) -> Statement:
    """An UPDATE of the attributes *names* of the row with key and version given, if that is its version."""
    columns = rows.columns
    same = [columns[name] == _argument(rows, name) for name in rows.key]
    if rows.version is not None:
        version = columns[rows.version]
        same.append(version == bindparam(VERSION_READ, type_=version.type))
    changes = {columns[name].name: _argument(rows, name) for name in columns if name in names}
    filled = [rows.asked[name] for name in rows.filled_on_update if name not in names]
    compiled = statement_of(
        update(rows.table).where(*same).values(changes).returning(*(filled or [columns[rows.key[0]]]))
    )
    return replace(compiled, columns=_renamed(rows))


@lru_cache(_KEPT)
def as_changed(rows: Rows[Any], names: frozenset[str], *, is_versioned: bool = False) -> Statement:
    """The row with the key given if its attributes *names* are as given, and its version the one after."""
    columns = rows.columns
    same = [columns[name] == _argument(rows, name) for name in rows.key]
    same += [columns[name].is_not_distinct_from(_argument(rows, name)) for name in columns if name in names]
    if is_versioned and rows.version is not None:
        version = columns[rows.version]
        same.append(version == bindparam(VERSION_READ, type_=version.type) + literal_column("1"))
    return statement_of(select(*rows.asked.values()).where(*same))


def update_arguments(rows: Rows[Any], entity: Base, changes: Values) -> Values:
    kept = entity.__dict__
    values = {**changes, **{name: kept[name] for name in rows.key}}
    if rows.version is not None:
        values[VERSION_READ] = kept[rows.version]
    return values


def check_one(rows: Rows[Any], records: Sequence[Record]) -> None:
    """Raise StaleWrite where a row that was to be changed was not there in the version read."""
    if len(records) != 1:
        raise StaleWrite(table=rows.table.name, rows_expected=1, rows_found=len(records))


#: By what SQLAlchemy looks compiled statements up by, and by how many values each list of theirs has.
_queries: dict[Any, SQLCompiler] = {}
_statements: dict[Any, Statement] = {}


def of_query(query: Select[Any], rows: Rows[Any] | None = None) -> tuple[Statement, Values] | None:
    """*query* compiled, and its arguments; None where SQLAlchemy keeps none of its kind.

    With *rows* it asks for those of their table, in place of what it asks for itself.
    """
    cached = query._generate_cache_key()  # noqa: SLF001 -- there is no public name for it
    if cached is None:
        return None
    key = (rows, cached.key)
    if (compiled := _queries.get(key)) is None:
        made = DRIVER_DIALECT.statement_compiler(DRIVER_DIALECT, asking(query, rows), cache_key=cached)
        assert isinstance(made, SQLCompiler)
        compiled = _kept(_queries, key, made)
    values = dict(compiled.construct_params(extracted_parameters=cached.bindparams))
    lists = sorted(compiled.bind_names[bind] for bind in compiled.post_compile_params)
    lengths = tuple([len(values[name]) for name in lists])
    if 0 in lengths or compiled.literal_execute_params or _has_tuples(compiled):
        return None
    if (statement := _statements.get((key, lengths))) is None:
        statement = _kept(_statements, (key, lengths), _of_compiled(_expanded(asking(query, rows))))
    for name in lists:
        values |= {f"{name}_{number}": value for number, value in enumerate(values[name], 1)}
    return statement, values


def asking(query: Select[Any], rows: Rows[Any] | None) -> Select[Any]:
    """*query*, asking for what entities of *rows* are made of."""
    if rows is None:
        return query
    return query.with_only_columns(*rows.asked.values(), maintain_column_froms=True)


def with_values(query: ClauseElement) -> tuple[Statement, Values]:
    """Any *query*, compiled for this once, and its arguments. Raises InvalidFilter for a list of tuples."""
    compiled = _expanded(query)
    if _has_tuples(compiled):
        raise InvalidFilter("give a list of tuples as or_() of and_()s here")
    return _of_compiled(compiled), dict(compiled.params)


def _has_tuples(compiled: SQLCompiler) -> bool:
    """Whether a list in it is one of tuples, whose values have no types of their own here."""
    return any(isinstance(bind.type, TupleType) for bind in compiled.post_compile_params)


def _expanded(query: ClauseElement) -> SQLCompiler:
    """*query* compiled with a parameter for each value of its lists."""
    compiled = query.compile(dialect=DRIVER_DIALECT, compile_kwargs={"render_postcompile": True})
    assert isinstance(compiled, SQLCompiler)
    return compiled


def _kept(known: dict[Any, T], key: Any, value: T) -> T:
    if len(known) >= _KEPT:
        known.clear()
    known[key] = value
    return value


def _renamed(rows: Rows[Any]) -> dict[str, str]:
    return {name: column for column, name in rows.renamed}


def _argument(rows: Rows[Any], name: str) -> Any:
    return bindparam(name, type_=rows.columns[name].type)


def statement_of(statement: ClauseElement) -> Statement:
    """A statement that takes one shape only, compiled."""
    compiled = statement.compile(dialect=DRIVER_DIALECT)
    assert isinstance(compiled, SQLCompiler)
    return _of_compiled(compiled)


def _of_compiled(compiled: SQLCompiler) -> Statement:
    names = list(compiled.positiontup or ())
    table = getattr(compiled.statement, "table", None)
    # The values of a list have the type, and the name with a number, of the parameter they were given as.
    binds = [compiled.binds[name if name in compiled.binds else name.rpartition("_")[0]] for name in names]
    return Statement(
        text=compiled.string,
        table=table if isinstance(table, Table) else None,
        names=names,
        binders=[binder(bind.type) for bind in binds],
    )
