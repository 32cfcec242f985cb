"""W3: an order read before is acknowledged; that counts only where nobody else changed it since.

By hand that is one statement which names the version read. Who is given an id only, reads first.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import update

from benchmarks.harness.item import DURABILITY, Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.peers.sqlalchemy import ORDERS
from benchmarks.peers.sqlalchemy import Order as PlainOrder
from benchmarks.rows import NOON, store_orders, with_strategy
from gal_friday.dal.models import OrderStatus

UPDATE = """
    UPDATE orders SET status = 'NEW', status_at = $3, submitted_at = $3 WHERE id = $1 AND row_version = $2
"""


class ReadOrder(NamedTuple):
    """What is known of an order that was read."""

    id: UUID
    version: int


async def prepare(bench: Workbench) -> Sequence[ReadOrder]:
    return [ReadOrder(row["id"], 1) for row in await store_orders(bench, bench.size)]


ITEM = Item(
    key="W3",
    title="change an order's status, checking its version",
    unit="changes/s",
    setup=with_strategy,
    prepare=prepare,
    size=100,
    quick_size=40,
    variants=DURABILITY,
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[ReadOrder]]:
    async with bench.peer("asyncpg") as connections:

        async def acknowledge(read: ReadOrder) -> None:
            with connections.lent() as connection:
                assert await connection.execute(UPDATE, read.id, read.version, NOON) == "UPDATE 1"

        yield acknowledge


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[ReadOrder]]:
    async with bench.peer("gal_friday") as db:

        async def acknowledge(read: ReadOrder) -> None:
            await db.orders.transition(read.id, OrderStatus.NEW, at=NOON)

        yield acknowledge


@ITEM.peer("SQLAlchemy Core")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[ReadOrder]]:
    async with bench.peer("sqlalchemy") as peer:

        async def acknowledge(read: ReadOrder) -> None:
            statement = (
                update(ORDERS)
                .where(ORDERS.c.id == read.id, ORDERS.c.row_version == read.version)
                .values(status="NEW", status_at=NOON, submitted_at=NOON)
            )
            async with peer.engine.begin() as connection:
                assert (await connection.execute(statement)).rowcount == 1

        yield acknowledge


@ITEM.peer("SQLAlchemy ORM")
@asynccontextmanager
async def orm(bench: Workbench) -> AsyncIterator[Operation[ReadOrder]]:
    async with bench.peer("sqlalchemy") as peer:

        async def acknowledge(read: ReadOrder) -> None:
            async with peer.session() as session:
                order = await session.get_one(PlainOrder, read.id)
                order.status = "NEW"
                order.status_at = order.submitted_at = NOON
                await session.commit()

        yield acknowledge


@ITEM.peer("advanced-alchemy")
@asynccontextmanager
async def aa(bench: Workbench) -> AsyncIterator[Operation[ReadOrder]]:
    async with bench.peer("advanced_alchemy") as peer:

        async def acknowledge(read: ReadOrder) -> None:
            async with peer.session() as session:
                orders = peer.Orders(session=session)
                order = await orders.get(read.id)
                order.status = "NEW"
                order.status_at = order.submitted_at = NOON
                await orders.update(order, auto_commit=True)

        yield acknowledge


@ITEM.peer("Tortoise")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[ReadOrder]]:
    async with bench.peer("tortoise") as peer:

        async def acknowledge(read: ReadOrder) -> None:
            rows = peer.Order.filter(id=read.id, row_version=read.version)
            assert await rows.update(status="NEW", status_at=NOON, submitted_at=NOON) == 1

        yield acknowledge


@ITEM.peer("Piccolo")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[ReadOrder]]:
    async with bench.peer("piccolo") as peer:

        async def acknowledge(read: ReadOrder) -> None:
            order = peer.Order
            changes = {order.status: "NEW", order.status_at: NOON, order.submitted_at: NOON}
            of_version = (order.id == read.id) & (order.row_version == read.version)
            assert await order.update(changes).where(of_version).returning(order.id)

        yield acknowledge


@ITEM.peer("psycopg")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[ReadOrder]]:
    async with bench.peer("psycopg") as pool:

        async def acknowledge(read: ReadOrder) -> None:
            async with pool.connection() as connection:
                cursor = await connection.execute(UPDATE, [read.id, read.version, NOON])
                assert cursor.rowcount == 1

        yield acknowledge
