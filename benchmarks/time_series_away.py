"""`python -m benchmarks.time_series_away`: what apply_fill costs while the time-series server is not well.

A bot applies fills one after the other and hands over twenty points with each. The server is another process:
it takes everything at once (healthy), is not there (dead), answers after ten seconds (slow), or changes its
mind every half second between answering, refusing with 503 and cutting connections (flapping). Rounds are
interleaved. The figures are of the fill and of handing over, in microseconds, and the ratio to healthy.
"""

import argparse
import asyncio
import contextlib
import logging
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from gal_friday.config import InfluxSettings, Settings, SpoolSettings
from gal_friday.dal.execution import FillResult
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.dal.models import Order
from gal_friday.database import Database, open_database
from gal_friday.timeseries.points import Point
from gal_friday.timeseries.writer import TimeSeriesWriter
from tests.factories import a_fill, a_strategy, an_order

STATES = ("healthy", "dead", "slow", "flapping")
POINTS_A_FILL = 20


async def serve(state: str, port: int) -> None:
    """InfluxDB's write endpoint, as far as who writes can see."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.partition("content-length:")[2].partition("\r\n")[0]
                await reader.readexactly(int(length))
                phase = int(time.monotonic() * 2) % 3 if state == "flapping" else 0
                if phase == 2:
                    writer.transport.abort()
                    return
                if state == "slow":
                    await asyncio.sleep(10)
                status = b"503 Service Unavailable" if phase == 1 else b"204 No Content"
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


@contextlib.contextmanager
def a_server(state: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if state == "dead":
        yield f"http://127.0.0.1:{port}"
        return
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(state, port), daemon=True)
    process.start()
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


def _run(state: str, port: int) -> None:
    asyncio.run(serve(state, port))


async def measured(
    db: Database, order: Order, state: str, seconds: float, directory: Path
) -> Sequence[float]:
    """The time each fill took, for *seconds*."""
    took = []
    with a_server(state) as url:
        server = InfluxSettings(url=url, token=SecretStr("any"), org="any")
        async with (
            TimeSeriesDB(server) as store,
            await TimeSeriesWriter.open(store, directory, SpoolSettings()) as writer,
        ):
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                fill = a_fill(order, quantity_filled=Decimal("0.00000001"))
                now = time.time_ns()
                points = [
                    Point("book", {"level": str(level)}, {"bid": level + 0.5, "ask": level + 1.5}, now)
                    for level in range(POINTS_A_FILL)
                ]
                begun = time.perf_counter()
                outcome = await db.execution.apply_fill(fill)
                writer.write_all(points)
                took.append(time.perf_counter() - begun)
                assert outcome.result is FillResult.APPLIED
            await writer.flush()
            stats = writer.stats()
            assert stats.dropped == stats.refused == 0
    return took


async def main(rounds: int, seconds: float) -> None:
    took: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103 -- root's embedded server runs as somebody else
        settings = Settings(embedded={"data_directory": Path(scratch) / "data"}, log={"level": "CRITICAL"})
        async with open_database(settings) as db:
            strategy = await db.strategies.add(a_strategy())
            order = await db.orders.add(an_order(strategy, quantity=Decimal(1_000)))
            await measured(db, order, "healthy", 1, Path(scratch) / "warm")
            for number in range(rounds):
                for state in STATES:
                    directory = Path(scratch) / f"spool-{number}-{state}"
                    took[state] += await measured(db, order, state, seconds, directory)
    percentiles = {state: statistics.quantiles(times, n=1000) for state, times in took.items()}
    sys.stdout.write(
        f"{'':10} {'fills':>7} {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8}   ratio of p50, p99" + "\n"
    )
    for state in STATES:
        ours, healthy = percentiles[state], percentiles["healthy"]
        figures = " ".join(f"{ours[at] * 1e6:8.0f}" for at in (499, 899, 989, 998))
        ratios = ", ".join(f"{ours[at] / healthy[at]:.2f}" for at in (499, 989))
        sys.stdout.write(f"{state:10} {len(took[state]):7} {figures}   {ratios}" + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each state in each round")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    asyncio.run(main(arguments.rounds, arguments.seconds))
