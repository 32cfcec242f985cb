"""W4a: an order's life in one transaction: signal, order, three fills, the order filled, position.

Each life has a pair of its own, as a strategy holds one open position in a pair.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import insert, update

from benchmarks.harness.item import CONCURRENCY, Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.items import lifecycle_statements as sql
from benchmarks.peers import sqlalchemy as plain
from benchmarks.rows import (
    NOON,
    Row,
    fill_row,
    order_row,
    position_row,
    signal_row,
    with_strategy,
)
from gal_friday.dal.models import Fill, Order, OrderStatus, Position, Signal, new_id


@dataclass(frozen=True, slots=True)
class Life:
    """What is stored, and the order as it stands at the end."""

    signal: Row
    order: Row
    fills: Sequence[Row]
    filled: Decimal
    cost: Decimal
    position: Row

    @property
    def order_id(self) -> UUID:
        identity: UUID = self.order["id"]
        return identity

    @property
    def average_price(self) -> Decimal:
        return (self.cost / self.filled).quantize(Decimal("1e-18"))

    @property
    def outcome(self) -> Row:
        """Columns of the order that the update changes."""
        return {
            "status": "FILLED",
            "status_at": NOON,
            "filled_at": NOON,
            "filled_quantity": self.filled,
            "cost": self.cost,
            "average_fill_price": self.average_price,
        }


def life() -> Life:
    pair = f"{new_id().hex}/USD"
    signal = signal_row(trading_pair=pair)
    order = order_row(trading_pair=pair, signal_id=signal["id"])
    third = order["quantity"] / 3
    fills = [fill_row(order, number, quantity_filled=third) for number in range(3)]
    cost = sum((fill["quantity_filled"] * fill["fill_price"] for fill in fills), Decimal(0))
    position = position_row(
        trading_pair=pair, quantity=order["quantity"], cost=cost, entry_price=fills[1]["fill_price"]
    )
    return Life(signal, order, fills, order["quantity"], cost, position)


async def prepare(bench: Workbench) -> Sequence[Life]:
    return [life() for _ in range(bench.size)]


ITEM = Item(
    key="W4a",
    title="an order's life through a unit of work",
    unit="lives/s",
    setup=with_strategy,
    prepare=prepare,
    size=40,
    quick_size=16,
    variants=CONCURRENCY,
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[Life]]:
    async with bench.peer("asyncpg") as connections:

        async def live(given: Life) -> None:
            with connections.lent() as connection:
                async with connection.transaction():
                    await connection.execute(sql.ADD_SIGNAL, *given.signal.values())
                    await connection.execute(sql.ADD_ORDER, *given.order.values())
                    await connection.executemany(sql.ADD_FILL, [tuple(fill.values()) for fill in given.fills])
                    filling = (sql.FILL_ORDER, given.order_id, 1, *given.outcome.values())
                    assert await connection.fetchval(*filling)
                    await connection.execute(sql.ADD_POSITION, *given.position.values())

        yield live


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[Life]]:
    async with bench.peer("gal_friday") as db:

        async def live(given: Life) -> None:
            async with db.transaction() as uow:
                await uow.signals.add(Signal(**given.signal))
                order = await uow.orders.add(Order(**given.order))
                await uow.fills.add_many(Fill(**fill) for fill in given.fills)
                await uow.orders.transition(
                    order.id, OrderStatus.FILLED, at=NOON, filled_quantity=given.filled, cost=given.cost
                )
                await uow.positions.add(Position(**given.position))

        yield live


@ITEM.peer("SQLAlchemy Core")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[Life]]:
    async with bench.peer("sqlalchemy") as peer:

        async def live(given: Life) -> None:
            orders = plain.ORDERS
            async with peer.engine.begin() as connection:
                await connection.execute(insert(plain.SIGNALS), given.signal)
                await connection.execute(insert(orders), given.order)
                await connection.execute(insert(plain.FILLS), given.fills)
                of_version = (orders.c.id == given.order_id, orders.c.row_version == 1)
                changed = await connection.execute(update(orders).where(*of_version).values(given.outcome))
                assert changed.rowcount == 1
                await connection.execute(insert(plain.POSITIONS), given.position)

        yield live


@ITEM.peer("SQLAlchemy ORM")
@asynccontextmanager
async def orm(bench: Workbench) -> AsyncIterator[Operation[Life]]:
    async with bench.peer("sqlalchemy") as peer:

        async def live(given: Life) -> None:
            async with peer.session() as session:
                session.add(plain.Signal(**given.signal))
                await session.flush()
                session.add(order := plain.Order(**given.order))
                await session.flush()
                session.add_all(plain.Fill(**fill) for fill in given.fills)
                for name, value in given.outcome.items():
                    setattr(order, name, value)
                session.add(plain.Position(**given.position))
                await session.commit()

        yield live


@ITEM.peer("advanced-alchemy")
@asynccontextmanager
async def aa(bench: Workbench) -> AsyncIterator[Operation[Life]]:
    async with bench.peer("advanced_alchemy") as peer:

        async def live(given: Life) -> None:
            async with peer.session() as session:
                orders = peer.Orders(session=session)
                await peer.Signals(session=session).add(plain.Signal(**given.signal))
                order = await orders.add(plain.Order(**given.order))
                await peer.Fills(session=session).add_many([plain.Fill(**fill) for fill in given.fills])
                for name, value in given.outcome.items():
                    setattr(order, name, value)
                await orders.update(order)
                await peer.Positions(session=session).add(plain.Position(**given.position), auto_commit=True)

        yield live


@ITEM.peer("Tortoise")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[Life]]:
    async with bench.peer("tortoise") as peer:

        async def live(given: Life) -> None:
            async with peer.in_transaction():
                await peer.Signal.create(**given.signal)
                await peer.Order.create(**given.order)
                await peer.Fill.bulk_create(peer.Fill(**fill) for fill in given.fills)
                changed = peer.Order.filter(id=given.order_id, row_version=1).update(**given.outcome)
                assert await changed == 1
                await peer.Position.create(**given.position)

        yield live


@ITEM.peer("Piccolo")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[Life]]:
    async with bench.peer("piccolo") as peer:

        async def live(given: Life) -> None:
            order = peer.Order
            async with peer.transaction():
                await peer.Signal.insert(peer.Signal(**given.signal))
                await order.insert(order(**given.order))
                await peer.Fill.insert(*[peer.Fill(**fill) for fill in given.fills])
                of_version = (order.id == given.order_id) & (order.row_version == 1)
                assert await order.update(given.outcome).where(of_version).returning(order.id)
                await peer.Position.insert(peer.Position(**given.position))

        yield live


@ITEM.peer("psycopg, pipeline")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[Life]]:
    async with bench.peer("psycopg") as pool:

        async def live(given: Life) -> None:
            async with pool.connection() as connection, connection.pipeline(), connection.transaction():
                await connection.execute(sql.ADD_SIGNAL, list(given.signal.values()))
                await connection.execute(sql.ADD_ORDER, list(given.order.values()))
                for fill in given.fills:
                    await connection.execute(sql.ADD_FILL, list(fill.values()))
                changed = await connection.execute(
                    sql.FILL_ORDER, [given.order_id, 1, *given.outcome.values()]
                )
                await connection.execute(sql.ADD_POSITION, list(given.position.values()))
                assert await changed.fetchone()

        yield live
