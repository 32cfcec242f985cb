"""`python -m tests.log_writer DIRECTORY`: appends to a log for ever, and prints what was acknowledged."""

import asyncio
import os
import sys
from pathlib import Path

from gal_friday.durable_log.log import DurableLog


async def append_for_ever(directory: Path) -> None:
    log = await DurableLog.open(directory, max_bytes=64 * 1024 * 1024, segment_bytes=2_000)

    async def append(worker: int) -> None:
        number = 0
        while True:
            name = f"{os.getpid()}-{worker}-{number}"
            await log.append([f"{name}-{'x' * (number % 97)}".encode()])
            os.write(1, f"{name}\n".encode())
            number += 1

    await asyncio.gather(*(append(worker) for worker in range(4)))


if __name__ == "__main__":
    asyncio.run(append_for_ever(Path(sys.argv[1])))
