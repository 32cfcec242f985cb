"""SQLAlchemy as its users have it: an engine with its pool, our tables in SQLAlchemy's own types."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, FetchedValue, MetaData, Table, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from benchmarks.harness.workbench import Workbench
from gal_friday.dal import models


@dataclass(frozen=True, slots=True)
class SQLAlchemy:
    engine: AsyncEngine
    session: async_sessionmaker[AsyncSession]


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[SQLAlchemy]:
    url = make_url(bench.url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, pool_size=bench.pool_size, max_overflow=0)
    try:
        yield SQLAlchemy(engine, async_sessionmaker(engine, expire_on_commit=False))
    finally:
        await engine.dispose()


#: Names a declarative class has for something else.
RESERVED = {"metadata"}


class Base(DeclarativeBase):
    metadata = MetaData()


def plain(table: Table) -> Table:
    """*table* without what gal_friday's types add: the driver's values go in and out as they are."""
    return Table(table.name, Base.metadata, *map(_plain_column, table.columns))


def _plain_column(column: Column[Any]) -> Column[Any]:
    assert isinstance(column.type, TypeDecorator)
    filled_by_server = column.server_default is not None or column.computed is not None
    return Column(
        column.name,
        column.type.impl_instance,
        key=f"{column.name}_" if column.name in RESERVED else column.name,
        primary_key=column.primary_key,
        nullable=column.nullable,
        server_default=FetchedValue() if filled_by_server else None,
        server_onupdate=FetchedValue() if column.server_onupdate is not None else None,
    )


ORDERS = plain(models.Order.__table__)  # type: ignore[arg-type]  # FromClause, to the type checker
SIGNALS = plain(models.Signal.__table__)  # type: ignore[arg-type]
POSITIONS = plain(models.Position.__table__)  # type: ignore[arg-type]
CANDLES = plain(models.Candle.__table__)  # type: ignore[arg-type]
FILLS = plain(models.Fill.__table__)  # type: ignore[arg-type]


class Order(Base):
    __table__ = ORDERS
    __mapper_args__ = {  # noqa: RUF012 -- SQLAlchemy's declared form
        "version_id_col": ORDERS.c.row_version,
        "version_id_generator": False,
    }


class Fill(Base):
    __table__ = FILLS


class Signal(Base):
    __table__ = SIGNALS


class Position(Base):
    __table__ = POSITIONS


class Candle(Base):
    __table__ = CANDLES
