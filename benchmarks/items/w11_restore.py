"""W11: after a restart, 10,000 open positions and 10,000 working orders become objects."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import select

from benchmarks.harness.item import Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.peers.sqlalchemy import ORDERS, POSITIONS
from benchmarks.peers.sqlalchemy import Order as PlainOrder
from benchmarks.peers.sqlalchemy import Position as PlainPosition
from benchmarks.rows import with_strategy
from gal_friday.dal.models import WORKING_ORDER_STATUSES, Order, Position
from gal_friday.dal.repositories import Repositories

#: Each position in a pair of its own, and an order that works on it.
OPEN_POSITIONS = """
    INSERT INTO positions (
        id, account_id, strategy_id, exchange, trading_pair, quote_currency, side, quantity, cost,
        entry_price, opened_at
    )
    SELECT gen_random_uuid(), 'default', 'momentum', 'kraken', 'C' || number || '/USD', 'USD', 'LONG', 2,
        100000, 50000, now()
    FROM generate_series(1, $1) AS number
"""
WORKING_ORDERS = """
    INSERT INTO orders (
        id, account_id, client_order_id, strategy_id, exchange, trading_pair, side, order_type, quantity,
        limit_price, status
    )
    SELECT gen_random_uuid(), 'default', 'order-' || number, 'momentum', 'kraken', 'C' || number || '/USD',
        'SELL', 'LIMIT', 2, 51000.5, 'NEW'
    FROM generate_series(1, $1) AS number
"""
POSITIONS_OPEN = "SELECT * FROM positions WHERE account_id = 'default' AND closed_at IS NULL ORDER BY id"
ORDERS_WORKING = """
    SELECT * FROM orders
    WHERE account_id = 'default' AND status IN ('PENDING_NEW', 'NEW', 'PARTIALLY_FILLED', 'PENDING_CANCEL')
    ORDER BY id
"""
WORKING = sorted(WORKING_ORDER_STATUSES)


async def setup(bench: Workbench) -> None:
    await with_strategy(bench)
    owner = await bench.owner()
    await owner.execute(OPEN_POSITIONS, bench.size // 2)
    await owner.execute(WORKING_ORDERS, bench.size // 2)
    await owner.execute("VACUUM ANALYZE positions")
    await owner.execute("VACUUM ANALYZE orders")
    await owner.close()


async def prepare(_: Workbench) -> Sequence[None]:
    return [None]


ITEM = Item(
    key="W11",
    title="10,000 open positions and 10,000 working orders restored",
    unit="objects/s",
    setup=setup,
    prepare=prepare,
    size=20_000,
    quick_size=2_000,
    rounds=5,
    measures_memory=True,
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("asyncpg") as connections:

        async def restore(_: None) -> None:
            with connections.lent() as connection:
                positions = await connection.fetch(POSITIONS_OPEN)
                orders = await connection.fetch(ORDERS_WORKING)
            assert len(positions) == len(orders) > 0

        yield restore


async def restored(tables: Repositories) -> None:
    positions = await tables.positions.find_all(
        Position.account_id == "default", Position.closed_at.is_(None)
    )
    orders = await tables.orders.find_all(
        Order.account_id == "default", Order.status.in_(WORKING_ORDER_STATUSES)
    )
    assert len(positions) == len(orders) > 0


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("gal_friday") as db:

        async def restore(_: None) -> None:
            await restored(db)

        yield restore


@ITEM.peer("gal_friday, in a unit of work")
@asynccontextmanager
async def in_unit_of_work(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("gal_friday") as db:

        async def restore(_: None) -> None:
            async with db.transaction(read_only=True) as uow:
                await restored(uow)

        yield restore


@ITEM.peer("SQLAlchemy Core")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("sqlalchemy") as peer:

        async def restore(_: None) -> None:
            open_ones = select(POSITIONS).where(
                POSITIONS.c.account_id == "default", POSITIONS.c.closed_at.is_(None)
            )
            working = select(ORDERS).where(ORDERS.c.account_id == "default", ORDERS.c.status.in_(WORKING))
            async with peer.engine.connect() as connection:
                positions = (await connection.execute(open_ones.order_by(POSITIONS.c.id))).all()
                orders = (await connection.execute(working.order_by(ORDERS.c.id))).all()
            assert len(positions) == len(orders) > 0

        yield restore


@ITEM.peer("SQLAlchemy ORM")
@asynccontextmanager
async def orm(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("sqlalchemy") as peer:

        async def restore(_: None) -> None:
            open_ones = select(PlainPosition).where(
                POSITIONS.c.account_id == "default", POSITIONS.c.closed_at.is_(None)
            )
            working = select(PlainOrder).where(ORDERS.c.account_id == "default", ORDERS.c.status.in_(WORKING))
            async with peer.session() as session:
                positions = (await session.scalars(open_ones.order_by(POSITIONS.c.id))).all()
                orders = (await session.scalars(working.order_by(ORDERS.c.id))).all()
            assert len(positions) == len(orders) > 0

        yield restore


@ITEM.peer("advanced-alchemy")
@asynccontextmanager
async def aa(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("advanced_alchemy") as peer:

        async def restore(_: None) -> None:
            async with peer.session() as session:
                positions = await peer.Positions(session=session).list(
                    POSITIONS.c.closed_at.is_(None), account_id="default", order_by=[("id", False)]
                )
                orders = await peer.Orders(session=session).list(
                    ORDERS.c.status.in_(WORKING), account_id="default", order_by=[("id", False)]
                )
            assert len(positions) == len(orders) > 0

        yield restore


@ITEM.peer("Tortoise")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("tortoise") as peer:

        async def restore(_: None) -> None:
            positions = await peer.Position.filter(account_id="default", closed_at=None).order_by("id")
            orders = await peer.Order.filter(account_id="default", status__in=WORKING).order_by("id")
            assert len(positions) == len(orders) > 0

        yield restore


@ITEM.peer("Piccolo")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("piccolo") as peer:

        async def restore(_: None) -> None:
            position, order = peer.Position, peer.Order
            open_ones = (position.account_id == "default") & position.closed_at.is_null()
            working = (order.account_id == "default") & order.status.is_in(WORKING)
            positions = await position.objects().where(open_ones).order_by(position.id)
            orders = await order.objects().where(working).order_by(order.id)
            assert len(positions) == len(orders) > 0

        yield restore


@ITEM.peer("psycopg")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("psycopg") as pool:

        async def restore(_: None) -> None:
            async with pool.connection() as connection:
                positions = await (await connection.execute(POSITIONS_OPEN)).fetchall()
                orders = await (await connection.execute(ORDERS_WORKING)).fetchall()
            assert len(positions) == len(orders) > 0

        yield restore


@ITEM.peer("freqtrade, own schema")
@asynccontextmanager
async def freqtrade(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("freqtrade") as peer:
        peer.store(bench.size // 2)

        async def restore(_: None) -> None:
            peer.Trade.session.remove()  # as after a restart, nothing is known yet
            trades = peer.Trade.get_open_trades()
            assert sum(len(trade.orders) for trade in trades) == len(trades) > 0

        yield restore
