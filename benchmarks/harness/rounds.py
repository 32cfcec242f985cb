"""Rounds: every peer does the same work in turn, again and again, as the machine drifts for all."""

import asyncio
import gc
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.harness.item import AnyItem, Operation
from benchmarks.harness.workbench import Workbench

#: A turn's share that is done once before the first round.
WARM_UP = 10
#: Fewer rounds say too little of how much the ratios vary.
FEWEST_ROUNDS = 5
#: Seconds after which a row has no more than those.
ENOUGH = 20
#: Seconds after which a peer, though not the floor, has had rounds enough.
PATIENCE = 12
#: Of those who are that slow.
ROUNDS_OF_THE_SLOW = 2


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one peer in one row: seconds per unit and ratio to the floor, by round."""

    seconds: Sequence[float]
    ratios: Sequence[float]
    round_trips: float | None = None
    peak_mib: float | None = None

    @property
    def median_seconds(self) -> float:
        return statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


async def work_through(operation: Operation[Any], inputs: Sequence[Any], tasks: int) -> float:
    """Seconds that *operation* takes for all *inputs*, by *tasks* at once."""

    async def lane(share: Sequence[Any]) -> None:
        for given in share:
            await operation(given)

    shares = [inputs[start::tasks] for start in range(tasks)]
    # What other peers have loaded must not be looked through again and again in this one's time.
    gc.collect()
    gc.freeze()
    try:
        started = time.perf_counter()
        if tasks == 1:
            await lane(inputs)
        else:
            await asyncio.gather(*map(lane, shares))
        return time.perf_counter() - started
    finally:
        gc.unfreeze()


async def take_turn(item: AnyItem, bench: Workbench, operation: Operation[Any]) -> float:
    """Seconds per unit of one turn."""
    inputs = await item.prepare(bench)
    return await work_through(operation, inputs, bench.tasks) / bench.size


@asynccontextmanager
async def opened(
    item: AnyItem, bench: Workbench, peers: Sequence[str]
) -> AsyncIterator[Mapping[str, Operation[Any]]]:
    """The operations of *peers*, warmed up: connected, statements prepared, caches filled."""
    async with AsyncExitStack() as stack:
        operations = {name: await stack.enter_async_context(item.openings[name](bench)) for name in peers}
        warm_up = replace(bench, size=max(bench.size // WARM_UP, bench.tasks))
        for operation in operations.values():
            await take_turn(item, warm_up, operation)
        yield operations


async def measure(item: AnyItem, bench: Workbench, peers: Sequence[str], rounds: int) -> dict[str, Figures]:
    """Figures of *peers*, of which the floor is one, from at most *rounds* interleaved rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    async with opened(item, bench, peers) as operations:
        order = deque(operations.items())
        began = time.perf_counter()
        for done in range(rounds):
            if done >= FEWEST_ROUNDS and time.perf_counter() - began > ENOUGH:
                break
            for name, operation in order:
                if name == item.floor or not _had_enough(seconds[name], bench):
                    seconds[name].append(await take_turn(item, bench, operation))
            order.rotate(1)  # nobody always follows the same
    floor = seconds[item.floor]
    return {
        # Who has had enough was in the first rounds, and in none after.
        name: Figures(taken, [base / own for base, own in zip(floor, taken, strict=False)])
        for name, taken in seconds.items()
    }


def _had_enough(taken: Sequence[float], bench: Workbench) -> bool:
    return len(taken) >= ROUNDS_OF_THE_SLOW and sum(taken) * bench.size > PATIENCE
