"""A program that takes signals: `python -m tests.claimant URL HOW`.

It says "ready" and reads numbers of signals, one a line. It claims each and, where it is new, acts on it in
the same transaction. HOW `at-once` takes all, several at a time, once the input has ended, and says which
were new; `and-wait` takes one, says "taken" before the commit, and waits for ever.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import PortfolioPosition, SignalLog, new_id
from gal_friday.database import Database
from gal_friday.state import DatabaseStateManager, StateTransaction
from tests.factories import NOON, a_portfolio_position, a_signal_log

NAME = "claimant"
TASKS = 4


def signal_number(number: int) -> SignalLog:
    at = NOON + timedelta(minutes=number)
    return a_signal_log(fingerprint=None, signal_timestamp=at, price=Decimal(72_000))


def effect_of(number: int) -> PortfolioPosition:
    """What acting on a signal comes to: done twice, it is there twice."""
    return a_portfolio_position(position_id=f"{number}-{new_id().hex}", lots=1)


def signal_of(effect: PortfolioPosition) -> int:
    return int(effect.position_id.partition("-")[0])


async def take(t: StateTransaction, number: int) -> bool:
    receipt = await t.log_signal(signal_number(number))
    if receipt.is_new:
        await t.save_position(effect_of(number))
    return receipt.is_new


async def take_at_once(manager: DatabaseStateManager, numbers: Sequence[int]) -> list[int]:
    async def work() -> list[int]:
        taken = []
        for number in numbers:
            async with manager.transaction() as t:
                if await take(t, number):
                    taken.append(number)
        return taken

    taken = await asyncio.gather(*(work() for _ in range(TASKS)))
    return [number for part in taken for number in part]


async def take_and_wait(manager: DatabaseStateManager, number: int) -> None:
    async with manager.transaction() as t:
        await take(t, number)
        say("taken")
        await asyncio.Event().wait()


def say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def main(url: str, how: str) -> None:
    async with DatabaseConnectionPool(DatabaseSettings(application_name=NAME), url=make_url(url)) as pool:
        manager = DatabaseStateManager(Database(pool))
        await manager.check_duplicate_signal("opens a connection")
        say("ready")
        if how == "and-wait":
            await take_and_wait(manager, int(sys.stdin.readline()))
        else:
            say(json.dumps(await take_at_once(manager, [int(line) for line in sys.stdin])))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
