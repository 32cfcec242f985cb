"""W6: 100,000 candles given as tuples are stored or brought up to date; every second one is there already."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.dialects.postgresql import Insert, insert

from benchmarks.harness.item import Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.items.candles import COLUMNS, CandleTuple, candle, store
from benchmarks.peers.sqlalchemy import CANDLES
from gal_friday.dal.models import Candle

KEY, VALUES = COLUMNS[:4], COLUMNS[4:]
NAMED = [getattr(Candle, name) for name in COLUMNS]

STAGE = """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_candles (
        exchange varchar, trading_pair varchar, timeframe varchar, "timestamp" timestamptz, open numeric,
        high numeric, low numeric, close numeric, volume numeric, trades_count integer, vwap numeric
    ) ON COMMIT DELETE ROWS
"""
UPSERT = """
    INSERT INTO market_data (
        exchange, trading_pair, timeframe, "timestamp", open, high, low, close, volume, trades_count, vwap
    )
    SELECT * FROM staged_candles
    ON CONFLICT (exchange, trading_pair, timeframe, "timestamp") DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, trades_count = excluded.trades_count, vwap = excluded.vwap
"""
COPY = "COPY staged_candles FROM STDIN"
#: A statement has at most 32,767 parameters.
BATCH = 2_000


async def prepare(bench: Workbench) -> Sequence[Sequence[CandleTuple]]:
    """A batch, with a table that has the even half of it, as it was a moment before."""
    await store(bench, range(0, bench.size, 2))
    batch = [candle(number) for number in range(bench.size)]
    changed = [(*row[:8], row[8] + row[4] / 1000, *row[9:]) for row in batch]
    return [changed]


ITEM = Item(
    key="W6",
    title="upsert 100,000 candles, half of them present",
    unit="rows/s",
    prepare=prepare,
    size=100_000,
    quick_size=10_000,
    rounds=5,
    measures_memory=True,
)


def as_dicts(candles: Sequence[CandleTuple]) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, each, strict=True)) for each in candles]


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[Sequence[CandleTuple]]]:
    async with bench.peer("asyncpg") as connections:

        async def upsert(candles: Sequence[CandleTuple]) -> None:
            with connections.lent() as connection:
                async with connection.transaction():
                    await connection.execute(STAGE)
                    await connection.copy_records_to_table("staged_candles", records=candles)
                    await connection.execute(UPSERT)

        yield upsert


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[Sequence[CandleTuple]]]:
    async with bench.peer("gal_friday") as db:

        async def upsert(candles: Sequence[CandleTuple]) -> None:
            counts = await db.market_data.upsert_rows(NAMED, candles)
            assert counts.inserted > 0

        yield upsert


@ITEM.peer("SQLAlchemy Core")
@asynccontextmanager
async def core(bench: Workbench) -> AsyncIterator[Operation[Sequence[CandleTuple]]]:
    async with bench.peer("sqlalchemy") as peer:
        given: Insert = insert(CANDLES)
        replaced = {name: given.excluded[name] for name in VALUES}
        statement = given.on_conflict_do_update(index_elements=KEY, set_=replaced)

        async def upsert(candles: Sequence[CandleTuple]) -> None:
            async with peer.engine.begin() as connection:
                await connection.execute(statement, as_dicts(candles))

        yield upsert


@ITEM.peer("Tortoise")
@asynccontextmanager
async def tortoise(bench: Workbench) -> AsyncIterator[Operation[Sequence[CandleTuple]]]:
    async with bench.peer("tortoise") as peer:

        async def upsert(candles: Sequence[CandleTuple]) -> None:
            entities = [peer.Candle(**each) for each in as_dicts(candles)]
            await peer.Candle.bulk_create(entities, on_conflict=KEY, update_fields=VALUES)

        yield upsert


@ITEM.peer("Piccolo")
@asynccontextmanager
async def piccolo(bench: Workbench) -> AsyncIterator[Operation[Sequence[CandleTuple]]]:
    async with bench.peer("piccolo") as peer:
        model = peer.Candle
        key = tuple(getattr(model, name) for name in KEY)
        values = [getattr(model, name) for name in VALUES]

        async def upsert(candles: Sequence[CandleTuple]) -> None:
            async with peer.transaction():
                for start in range(0, len(candles), BATCH):
                    rows = [model(**each) for each in as_dicts(candles[start : start + BATCH])]
                    await model.insert(*rows).on_conflict(key, action="DO UPDATE", values=values)

        yield upsert


@ITEM.peer("psycopg, COPY")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[Sequence[CandleTuple]]]:
    async with bench.peer("psycopg") as pool:

        async def upsert(candles: Sequence[CandleTuple]) -> None:
            async with pool.connection() as connection, connection.transaction():
                await connection.execute(STAGE)
                async with connection.cursor() as cursor, cursor.copy(COPY) as copy:
                    for each in candles:
                        await copy.write_row(each)
                await connection.execute(UPSERT)

        yield upsert


@ITEM.peer("vnpy_postgresql, own schema")
@asynccontextmanager
async def vnpy(bench: Workbench) -> AsyncIterator[Operation[Sequence[CandleTuple]]]:
    async with bench.peer("vnpy") as peer:

        async def upsert(candles: Sequence[CandleTuple]) -> None:
            peer.database.save_bar_data([peer.bar(each) for each in candles])

        yield upsert
