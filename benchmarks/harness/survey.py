"""What is asked of each peer once, beside the rounds: round trips, and peak memory of loads."""

import asyncio
import sys
from dataclasses import replace

from sqlalchemy import make_url

from benchmarks.harness.item import AnyItem
from benchmarks.harness.rounds import take_turn, work_through
from benchmarks.harness.wire import WireCounter, wire_counter
from benchmarks.harness.workbench import Workbench

#: Operations whose round trips are counted, after as many that are not.
COUNTED = 20


async def survey(item: AnyItem, bench: Workbench, peer: str) -> tuple[float, float | None]:
    """Round trips for each input of *peer*, and its peak memory in MiB where the item asks for it."""
    async with wire_counter(make_url(bench.url)) as counter:
        url = make_url(bench.url).set(port=counter.port).render_as_string(hide_password=False)
        behind = replace(bench, url=url, tasks=1)
        if item.measures_memory:
            return await _in_another_process(item, behind, peer, counter)
        return await _round_trips(item, replace(behind, size=min(bench.size, COUNTED)), peer, counter), None


async def _round_trips(item: AnyItem, bench: Workbench, peer: str, counter: WireCounter) -> float:
    async with item.openings[peer](bench) as operation:
        await take_turn(item, bench, operation)
        inputs = await item.prepare(bench)
        before = counter.round_trips
        await work_through(operation, inputs, 1)
        return (counter.round_trips - before) / len(inputs)


async def _in_another_process(
    item: AnyItem, bench: Workbench, peer: str, counter: WireCounter
) -> tuple[float, float]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.harness.lone_turn", item.key, peer, bench.as_json()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    if await child.stdout.readline() != b"ready\n":
        raise RuntimeError(f"{peer} could not do {item.key} in a process of its own")
    before = counter.round_trips
    child.stdin.write(b"go\n")
    answer = await child.stdout.readline()
    round_trips = counter.round_trips - before
    await child.communicate()
    return round_trips, float(answer)
