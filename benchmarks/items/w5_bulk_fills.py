"""W5: store 100,000 fills, given as tuples, in one transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import insert

from benchmarks.harness.item import Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.peers.sqlalchemy import FILLS
from benchmarks.peers.sqlalchemy import Fill as PlainFill
from benchmarks.rows import fill_row, order_row, store_orders, with_strategy
from gal_friday.dal.models import Fill

Tuples = Sequence[tuple[Any, ...]]

COLUMNS = tuple(fill_row(order_row()))
NAMED = [getattr(Fill, name) for name in COLUMNS]
ORDERS_FILLED = 100
SOME_ORDERS = "SELECT id, exchange, trading_pair, side FROM orders LIMIT $1"
#: A table that is only added to refuses TRUNCATE of anybody whose triggers fire.
EMPTY = "SET session_replication_role = replica; TRUNCATE fills CASCADE; RESET session_replication_role"
#: A statement has at most 32,767 parameters, of which a row takes one for each column.
PICCOLO_BATCH = 1_000
PSYCOPG_COPY = """
    COPY fills (
        id, account_id, order_id, fill_id, exchange_order_id, exchange, trading_pair, side, quantity_filled,
        fill_price, quote_currency, commission, commission_asset, filled_at
    ) FROM STDIN
"""


async def setup(bench: Workbench) -> None:
    await with_strategy(bench)
    await store_orders(bench, ORDERS_FILLED, quantity=10**9)


async def prepare(bench: Workbench) -> Sequence[Tuples]:
    """One batch, and an empty table for it."""
    owner = await bench.owner()
    await owner.execute(EMPTY)
    await owner.execute("CHECKPOINT")
    orders = await owner.fetch(SOME_ORDERS, ORDERS_FILLED)
    await owner.close()
    fills = (fill_row(orders[number % ORDERS_FILLED], number) for number in range(bench.size))
    return [[tuple(fill.values()) for fill in fills]]


ITEM = Item(
    key="W5",
    title="store 100,000 fills given as tuples",
    unit="rows/s",
    setup=setup,
    prepare=prepare,
    size=100_000,
    quick_size=10_000,
    rounds=5,
    measures_memory=True,
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[Tuples]]:
    async with bench.peer("asyncpg") as connections:

        async def store(fills: Tuples) -> None:
            with connections.lent() as connection:
                await connection.copy_records_to_table("fills", records=fills, columns=COLUMNS)

        yield store


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[Tuples]]:
    async with bench.peer("gal_friday") as db:

        async def store(fills: Tuples) -> None:
            await db.fills.add_rows(NAMED, fills)

        yield store


@ITEM.peer("SQLAlchemy Core")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[Tuples]]:
    async with bench.peer("sqlalchemy") as peer:

        async def store(fills: Tuples) -> None:
            async with peer.engine.begin() as connection:
                rows = [dict(zip(COLUMNS, fill, strict=True)) for fill in fills]
                await connection.execute(insert(FILLS), rows)

        yield store


@ITEM.peer("SQLAlchemy ORM")
@asynccontextmanager
async def orm(bench: Workbench) -> AsyncIterator[Operation[Tuples]]:
    async with bench.peer("sqlalchemy") as peer:

        async def store(fills: Tuples) -> None:
            async with peer.session() as session:
                session.add_all(PlainFill(**dict(zip(COLUMNS, fill, strict=True))) for fill in fills)
                await session.commit()

        yield store


@ITEM.peer("advanced-alchemy")
@asynccontextmanager
async def aa(bench: Workbench) -> AsyncIterator[Operation[Tuples]]:
    async with bench.peer("advanced_alchemy") as peer:

        async def store(fills: Tuples) -> None:
            async with peer.session() as session:
                entities = [PlainFill(**dict(zip(COLUMNS, fill, strict=True))) for fill in fills]
                await peer.Fills(session=session).add_many(entities, auto_commit=True)

        yield store


@ITEM.peer("Tortoise")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[Tuples]]:
    async with bench.peer("tortoise") as peer:

        async def store(fills: Tuples) -> None:
            await peer.Fill.bulk_create(peer.Fill(**dict(zip(COLUMNS, fill, strict=True))) for fill in fills)

        yield store


@ITEM.peer("Piccolo")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[Tuples]]:
    async with bench.peer("piccolo") as peer:

        async def store(fills: Tuples) -> None:
            async with peer.transaction():
                for start in range(0, len(fills), PICCOLO_BATCH):
                    batch = fills[start : start + PICCOLO_BATCH]
                    rows = [peer.Fill(**dict(zip(COLUMNS, fill, strict=True))) for fill in batch]
                    await peer.Fill.insert(*rows)

        yield store


@ITEM.peer("psycopg, COPY")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[Tuples]]:
    async with bench.peer("psycopg") as pool:

        async def store(fills: Tuples) -> None:
            async with (
                pool.connection() as connection,
                connection.cursor() as cursor,
                cursor.copy(PSYCOPG_COPY) as copy,
            ):
                for fill in fills:
                    await copy.write_row(fill)

        yield store
