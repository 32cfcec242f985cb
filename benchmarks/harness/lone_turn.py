"""`python -m benchmarks.harness.lone_turn KEY PEER BENCH`: one turn in a process of its own, for its memory.

Where nothing else was loaded, the peak is the peer's. Prints a line once it is ready, works when a line
arrives on stdin, and prints by how many MiB the peak rose above what was there before.
"""

import asyncio
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.harness.item import AnyItem
from benchmarks.harness.rounds import WARM_UP, take_turn, work_through
from benchmarks.harness.workbench import Workbench
from benchmarks.items.catalogue import ITEMS

#: Linux only: writing 5 sets the peak back to what is resident.
RESET_PEAK: Final = Path("/proc/self/clear_refs")


async def peak_mib(item: AnyItem, bench: Workbench, peer: str) -> float:
    """How far resident memory rose during a turn and the one before it that warmed up."""
    async with item.openings[peer](bench) as operation:
        inputs = await item.prepare(bench)
        if RESET_PEAK.exists():
            RESET_PEAK.write_text("5")
        before = peak_kib()
        # What warming up leaves behind is the peer's too, so it counts; its round trips do not.
        await take_turn(item, replace(bench, size=max(bench.size // WARM_UP, 1)), operation)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        await work_through(operation, inputs, 1)
        return (peak_kib() - before) / 1024


def peak_kib() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would not know of the reset
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(key: str, peer: str, bench: str) -> None:
    found = next(item for item in ITEMS if item.key == key)
    rise = asyncio.run(peak_mib(found, Workbench.from_json(bench), peer))
    sys.stdout.write(f"{rise}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
