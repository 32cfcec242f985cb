"""Killing a replay while it writes, with the server as the witness."""

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import text

from gal_friday.database import Database
from gal_friday.replay.child import ReplayProcess
from gal_friday.replay.progress import STATE_KEY

# A transaction has an id from its first write to its end.
WRITING = text(
    "SELECT query FROM pg_stat_activity"
    " WHERE application_name = :application AND datname = current_database() AND backend_xid IS NOT NULL"
)
FILLS = text(
    "SELECT exchange_order_id, fill_id, side, quantity_filled, fill_price, filled_at FROM fills"
    " WHERE account_id = :account_id"
)

_POLL_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.03
_STATEMENT = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM)\s+\w+|\w+")

Fills = Counter[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Kill:
    """A replay killed when *cursor* candles were stored and its open transaction had last sent *statement*.

    *fills* are those the server had stored at that moment.
    """

    cursor: int
    statement: str
    fills: Fills


async def stored_cursor(database: Database, run_name: str) -> int:
    """How many candles of the run the server has stored; -1 for a run it does not know."""
    stored = await database.strategy_states.get_value(run_name, STATE_KEY, account_id=run_name)
    return -1 if stored is None else int(stored["cursor"])


async def stored_fills(database: Database, run_name: str) -> Fills:
    """Every fill of the run the server has stored, as often as it has it."""
    async with database.pool.session() as session:
        return Counter(tuple(row) for row in await session.execute(FILLS, {"account_id": run_name}))


async def kill_while_writing(
    process: ReplayProcess, database: Database, run_name: str, *, after: int, dice: random.Random
) -> Kill:
    """Kill *process* at a random moment when *after* candles are stored and a write is in flight.

    It is held with SIGSTOP first, so that the server's answer and the end of the process are of one moment.
    Raises ReplayFailed when it ends by itself before that.
    """
    while await stored_cursor(database, run_name) < after:
        process.check_alive()
        await asyncio.sleep(_POLL_SECONDS)
    while True:
        await asyncio.sleep(dice.uniform(0, _LONGEST_PAUSE_SECONDS))
        process.check_alive()
        process.stop()
        if statement := await _statement_in_flight(database, process.application):
            cursor = await stored_cursor(database, run_name)
            kill = Kill(cursor, statement, await stored_fills(database, run_name))
            process.kill()
            return kill
        process.resume()


async def _statement_in_flight(database: Database, application: str) -> str | None:
    async with database.pool.session() as session:
        query = (await session.scalars(WRITING, {"application": application})).first()
    match = _STATEMENT.match(query.lstrip()) if query else None
    return match[0] if match else query
