"""W8: a page of 50 filled orders among 1,000,000 orders, oldest first: the first page, and one far behind it.

By hand and in gal_friday the far page is asked for by where the page before it ended; with OFFSET, which is
what the other libraries offer, the server walks there.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from benchmarks.harness.item import Item, Operation, Variant
from benchmarks.harness.workbench import Workbench
from benchmarks.peers.sqlalchemy import ORDERS
from benchmarks.peers.sqlalchemy import Order as PlainOrder
from benchmarks.rows import with_strategy
from gal_friday.dal.models import Order, OrderStatus

ORDERS_STORED, QUICK_ORDERS_STORED = 1_000_000, 50_000
PAGE = 50
DEEP = "deep"

#: Half of them filled, a second apart; triggers are not what is measured here.
FILL_TABLE = """
    INSERT INTO orders (
        id, account_id, client_order_id, strategy_id, exchange, trading_pair, side, order_type, quantity,
        limit_price, status, created_at
    )
    SELECT gen_random_uuid(), 'default', 'order-' || number, 'momentum', 'kraken', 'BTC/USD', 'BUY', 'LIMIT',
        1, 50000 + number % 1000, CASE number % 2 WHEN 0 THEN 'FILLED' ELSE 'CANCELED' END,
        timestamptz '2026-01-01 00:00Z' + number * interval '1 second'
    FROM generate_series(1, $1) AS number
"""
LAST_BEFORE = """
    SELECT created_at, id FROM orders WHERE account_id = 'default' AND status = 'FILLED'
    ORDER BY created_at, id OFFSET $1 LIMIT 1
"""
FIRST_PAGE = """
    SELECT * FROM orders WHERE account_id = 'default' AND status = 'FILLED' ORDER BY created_at, id LIMIT $1
"""
NEXT_PAGE = """
    SELECT * FROM orders
    WHERE account_id = 'default' AND status = 'FILLED' AND (created_at, id) > ($2, $3)
    ORDER BY created_at, id LIMIT $1
"""


class Place(NamedTuple):
    """Where a page begins: rows before it, and the last of those (None: there are none)."""

    offset: int
    after: tuple[datetime, UUID] | None


async def setup(bench: Workbench) -> None:
    await with_strategy(bench)
    owner = await bench.owner()
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(FILL_TABLE, QUICK_ORDERS_STORED if bench.quick else ORDERS_STORED)
    await owner.execute("VACUUM ANALYZE orders")
    await owner.close()


async def prepare(bench: Workbench) -> Sequence[Place]:
    if bench.variant != DEEP:
        return [Place(0, None)] * bench.size
    offset = (QUICK_ORDERS_STORED if bench.quick else ORDERS_STORED) * 9 // 20
    owner = await bench.owner()
    last = await owner.fetchrow(LAST_BEFORE, offset - 1)
    await owner.close()
    return [Place(offset, (last["created_at"], UUID(bytes=last["id"].bytes)))] * bench.size


ITEM = Item(
    key="W8",
    title="a page of 50 from 1,000,000 orders",
    unit="pages/s",
    setup=setup,
    prepare=prepare,
    size=50,
    quick_size=20,
    variants=(Variant("first"), Variant(DEEP, share=0.1)),
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[Place]]:
    async with bench.peer("asyncpg") as connections:

        async def page(place: Place) -> None:
            with connections.lent() as connection:
                if place.after is None:
                    rows = await connection.fetch(FIRST_PAGE, PAGE)
                else:
                    rows = await connection.fetch(NEXT_PAGE, PAGE, *place.after)
            assert len(rows) == PAGE

        yield page


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[Place]]:
    async with bench.peer("gal_friday") as db:

        async def page(place: Place) -> None:
            found = await db.orders.page(
                Order.account_id == "default",
                Order.status == OrderStatus.FILLED,
                order_by=Order.created_at,
                after=place.after,
                limit=PAGE,
            )
            assert len(found.items) == PAGE

        yield page


@ITEM.peer("SQLAlchemy Core, OFFSET")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[Place]]:
    async with bench.peer("sqlalchemy") as peer:

        async def page(place: Place) -> None:
            statement = (
                select(ORDERS)
                .where(ORDERS.c.account_id == "default", ORDERS.c.status == "FILLED")
                .order_by(ORDERS.c.created_at, ORDERS.c.id)
                .limit(PAGE)
                .offset(place.offset)
            )
            async with peer.engine.connect() as connection:
                assert len((await connection.execute(statement)).all()) == PAGE

        yield page


@ITEM.peer("SQLAlchemy ORM, OFFSET")
@asynccontextmanager
async def orm(bench: Workbench) -> AsyncIterator[Operation[Place]]:
    async with bench.peer("sqlalchemy") as peer:

        async def page(place: Place) -> None:
            statement = (
                select(PlainOrder)
                .where(ORDERS.c.account_id == "default", ORDERS.c.status == "FILLED")
                .order_by(ORDERS.c.created_at, ORDERS.c.id)
                .limit(PAGE)
                .offset(place.offset)
            )
            async with peer.session() as session:
                assert len((await session.scalars(statement)).all()) == PAGE

        yield page


@ITEM.peer("advanced-alchemy, OFFSET")
@asynccontextmanager
async def aa(bench: Workbench) -> AsyncIterator[Operation[Place]]:
    async with bench.peer("advanced_alchemy") as peer:

        async def page(place: Place) -> None:
            async with peer.session() as session:
                rows = await peer.Orders(session=session).list(
                    peer.LimitOffset(PAGE, place.offset),
                    order_by=[("created_at", False), ("id", False)],
                    account_id="default",
                    status="FILLED",
                )
            assert len(rows) == PAGE

        yield page


@ITEM.peer("Tortoise, OFFSET")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[Place]]:
    async with bench.peer("tortoise") as peer:

        async def page(place: Place) -> None:
            filled = peer.Order.filter(account_id="default", status="FILLED").order_by("created_at", "id")
            assert len(await filled.limit(PAGE).offset(place.offset)) == PAGE

        yield page


@ITEM.peer("Piccolo, OFFSET")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[Place]]:
    async with bench.peer("piccolo") as peer:

        async def page(place: Place) -> None:
            order = peer.Order
            filled = order.objects().where((order.account_id == "default") & (order.status == "FILLED"))
            rows = await filled.order_by(order.created_at, order.id).limit(PAGE).offset(place.offset)
            assert len(rows) == PAGE

        yield page


@ITEM.peer("psycopg")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[Place]]:
    async with bench.peer("psycopg") as pool:

        async def page(place: Place) -> None:
            sql = FIRST_PAGE if place.after is None else NEXT_PAGE
            async with pool.connection() as connection:
                cursor = await connection.execute(sql, [PAGE, *(place.after or ())])
                assert len(await cursor.fetchall()) == PAGE

        yield page
