"""Tortoise ORM over asyncpg, with models of our tables."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Table
from tortoise import Tortoise, fields
from tortoise.models import Model
from tortoise.transactions import in_transaction

from benchmarks.harness.workbench import Workbench
from benchmarks.peers.columns import Kind, ModelColumn, columns_of
from gal_friday.dal import models

FIELDS: dict[Kind, Callable[..., Any]] = {
    Kind.UUID: fields.UUIDField,
    Kind.TEXT: fields.TextField,
    Kind.VARCHAR: fields.CharField,
    Kind.NUMERIC: fields.DecimalField,
    Kind.INTEGER: fields.BigIntField,
    Kind.BOOLEAN: fields.BooleanField,
    Kind.TIMESTAMP: fields.DatetimeField,
    Kind.JSON: fields.JSONField,
}
#: It quantizes every value in the decimal context in force, whose 28 digits are too few for 36 decimals.
DECIMALS = 18
#: Names a Tortoise model has for something else.
TAKEN = {"raw"}


def model_of(name: str, table: Table) -> type[Any]:
    attributes = {
        f"{column.name}_" if column.name in TAKEN else column.name: _field(column)
        for column in columns_of(table)
    }
    meta = type("Meta", (), {"table": table.name})
    return type(name, (Model,), {**attributes, "Meta": meta, "__module__": __name__})


def _field(column: ModelColumn) -> Any:
    options: dict[str, Any] = {"source_field": column.name, "null": column.nullable}
    if column.primary_key:
        options["primary_key"] = True
    elif column.default is not None:
        options["default"] = dict if column.default == {} else column.default
    if column.kind is Kind.VARCHAR:
        options["max_length"] = column.length
    if column.kind is Kind.NUMERIC:
        options |= {"max_digits": column.precision, "decimal_places": min(column.scale, DECIMALS)}
    return FIELDS[column.kind](**options)


Order = model_of("Order", models.Order.__table__)  # type: ignore[arg-type]  # FromClause, to the type checker
Fill = model_of("Fill", models.Fill.__table__)  # type: ignore[arg-type]
Signal = model_of("Signal", models.Signal.__table__)  # type: ignore[arg-type]
Position = model_of("Position", models.Position.__table__)  # type: ignore[arg-type]
Candle = model_of("Candle", models.Candle.__table__)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Any]:
    """The models, on a pool."""
    url = bench.url.replace("postgresql://", "asyncpg://")
    await Tortoise.init(
        db_url=f"{url}?minsize=1&maxsize={bench.pool_size}", modules={"models": [__name__]}, use_tz=True
    )
    try:
        yield SimpleNamespace(
            Order=Order,
            Fill=Fill,
            Signal=Signal,
            Position=Position,
            Candle=Candle,
            in_transaction=in_transaction,
        )
    finally:
        await Tortoise.close_connections()
