"""Piccolo over asyncpg, with models of our tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from piccolo.columns import UUID, Boolean, Integer, Numeric, Text, Timestamptz, Varchar
from piccolo.columns.column_types import JSONB
from piccolo.engine.postgres import PostgresEngine
from piccolo.table import Table as Model
from piccolo.table import create_table_class
from sqlalchemy import Table

from benchmarks.harness.workbench import Workbench
from benchmarks.peers.columns import Kind, ModelColumn, columns_of
from gal_friday.dal import models

COLUMNS = {
    Kind.UUID: UUID,
    Kind.TEXT: Text,
    Kind.VARCHAR: Varchar,
    Kind.NUMERIC: Numeric,
    Kind.INTEGER: Integer,
    Kind.BOOLEAN: Boolean,
    Kind.TIMESTAMP: Timestamptz,
    Kind.JSON: JSONB,
}


def model_of(name: str, table: Table, engine: PostgresEngine) -> Any:
    attributes = {column.name: _column(column) for column in columns_of(table)}
    return create_table_class(
        name, bases=(Model,), class_kwargs={"tablename": table.name, "db": engine}, class_members=attributes
    )


def _column(column: ModelColumn) -> Any:
    options: dict[str, Any] = {"primary_key": column.primary_key, "null": column.nullable}
    options["default"] = None if column.default is None else column.default
    if column.kind is Kind.VARCHAR:
        options["length"] = column.length
    if column.kind is Kind.NUMERIC:
        options["digits"] = (column.precision, column.scale)
    if column.default is None and not column.nullable:
        options["required"] = True
    return COLUMNS[column.kind](**options)


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Any]:
    """The models, on a pool."""
    engine = PostgresEngine(config={"dsn": bench.url, "min_size": 1, "max_size": bench.pool_size})
    await engine.start_connection_pool()
    try:
        yield SimpleNamespace(
            Order=model_of("Order", models.Order.__table__, engine),  # type: ignore[arg-type]
            Fill=model_of("Fill", models.Fill.__table__, engine),  # type: ignore[arg-type]
            Signal=model_of("Signal", models.Signal.__table__, engine),  # type: ignore[arg-type]
            Position=model_of("Position", models.Position.__table__, engine),  # type: ignore[arg-type]
            Candle=model_of("Candle", models.Candle.__table__, engine),  # type: ignore[arg-type]
            transaction=engine.transaction,
        )
    finally:
        await engine.close_connection_pool()
