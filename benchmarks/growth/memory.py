"""What much costs in memory: a stream, which is to cost nothing, and a restart with many open positions."""

import resource
import sys
import time
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Candle

ACCOUNT = "with many positions"
# Two statements: the account, and its positions each in a pair of its own, without the books behind them.
_ACCOUNT = text("INSERT INTO accounts (account_id) VALUES (:account) ON CONFLICT DO NOTHING")
_POSITIONS = text("""
    INSERT INTO positions (id, account_id, exchange, trading_pair, quote_currency, side,
        quantity, cost, entry_price, opened_at)
    SELECT gen_random_uuid(), :account, 'kraken', 'P' || n || '/USD', 'USD', 'LONG', 1, 1, 1, now()
    FROM generate_series(1, CAST(:count AS integer)) AS n
""")


@dataclass(frozen=True)
class Load:
    """So many rows, how long they took and by how much the process's peak of memory rose."""

    what: str
    rows: int
    seconds: float
    mebibytes: float

    def __str__(self) -> str:
        return f"{self.rows:,} {self.what}: {self.seconds:.1f} s, {self.mebibytes:.0f} MiB"


async def stream(pool: DatabaseConnectionPool, rows: int) -> Load:
    """Candles streamed one after the other, memory counted from the ten thousandth to the last."""
    start, before, seen = time.perf_counter(), 0.0, 0
    async with pool.transaction(read_only=True) as uow:
        candles = uow.market_data.stream(order_by=Candle.timestamp)
        async for _ in candles:
            seen += 1
            if seen == 10_000:
                before = peak()
            if seen == rows:
                break
        await candles.aclose()
    return Load("streamed", seen, time.perf_counter() - start, peak() - before)


async def store_positions(url: URL, count: int) -> None:
    """Store *count* open positions in an account of their own; for a superuser."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("SET session_replication_role = replica"))
        await connection.execute(_ACCOUNT, {"account": ACCOUNT})
        await connection.execute(_POSITIONS, {"account": ACCOUNT, "count": count})
        await connection.execute(text("ANALYZE positions"))
    await engine.dispose()


async def restore(pool: DatabaseConnectionPool) -> Load:
    """All open positions of that account as objects."""
    start, before = time.perf_counter(), peak()
    async with pool.transaction(read_only=True) as uow:
        positions = await uow.positions.get_active_positions(account_id=ACCOUNT)
    return Load("open positions restored", len(positions), time.perf_counter() - start, peak() - before)


def peak() -> float:
    """The most memory this process has had, in MiB."""
    counted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return counted / (1 << 20 if sys.platform == "darwin" else 1 << 10)
