"""`python -m tests.simulation SEED… [--count N] [--ticks N] [--trace]` simulates on a server of its own."""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import make_url

from tests.conftest import make_template
from tests.servers import TRADER, PostgresServer, postgres_bin_directories
from tests.simulation.run import TICKS, Outcome, simulate

#: Longer than any seed takes on a busy machine.
_DEADLINE_SECONDS = 300.0

log = logging.getLogger("tests.simulation")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where every promise held."""
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    for library in ("gal_friday", "alembic", "asyncio"):  # faults are what this is about
        logging.getLogger(library).setLevel(logging.CRITICAL)
    if asked.trace:
        logging.getLogger("tests.simulation.record").setLevel(logging.DEBUG)
    seeds = [seed + number for seed in asked.seeds for number in range(asked.count)]
    return asyncio.run(_simulate_all(seeds, ticks=asked.ticks))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="+", type=int, metavar="SEED")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from each one on")
    parser.add_argument("--ticks", type=int, default=TICKS, help="minutes of trading")
    parser.add_argument("--trace", action="store_true", help="print every decision")
    return parser


async def _simulate_all(seeds: Sequence[int], *, ticks: int) -> int:
    started, outcomes = time.monotonic(), []
    with PostgresServer(next(iter(postgres_bin_directories().values()))) as server, _progress(seeds) as bar:
        template = await make_template(server)
        for seed in seeds:
            outcomes.append(outcome := await _simulate_one(server, template, seed, ticks=ticks))
            _tell(outcome, ticks=ticks)
            bar.advance(bar.task_ids[0])
    failed = [outcome.seed for outcome in outcomes if outcome.violations]
    log.info("%d seeds in %.0f s", len(outcomes), time.monotonic() - started)
    for what, number in sorted(sum((outcome.counts for outcome in outcomes), Counter[str]()).items()):
        log.info("%8d × %s", number, what)
    log.info("violations with seeds %s" if failed else "every promise held%s", failed or "")
    return 1 if failed else 0


async def _simulate_one(server: PostgresServer, template: str, seed: int, *, ticks: int) -> Outcome:
    name = f"simulation_{uuid4().hex}"
    server.create_database(name, template=template)
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return await simulate(
                seed, make_url(server.url(name, user=TRADER)), make_url(server.url(name)), ticks=ticks
            )
    finally:
        server.drop_database(name, force=True)


def _tell(outcome: Outcome, *, ticks: int) -> None:
    told = ", ".join(f"{number} {what}" for what, number in sorted(outcome.counts.items()))
    log.info("seed %d  %s  %s", outcome.seed, outcome.fingerprint, told)
    for violation in outcome.violations:
        log.error("seed %d  %s", outcome.seed, violation)
    if outcome.violations:
        replay = f"python -m tests.simulation {outcome.seed} --ticks {ticks} --trace"
        log.error("seed %d  again, step by step: %s", outcome.seed, replay)


@contextmanager
def _progress(seeds: Sequence[int]) -> Iterator[Progress]:
    """A bar where a person watches; the log has the rest."""
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        bar.add_task("simulating", total=len(seeds))
        yield bar


if __name__ == "__main__":
    sys.exit(main())
