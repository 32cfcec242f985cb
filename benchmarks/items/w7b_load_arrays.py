"""W7b: 100,000 candles of one pair as columns of floats, for calculations; the floor are Records, as in W7a.

gal_friday goes the way there is: candles as objects, then columns. ADBC has the server make floats of its
numerics and hands over Arrow.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from benchmarks.harness.item import Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.items.candles import span, store

PRICES = ("open", "high", "low", "close", "volume")
AS_NUMERICS = """
    SELECT "timestamp", open, high, low, close, volume FROM market_data
    WHERE exchange = $1 AND trading_pair = $2 AND timeframe = $3 AND "timestamp" >= $4 AND "timestamp" < $5
    ORDER BY "timestamp"
"""
AS_FLOATS = """
    SELECT "timestamp", open::float8, high::float8, low::float8, close::float8, volume::float8
    FROM market_data
    WHERE exchange = $1 AND trading_pair = $2 AND timeframe = $3 AND "timestamp" >= $4 AND "timestamp" < $5
    ORDER BY "timestamp"
"""


async def setup(bench: Workbench) -> None:
    await store(bench, range(bench.size))


async def prepare(_: Workbench) -> Sequence[None]:
    return [None]


ITEM = Item(
    key="W7b",
    title="load 100,000 candles as columns of floats",
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
                assert await connection.fetch(AS_NUMERICS, *span(bench))

        yield load


@ITEM.peer("asyncpg, floats in columns")
@asynccontextmanager
async def floats_by_hand(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("asyncpg") as connections:

        async def load(_: None) -> None:
            with connections.lent() as connection:
                rows = await connection.fetch(AS_FLOATS, *span(bench))
            assert len(list(zip(*rows, strict=True))) == 1 + len(PRICES)

        yield load


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("gal_friday") as db:

        async def load(_: None) -> None:
            candles = await db.market_data.get_historical_data(*span(bench))
            columns = {name: [float(getattr(candle, name)) for candle in candles] for name in PRICES}
            columns["timestamp"] = [candle.timestamp.timestamp() for candle in candles]
            assert columns["open"]

        yield load


@ITEM.peer("ADBC, float8")
@asynccontextmanager
async def adbc(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("adbc") as connection:

        async def load(_: None) -> None:
            with connection.cursor() as cursor:
                cursor.execute(AS_FLOATS, span(bench))
                assert cursor.fetch_arrow_table().num_rows

        yield load
