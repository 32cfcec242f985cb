"""`python -m benchmarks.growth [ROWS …]`: fill the tables step by step, and time every query at each step."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from sqlalchemy import make_url

from benchmarks.growth.measuring import Latency, calls, measure
from benchmarks.growth.memory import Load, restore, store_positions, stream
from benchmarks.growth.report import as_table, write
from benchmarks.growth.tables import GROWING, Growth
from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.migrations.migration_manager import MigrationManager
from tests.plans.filling import MANY
from tests.servers import PostgresServer, postgres_bin_directories

OUT = Path(__file__).parents[1] / "out"
#: Filling is not what is measured: nothing is synced, and the log of writes may grow.
SERVER = {"shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum": "off"}
WIDTH = 140


async def grow(arguments: argparse.Namespace, console: Console) -> None:
    """Everything measured, written and printed as it comes: what is done is kept where it breaks off."""
    latencies: list[Latency] = []
    loads: list[Load] = []
    binaries = postgres_bin_directories()[arguments.server or next(iter(postgres_bin_directories()))]
    with PostgresServer(binaries, settings=SERVER) as server:
        server.create_database("growth")
        url = make_url(server.url("growth")).set(drivername="postgresql+asyncpg")
        await MigrationManager(url, DatabaseSettings()).run_migrations()
        growth = Growth(server, url, tuple(arguments.tables))
        for rows in arguments.rows:
            growth.check_disk(rows)
            start = time.monotonic()
            await growth.grow_to(rows)
            console.print(f"{rows:,} rows in {', '.join(arguments.tables)}: {time.monotonic() - start:.0f} s")
            async with DatabaseConnectionPool(DatabaseSettings(), url=url) as pool:
                latencies += [
                    await measure(pool, *call, rows=rows, times=arguments.times) for call in calls()
                ]
            write(latencies, loads, arguments.out)
        console.print(as_table(latencies))
        async with DatabaseConnectionPool(DatabaseSettings(), url=url) as pool:
            await store_positions(url, arguments.positions)
            loads.append(await stream(pool, min(arguments.rows[-1], arguments.streamed)))
            console.print(str(loads[-1]))
            loads.append(await restore(pool))
            console.print(str(loads[-1]))
    if not write(latencies, loads, arguments.out):
        console.print("matplotlib is not installed: no chart")


def sizes(text: Sequence[str]) -> list[int]:
    """Numbers of rows, growing; raises SystemExit for one that is too small to tell an index from none."""
    rows = sorted(int(each.replace("_", "")) for each in text)
    if rows[0] < MANY:
        raise SystemExit(f"at least {MANY:,} rows")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("rows", nargs="*", default=["100_000", "1_000_000"], help="sizes (100_000 1_000_000)")
    parser.add_argument("--tables", nargs="+", default=GROWING, choices=GROWING, help="which of them grow")
    parser.add_argument("--times", type=int, default=200, help="calls behind each percentile (200)")
    parser.add_argument("--streamed", type=int, default=1_000_000, help="rows streamed (1,000,000)")
    parser.add_argument("--positions", type=int, default=100_000, help="open positions restored (100,000)")
    parser.add_argument("--server", choices=list(postgres_bin_directories()), help="PostgreSQL version")
    parser.add_argument("--out", type=Path, default=OUT, help="where growth.json and growth.png go")
    arguments = parser.parse_args()
    arguments.rows = sizes(arguments.rows)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    asyncio.run(grow(arguments, console))


if __name__ == "__main__":
    main()
