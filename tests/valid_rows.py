"""A valid row of any table, made from its metadata, with the rows it refers to."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, inspect

from gal_friday.dal.models import Base, new_id
from gal_friday.dal.models.types import (
    CalendarDate,
    ClosedSet,
    ExactNumeric,
    Flag,
    Identifier,
    Json,
    LongNumber,
    PlainText,
    TextArray,
    TransactionId,
    UtcDateTime,
    WholeNumber,
)
from gal_friday.dal.unit_of_work import UnitOfWork

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

#: What a table's rules ask for beyond its columns' types.
DEMANDS: Mapping[str, Mapping[str, Any]] = {
    "accounts": {"halted_at": None, "halt_reason": None},
    "strategies": {"timeframe": "5m", "trading_pairs": ["BTC/USD"], "total_trades": 1, "winning_trades": 1},
    "backtests": {"timeframe": "5m", "start_date": datetime(2026, 1, 1, tzinfo=UTC), "end_date": NOON},
    "market_data": {"timeframe": "5m"},
    "positions": {"closed_at": None},
    "orders": {"client_order_id": None, "origin": "EXTERNAL"},
    "unmatched_fills": {"exchange_order_id": "X1"},
    "system_config": {"value": "x", "data_type": "string", "is_sensitive": False},
}


async def a_row_of(model: type[Base], uow: UnitOfWork, **overrides: Any) -> Base:
    """An entity of *model*, not yet stored, whose references are stored already."""
    values: dict[str, Any] = {}
    demands = {**DEMANDS.get(model.__tablename__, {}), **overrides}
    for attribute in inspect(model).column_attrs:
        column = attribute.columns[0]
        assert isinstance(column, Column)
        if column.name in demands:
            values[attribute.key] = demands[column.name]
        elif column.computed is not None or column.identity is not None or column.nullable:
            continue
        elif column.foreign_keys:
            values[attribute.key] = await _reference(column, uow)
        elif column.server_default is None:
            values[attribute.key] = _typical(column)
    return model(**values)


async def _reference(column: "Column[Any]", uow: UnitOfWork) -> Any:
    target = next(iter(column.foreign_keys)).column
    if target.table.name == "accounts":
        return "default"
    model = next(mapper.class_ for mapper in Base.registry.mappers if mapper.local_table is target.table)
    parent = await a_row_of(model, uow)
    uow.session.add(parent)
    await uow.flush()
    return getattr(parent, inspect(model).get_property_by_column(target).key)


TYPICAL: list[tuple[tuple[type[Any], ...], Callable[[Any], Any]]] = [
    ((ExactNumeric,), lambda _: Decimal("0.5")),
    ((UtcDateTime,), lambda _: NOON),
    ((CalendarDate,), lambda _: date(2026, 11, 21)),
    ((PlainText,), lambda kind: new_id().hex[::-1][: kind.length]),
    ((ClosedSet,), lambda kind: next(iter(kind.enum))),
    ((Json,), lambda kind: [] if kind.kind == "array" else {}),
    ((TextArray,), lambda _: ["x"]),
    ((Flag,), lambda _: False),
    ((Identifier,), lambda _: new_id()),
    ((WholeNumber, LongNumber, TransactionId), lambda _: 1),
]


def _typical(column: "Column[Any]") -> Any:
    return next(value for kinds, value in TYPICAL if isinstance(column.type, kinds))(column.type)
