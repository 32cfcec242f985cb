"""W1: add one order, with a commit of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import insert

from benchmarks.harness.item import DURABILITY, Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.peers.sqlalchemy import ORDERS
from benchmarks.peers.sqlalchemy import Order as PlainOrder
from benchmarks.rows import Row, order_row, with_strategy
from gal_friday.dal.models import Order

#: Columns in the order of `order_row`.
INSERT = """
    INSERT INTO orders (
        id, account_id, client_order_id, strategy_id, exchange, trading_pair, side, order_type, quantity,
        limit_price
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


async def prepare(bench: Workbench) -> Sequence[Row]:
    return [order_row() for _ in range(bench.size)]


ITEM = Item(
    key="W1",
    title="add one order, own commit",
    unit="orders/s",
    setup=with_strategy,
    prepare=prepare,
    size=100,
    quick_size=40,
    variants=DURABILITY,
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[Row]]:
    async with bench.peer("asyncpg") as connections:

        async def add(row: Row) -> None:
            with connections.lent() as connection:
                await connection.execute(INSERT, *row.values())

        yield add


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[Row]]:
    async with bench.peer("gal_friday") as db:

        async def add(row: Row) -> None:
            await db.orders.add(Order(**row))

        yield add


@ITEM.peer("SQLAlchemy Core")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[Row]]:
    async with bench.peer("sqlalchemy") as peer:

        async def add(row: Row) -> None:
            async with peer.engine.begin() as connection:
                await connection.execute(insert(ORDERS), row)

        yield add


@ITEM.peer("SQLAlchemy ORM")
@asynccontextmanager
async def orm(bench: Workbench) -> AsyncIterator[Operation[Row]]:
    async with bench.peer("sqlalchemy") as peer:

        async def add(row: Row) -> None:
            async with peer.session() as session:
                session.add(PlainOrder(**row))
                await session.commit()

        yield add


@ITEM.peer("advanced-alchemy")
@asynccontextmanager
async def aa(bench: Workbench) -> AsyncIterator[Operation[Row]]:
    async with bench.peer("advanced_alchemy") as peer:

        async def add(row: Row) -> None:
            async with peer.session() as session:
                await peer.Orders(session=session).add(PlainOrder(**row), auto_commit=True)

        yield add


@ITEM.peer("Tortoise")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[Row]]:
    async with bench.peer("tortoise") as peer:

        async def add(row: Row) -> None:
            await peer.Order.create(**row)

        yield add


@ITEM.peer("Piccolo")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[Row]]:
    async with bench.peer("piccolo") as peer:

        async def add(row: Row) -> None:
            await peer.Order.insert(peer.Order(**row))

        yield add


@ITEM.peer("psycopg")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[Row]]:
    async with bench.peer("psycopg") as pool:

        async def add(row: Row) -> None:
            async with pool.connection() as connection:
                await connection.execute(INSERT, list(row.values()))

        yield add
