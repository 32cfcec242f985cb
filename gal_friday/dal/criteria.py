"""What a caller may ask of a table: criteria and orderings, checked before anything is sent.

A typo must be an error, not a filter that matches everything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache, lru_cache
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    FromClause,
    Select,
    SelectBase,
    Tuple,
    and_,
    func,
    inspect,
    select,
    tuple_,
)
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from gal_friday.dal.models import Base
from gal_friday.errors import InvalidFilter, InvalidValue

M = TypeVar("M", bound=Base)

Criterion = ColumnElement[bool] | QueryableAttribute[bool]
Ordering = ColumnElement[Any] | QueryableAttribute[Any]


_ORDERINGS_KEPT = 256


class Whichever(Enum):
    """The type of ANY."""

    ANY = "any"


#: Narrows nothing down, where None asks for rows whose column is empty.
ANY: Final = Whichever.ANY


def checked(model: type[Base], criteria: Sequence[object]) -> list[ColumnElement[bool]]:
    """*criteria* as clauses over *model*'s table alone.

    Raises InvalidFilter for what is no clause (a text, a Python bool such as `not Order.filled_at` gives)
    and for clauses over other tables.
    """
    clauses: list[ColumnElement[bool]] = []
    for criterion in criteria:
        if _is_comparison(criterion, model.__table__):
            clauses.append(cast("ColumnElement[bool]", criterion))
            continue
        if criterion is None or isinstance(criterion, bool | str):
            raise InvalidFilter(
                "give a column expression such as Order.status == OrderStatus.NEW; negate it with ~",
                given=criterion,
            )
        try:
            clause = and_(cast("ColumnElement[bool]", criterion))
        except ArgumentError:
            raise InvalidFilter("not a column expression", given=repr(criterion)) from None
        for other in _tables_of(clause):
            if other is not model.__table__:
                raise InvalidFilter("a column of another table", table=model.__tablename__, other=str(other))
        clauses.append(clause)
    return clauses


def _is_comparison(criterion: object, table: FromClause) -> bool:
    """Whether *criterion* compares a column of *table* with a value, as most do; a quick look."""
    return (
        isinstance(criterion, BinaryExpression)
        and isinstance(criterion.right, BindParameter)
        and isinstance(criterion.left, ColumnClause)
        and criterion.left.table is table
    )


def _tables_of(clause: ClauseElement) -> Iterator[FromClause]:
    """Tables whose columns *clause* names itself, not in a subquery."""
    # Two hundred times faster than to ask a select over the clause for its FROM list.
    remaining: list[ClauseElement] = [clause]
    while remaining:
        element = remaining.pop()
        if isinstance(element, SelectBase):
            continue
        if isinstance(element, ColumnClause) and element.table is not None:
            yield element.table
        remaining.extend(element.get_children())


def checked_key(model: type[Base], key: Any) -> tuple[Any, ...]:
    """*key* as a tuple. Raises InvalidValue unless it has a value for each column of the primary key."""
    primary_key = _primary_key(model)
    if isinstance(key, UUID) and len(primary_key) == 1:
        return (key,)
    values = key if isinstance(key, tuple) else (key,)
    try:
        hash(values)
        is_whole = len(values) == len(primary_key) and None not in values
    except TypeError:
        is_whole = False
    if not is_whole:
        columns = [column.name for column in primary_key]
        raise InvalidValue(
            "a key has a value for each of its columns", table=model.__tablename__, columns=columns, key=key
        )
    return values


@cache
def _primary_key(model: type[Base]) -> tuple[ColumnElement[Any], ...]:
    return inspect(model).primary_key


def checked_limit(limit: Any) -> int:
    """*limit* as it is. Raises InvalidFilter for what is no number of rows."""
    if type(limit) is not int or limit < 0:
        raise InvalidFilter("not a number of rows", limit=limit)
    return limit


def given(*pairs: tuple[QueryableAttribute[Any], object]) -> list[ColumnElement[bool]]:
    """`column == value` for each pair whose value is not None."""
    return [column == value for column, value in pairs if value is not None]


def unless_any(column: QueryableAttribute[Any], value: object) -> list[ColumnElement[bool]]:
    """`column == value`, where None is a value like others; nothing for ANY."""
    return [] if value is ANY else [column == value]


def within(
    column: QueryableAttribute[Any], start: datetime | None, end: datetime | None
) -> list[ColumnElement[bool]]:
    """*column* from *start* up to, not including, *end*; None leaves that side open."""
    return [
        *([] if start is None else [column >= start]),
        *([] if end is None else [column < end]),
    ]


def recent(column: QueryableAttribute[Any], hours: Any) -> ColumnElement[bool]:
    """*column* within the last *hours* by the server's clock. Raises InvalidFilter for what is no time."""
    try:
        span = timedelta(hours=hours)
    except (TypeError, ValueError, OverflowError) as problem:
        raise InvalidFilter(f"not a number of hours: {problem}", hours=hours) from None
    if span < timedelta(0):
        raise InvalidFilter("hours are counted back from now", hours=hours)
    return column > func.now() - span


@dataclass(frozen=True, slots=True)
class Direction:
    """A column to order by, and which way."""

    column: ColumnElement[Any]
    attribute: str
    descending: bool


def ordering(model: type[Base], order_by: Ordering | Sequence[Ordering] | None) -> tuple[Direction, ...]:
    """*order_by* as directions, the primary key last, so that the order of rows is always total.

    Raises InvalidFilter for what is no column of *model*.
    """
    given = [] if order_by is None else [*order_by] if isinstance(order_by, list | tuple) else [order_by]
    directions = [direction(model, item) for item in given]
    descending = directions[-1].descending if directions else False
    named = {direction.attribute for direction in directions}
    mapper = inspect(model)
    for column in mapper.primary_key:
        attribute = mapper.get_property_by_column(column).key
        if attribute not in named:
            directions.append(Direction(column, attribute, descending))
    return tuple(directions)


@lru_cache(_ORDERINGS_KEPT)
def in_order(model: type[M], directions: tuple[Direction, ...]) -> Select[M]:
    """Every row of *model*, in the order of *directions*."""
    clauses = [item.column.desc() if item.descending else item.column.asc() for item in directions]
    return select(model).order_by(*clauses)


def beyond(directions: tuple[Direction, ...], cursor: Sequence[Any]) -> ColumnElement[bool]:
    """Rows that come after the row whose ordering values are *cursor*.

    Raises InvalidFilter where a keyset cannot serve: mixed directions, nullable columns, a cursor of
    another ordering.
    """
    if len(cursor) != len(directions):
        raise InvalidFilter(
            "the cursor belongs to another ordering", columns=[item.attribute for item in directions]
        )
    if len({item.descending for item in directions}) > 1:
        raise InvalidFilter(
            "a page is ordered in one direction", columns=[item.attribute for item in directions]
        )
    left = _columns_of(directions)
    right = tuple_(*cursor, types=[item.column.type for item in directions])
    return left < right if directions[0].descending else left > right


@lru_cache(_ORDERINGS_KEPT)
def _columns_of(directions: tuple[Direction, ...]) -> Tuple:
    return tuple_(*(item.column for item in directions))


def direction(model: type[Base], item: object) -> Direction:
    """A column of *model*, its `.asc()` or `.desc()`, as a direction. Raises InvalidFilter for others."""
    element: Any = item.__clause_element__() if isinstance(item, QueryableAttribute) else item
    descending = False
    if isinstance(element, UnaryExpression) and element.modifier in (operators.asc_op, operators.desc_op):
        descending = element.modifier is operators.desc_op
        element = element.element
    column = model.__table__.columns.get(element.name) if isinstance(element, ColumnClause) else None
    if column is None or element.table is not model.__table__:
        raise InvalidFilter(
            "give a column of the table, such as Order.created_at or Order.created_at.desc()",
            table=model.__tablename__,
            given=str(item),
        )
    return Direction(column, inspect(model).get_property_by_column(column).key, descending)
