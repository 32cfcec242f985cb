"""W7b: 100,000 candles of one pair as columns, for calculations; the floor are Records, as in W7a.

gal_friday hands over Arrow with exact decimals, or floats on request. ADBC has the server make floats of its
numerics and hands over Arrow.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from benchmarks.harness.item import Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.items.candles import span, store
from gal_friday import Database
from gal_friday.dal.models import Candle

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
        yield partial(frame, db, bench, exact=True)


@ITEM.peer("gal_friday, floats")
@asynccontextmanager
async def as_floats(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("gal_friday") as db:
        yield partial(frame, db, bench, exact=False)


async def frame(db: Database, bench: Workbench, _: None, *, exact: bool) -> None:
    exchange, pair, timeframe, start, end = span(bench)
    table = await db.market_data.frame(
        Candle.exchange == exchange,
        Candle.trading_pair == pair,
        Candle.timeframe == timeframe,
        Candle.timestamp >= start,
        Candle.timestamp < end,
        columns=[getattr(Candle, name) for name in ("timestamp", *PRICES)],
        order_by=Candle.timestamp,
        kind="arrow",
        exact=exact,
    )
    assert table.num_rows


@ITEM.peer("ADBC, float8")
@asynccontextmanager
async def adbc(bench: Workbench) -> AsyncIterator[Operation[None]]:
    async with bench.peer("adbc") as connection:

        async def load(_: None) -> None:
            with connection.cursor() as cursor:
                cursor.execute(AS_FLOATS, span(bench))
                assert cursor.fetch_arrow_table().num_rows

        yield load
