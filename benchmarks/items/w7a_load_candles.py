"""W7a: 100,000 candles of one pair become objects."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import select

from benchmarks.harness.item import Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.items.candles import SELECT, candle, span, store
from benchmarks.peers.sqlalchemy import CANDLES
from benchmarks.peers.sqlalchemy import Candle as PlainCandle


async def setup(bench: Workbench) -> None:
    await store(bench, range(bench.size))


async def prepare(_: Workbench) -> Sequence[None]:
    return [None]


ITEM = Item(
    key="W7a",
    title="load 100,000 candles as objects",
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
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("asyncpg") as connections:

        async def load(_: None) -> None:
            with connections.lent() as connection:
                assert await connection.fetch(SELECT, *span(bench))

        yield load


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("gal_friday") as db:

        async def load(_: None) -> None:
            assert await db.market_data.get_historical_data(*span(bench))

        yield load


@ITEM.peer("gal_friday, stream")
@asynccontextmanager
async def streamed(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("gal_friday") as db:

        async def load(_: None) -> None:
            async for candle in db.market_data.stream():
                assert candle

        yield load


@ITEM.peer("SQLAlchemy Core")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("sqlalchemy") as peer:

        async def load(_: None) -> None:
            exchange, pair, timeframe, start, end = span(bench)
            of_series = select(CANDLES).filter_by(exchange=exchange, trading_pair=pair, timeframe=timeframe)
            within = of_series.where(CANDLES.c.timestamp >= start, CANDLES.c.timestamp < end)
            async with peer.engine.connect() as connection:
                assert (await connection.execute(within.order_by(CANDLES.c.timestamp))).all()

        yield load


@ITEM.peer("SQLAlchemy ORM")
@asynccontextmanager
async def orm(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("sqlalchemy") as peer:

        async def load(_: None) -> None:
            exchange, pair, timeframe, start, end = span(bench)
            of_series = select(PlainCandle).filter_by(
                exchange=exchange, trading_pair=pair, timeframe=timeframe
            )
            within = of_series.where(CANDLES.c.timestamp >= start, CANDLES.c.timestamp < end)
            async with peer.session() as session:
                assert (await session.scalars(within.order_by(CANDLES.c.timestamp))).all()

        yield load


@ITEM.peer("advanced-alchemy")
@asynccontextmanager
async def aa(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("advanced_alchemy") as peer:

        async def load(_: None) -> None:
            exchange, pair, timeframe, start, end = span(bench)
            async with peer.session() as session:
                assert await peer.Candles(session=session).list(
                    CANDLES.c.timestamp >= start,
                    CANDLES.c.timestamp < end,
                    exchange=exchange,
                    trading_pair=pair,
                    timeframe=timeframe,
                    order_by=[("timestamp", False)],
                )

        yield load


@ITEM.peer("Tortoise")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("tortoise") as peer:

        async def load(_: None) -> None:
            exchange, pair, timeframe, start, end = span(bench)
            of_series = peer.Candle.filter(exchange=exchange, trading_pair=pair, timeframe=timeframe)
            assert await of_series.filter(timestamp__gte=start, timestamp__lt=end).order_by("timestamp")

        yield load


@ITEM.peer("Piccolo")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("piccolo") as peer:

        async def load(_: None) -> None:
            exchange, pair, timeframe, start, end = span(bench)
            candle = peer.Candle
            of_series = (candle.exchange == exchange) & (candle.trading_pair == pair)
            within = (candle.timestamp >= start) & (candle.timestamp < end)
            found = candle.objects().where(of_series & (candle.timeframe == timeframe) & within)
            assert await found.order_by(candle.timestamp)

        yield load


@ITEM.peer("psycopg")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("psycopg") as pool:

        async def load(_: None) -> None:
            async with pool.connection() as connection:
                assert await (await connection.execute(SELECT, span(bench))).fetchall()

        yield load


@ITEM.peer("vnpy_postgresql, own schema")
@asynccontextmanager
async def vnpy(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("vnpy") as peer:
        peer.database.save_bar_data([peer.bar(candle(number)) for number in range(bench.size)])

        async def load(_: None) -> None:
            _exchange, pair, _timeframe, start, end = span(bench)
            assert peer.database.load_bar_data(pair, peer.exchange, peer.interval, start, end)

        yield load
