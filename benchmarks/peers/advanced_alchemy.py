"""advanced-alchemy: its repositories over SQLAlchemy's sessions and the same models."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from advanced_alchemy.filters import LimitOffset
from advanced_alchemy.repository import SQLAlchemyAsyncRepository

from benchmarks.harness.workbench import Workbench
from benchmarks.peers import sqlalchemy


class Orders(SQLAlchemyAsyncRepository[sqlalchemy.Order]):  # type: ignore[misc]  # a peer is Any
    model_type = sqlalchemy.Order


class Fills(SQLAlchemyAsyncRepository[sqlalchemy.Fill]):  # type: ignore[misc]
    model_type = sqlalchemy.Fill


class Signals(SQLAlchemyAsyncRepository[sqlalchemy.Signal]):  # type: ignore[misc]
    model_type = sqlalchemy.Signal


class Positions(SQLAlchemyAsyncRepository[sqlalchemy.Position]):  # type: ignore[misc]
    model_type = sqlalchemy.Position


class Candles(SQLAlchemyAsyncRepository[sqlalchemy.Candle]):  # type: ignore[misc]
    model_type = sqlalchemy.Candle


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Any]:
    async with sqlalchemy.opened(bench) as peer:
        yield SimpleNamespace(
            session=peer.session,
            Orders=Orders,
            Fills=Fills,
            Signals=Signals,
            Positions=Positions,
            Candles=Candles,
            LimitOffset=LimitOffset,
        )
