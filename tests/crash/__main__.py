"""`python -m tests.crash --rounds N --seed S`: trade, crash, check; ends with 1 for a violation."""

import argparse
import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.crash.bench import Bench, Round
from tests.crash.faults import Kind, kinds_not_run
from tests.crash.table import table_of

#: Everything since the beginning is looked at again after so many rounds.
ROUNDS_PER_CHECK = 100
#: What a shell says of a program ended by Ctrl-C.
INTERRUPTED = 130


def kinds_of(seed: int, rounds: int) -> Iterator[Kind]:
    """Which fault strikes in each round: all of them before any comes again, in the order of the dice."""
    dice = random.Random(seed)
    possible = [kind for kind in Kind if kind not in kinds_not_run()]
    done = 0
    while done < rounds:
        for kind in dice.sample(possible, len(possible))[: rounds - done]:
            done += 1
            yield kind


async def run(seed: int, rounds: int, report: Callable[[Round], None]) -> list[str]:
    """The violations of the first round that has any, or of a look at everything."""
    violations: list[str] = []
    async with Bench(seed) as bench:
        for kind in kinds_of(seed, rounds):
            outcome = await bench.round(kind)
            report(outcome)
            violations = outcome.verdict.violations
            if not violations and (bench.rounds % ROUNDS_PER_CHECK == 0 or bench.rounds == rounds):
                violations = (await bench.check_all()).violations
            if violations:
                break
    return violations


@contextmanager
def progress(console: Console, rounds: int) -> Iterator[Callable[[Round], None]]:
    """Tells of a round: a bar where someone watches, a line elsewhere."""
    if not console.is_terminal:
        yield lambda outcome: console.print(
            f"round {outcome.number}: {outcome.kind.value}: {outcome.acknowledged} calls acknowledged,"
            f" recovered in {outcome.recovery_seconds:.3f} s, violations: {len(outcome.verdict.violations)}",
            highlight=False,
            soft_wrap=True,
        )
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("trading", total=rounds)
        yield lambda outcome: bar.update(task, advance=1, description=outcome.kind.value)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=len(Kind), help="how often to strike")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what the dice start from")
    options = parser.parse_args(arguments)
    console, done = Console(), list[Round]()
    console.print(f"seed {options.seed}, {options.rounds} rounds", highlight=False)
    started = time.monotonic()
    status, violations = 0, list[str]()
    try:
        with progress(Console(stderr=True), options.rounds) as report:

            def keep(outcome: Round) -> None:
                done.append(outcome)
                report(outcome)

            violations = asyncio.run(run(options.seed, options.rounds, keep))
    except TimeoutError as error:  # something that must come to an end did not
        violations = [str(error)]
    except KeyboardInterrupt:
        status = INTERRUPTED
    console.print(table_of(done))
    seconds = time.monotonic() - started
    console.print(f"seed {options.seed}, {len(done)} rounds in {seconds:.0f} s", highlight=False)
    for violation in violations:
        console.print(f"VIOLATION: {violation}", markup=False, highlight=False, soft_wrap=True)
    if violations:
        again = f"python -m tests.crash --seed {options.seed} --rounds {len(done)}"
        console.print(f"The same calls and faults again: {again}", highlight=False, soft_wrap=True)
    return 1 if violations else status


if __name__ == "__main__":
    logging.getLogger("gal_friday").setLevel(logging.ERROR)  # its retries are what is wanted here
    sys.exit(main())
