"""`python -m tests.fact_reporter URL DIRECTORY ORDER`: fills of an order for ever, each with its answer."""

import asyncio
import os
import sys
from uuid import UUID

from gal_friday.config import Settings
from gal_friday.database import open_database
from tests.factories import a_fill


async def report_for_ever(url: str, directory: str, order_id: str) -> None:
    settings = Settings(
        database={"url": url, "migrate_on_open": False},
        journal={"directory": directory},
    )
    async with open_database(settings) as db:
        order = await db.orders.one(UUID(order_id))
        say("open")
        number = 0
        while True:
            name = f"{os.getpid()}-{number}"
            outcome = await db.execution.apply_fill(a_fill(order, fill_id=name))
            say(f"{name} {outcome.result}")
            number += 1


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    asyncio.run(report_for_ever(*sys.argv[1:]))
