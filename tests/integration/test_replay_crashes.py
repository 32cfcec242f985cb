"""A crash between any two statements of a replay changes nothing in the end."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, event

from gal_friday.database import Database
from gal_friday.replay.crash import stored_cursor
from gal_friday.replay.run import Rules, Run
from gal_friday.replay.runner import replay
from tests.replays import a_database_url, a_run, opened, state_of
from tests.servers import PostgresServer

# A signal every few candles, and a commit every few, so that most statements are worth a crash.
BUSY = Rules(fast=2, slow=3, candles_per_commit=3)


class Crash(BaseException):
    """The end of a process, as far as the server can tell: no handler of ours catches it."""


@contextmanager
def crashing_after(database: Database, statements: int) -> Iterator[None]:
    """Crash before the statement that comes after so many, or before a COMMIT, which counts as one."""
    left = statements
    engine = database.pool.engine.sync_engine

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash

    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", count)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", count)
        event.remove(engine, "commit", count)


@pytest.mark.parametrize("seed", [1, 2])
async def test_crashes_between_statements_leave_no_trace(
    seed: int, tmp_path: Path, database_url: URL, postgres_server: PostgresServer, template_database: str
) -> None:
    run = a_run(tmp_path, seed=seed, count=120, rules=BUSY)
    with a_database_url(postgres_server, template_database) as calm_url:
        async with opened(calm_url) as calm, opened(database_url) as struck:
            await replay(calm, run)
            crashes = await _replay_crashing(struck, run, random.Random(seed))
            assert crashes > 15
            assert (await state_of(calm)).first_difference(await state_of(struck)) is None


async def _replay_crashing(database: Database, run: Run, dice: random.Random) -> int:
    crashes = 0
    while await stored_cursor(database, run.name) < len(run.candles):
        try:
            # Now and then far enough for the longest transaction.
            with crashing_after(database, int(dice.expovariate(1 / 40))):
                await replay(database, run)
        except Crash:
            crashes += 1
    return crashes
