"""W2: get one order by its id."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import select

from benchmarks.harness.item import Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.peers.sqlalchemy import ORDERS
from benchmarks.peers.sqlalchemy import Order as PlainOrder
from benchmarks.rows import store_orders, with_strategy

SELECT = "SELECT * FROM orders WHERE id = $1"
ANY_ORDERS = "SELECT id FROM orders ORDER BY random() LIMIT $1"


async def setup(bench: Workbench) -> None:
    await with_strategy(bench)
    await store_orders(bench, 2_000)


async def prepare(bench: Workbench) -> Sequence[UUID]:
    owner = await bench.owner()
    found = await owner.fetch(ANY_ORDERS, bench.size)
    await owner.close()
    return [UUID(bytes=row["id"].bytes) for row in found]


ITEM = Item(
    key="W2",
    title="get one order by id",
    unit="orders/s",
    setup=setup,
    prepare=prepare,
    size=400,
    quick_size=100,
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[UUID]]:
    async with bench.peer("asyncpg") as connections:

        async def get(order_id: UUID) -> None:
            with connections.lent() as connection:
                assert await connection.fetchrow(SELECT, order_id)

        yield get


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[UUID]]:
    async with bench.peer("gal_friday") as db:

        async def get(order_id: UUID) -> None:
            assert await db.orders.get(order_id)

        yield get


@ITEM.peer("SQLAlchemy Core")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[UUID]]:
    async with bench.peer("sqlalchemy") as peer:

        async def get(order_id: UUID) -> None:
            async with peer.engine.connect() as connection:
                assert (await connection.execute(select(ORDERS).where(ORDERS.c.id == order_id))).one()

        yield get


@ITEM.peer("SQLAlchemy ORM")
@asynccontextmanager
async def orm(bench: Workbench) -> AsyncIterator[Operation[UUID]]:
    async with bench.peer("sqlalchemy") as peer:

        async def get(order_id: UUID) -> None:
            async with peer.session() as session:
                assert await session.get(PlainOrder, order_id)

        yield get


@ITEM.peer("advanced-alchemy")
@asynccontextmanager
async def aa(bench: Workbench) -> AsyncIterator[Operation[UUID]]:
    async with bench.peer("advanced_alchemy") as peer:

        async def get(order_id: UUID) -> None:
            async with peer.session() as session:
                assert await peer.Orders(session=session).get(order_id)

        yield get


@ITEM.peer("Tortoise")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[UUID]]:
    async with bench.peer("tortoise") as peer:

        async def get(order_id: UUID) -> None:
            assert await peer.Order.get(id=order_id)

        yield get


@ITEM.peer("Piccolo")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[UUID]]:
    async with bench.peer("piccolo") as peer:

        async def get(order_id: UUID) -> None:
            assert await peer.Order.objects().get(peer.Order.id == order_id)

        yield get


@ITEM.peer("psycopg")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[UUID]]:
    async with bench.peer("psycopg") as pool:

        async def get(order_id: UUID) -> None:
            async with pool.connection() as connection:
                cursor = await connection.execute(SELECT, [order_id])
                assert await cursor.fetchone()

        yield get
