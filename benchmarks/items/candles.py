"""The candles of W6 and W7: one-minute candles of one pair, and how they get into the table and out of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it has no type hints

from benchmarks.harness.workbench import Workbench
from benchmarks.rows import EXCHANGE, NOON, PAIR

CandleTuple = tuple[Any, ...]

TIMEFRAME: Final = "1m"
MINUTE: Final = timedelta(minutes=1)
COLUMNS: Final = (
    *("exchange", "trading_pair", "timeframe", "timestamp"),
    *("open", "high", "low", "close", "volume", "trades_count", "vwap"),
)
CENT: Final = Decimal("0.01")
EMPTY: Final = "TRUNCATE market_data"
SELECT: Final = """
    SELECT * FROM market_data
    WHERE exchange = $1 AND trading_pair = $2 AND timeframe = $3 AND "timestamp" >= $4 AND "timestamp" < $5
    ORDER BY "timestamp"
"""


def candle(number: int) -> CandleTuple:
    """The candle *number* minutes after noon, in the order of COLUMNS."""
    base = 50_000 + (number % 1_000) * CENT
    return (
        *(EXCHANGE, PAIR, TIMEFRAME, NOON + number * MINUTE),
        *(base, base + 25 * CENT, base - 25 * CENT, base + CENT, 12 + number % 90 * CENT, number % 500, base),
    )


def span(bench: Workbench) -> tuple[str, str, str, datetime, datetime]:
    """What to ask for to get every candle of the item."""
    return EXCHANGE, PAIR, TIMEFRAME, NOON, NOON + bench.size * MINUTE


@asynccontextmanager
async def emptied(bench: Workbench) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of the owner, and no candles; what the block stores is on disk afterwards."""
    owner = await bench.owner()
    await owner.execute(EMPTY)
    yield owner
    await owner.execute("VACUUM ANALYZE market_data")
    await owner.execute("CHECKPOINT")
    await owner.close()


async def store(bench: Workbench, numbers: Sequence[int]) -> None:
    """Have exactly these candles in the table."""
    async with emptied(bench) as owner:
        await owner.copy_records_to_table(
            "market_data", records=[candle(number) for number in numbers], columns=COLUMNS
        )
