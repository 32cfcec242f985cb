"""A replay killed at twenty random moments ends with the rows of one that was left alone."""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import URL

from gal_friday.database import Database
from gal_friday.replay.child import ReplayProcess
from gal_friday.replay.crash import Kill, kill_while_writing, stored_cursor, stored_fills
from gal_friday.replay.demo import doubled_fills, lost_fills
from tests.replays import Recording, a_database_url, environment_of, opened, state_of
from tests.servers import PostgresServer

KILLS = 20
RUN = "recording"


@pytest.mark.usefixtures("children_are_not_measured")
@pytest.mark.parametrize(
    ("recording", "candles_per_commit"),
    [
        # Few candles: with the usual 25 in a transaction there would be few moments to kill it at.
        pytest.param(recording := Recording("kraken/http_ohlc.json", 721), 5, id=str(recording)),
        # The first third of it: twenty kills are not spread more widely over more.
        pytest.param(recording := Recording("UNITTEST_BTC-1m.json", 4_500), 25, id=str(recording)),
    ],
)
async def test_twenty_kills_leave_no_trace_in_any_row(
    *,
    recording: Recording,
    candles_per_commit: int,
    tmp_path: Path,
    database_url: URL,
    postgres_server: PostgresServer,
    template_database: str,
) -> None:
    file = recording.file(tmp_path)
    limits = ["--limit", str(recording.candles), "--candles-per-commit", str(candles_per_commit)]
    command = [str(file), "--run", RUN, *limits]

    def started(url: URL) -> ReplayProcess:
        return ReplayProcess(command, environment=environment_of(url), directory=tmp_path)

    with a_database_url(postgres_server, template_database) as calm_url:
        async with opened(database_url) as struck, opened(calm_url) as calm:
            dice = random.Random()
            # Early enough that on a busy machine it is still running when it is to be killed.
            moments = sorted(dice.sample(range(recording.candles * 6 // 10), KILLS))
            kills, _ = await asyncio.gather(
                _strike(partial(started, database_url), struck, moments, dice),
                _finish(started(calm_url)),
            )
            assert await stored_cursor(struck, RUN) == recording.candles
            assert len({kill.cursor for kill in kills}) > KILLS // 2, "the kills were not spread over the run"
            reference, final = await stored_fills(calm, RUN), await stored_fills(struck, RUN)
            assert reference
            assert lost_fills([kill.fills for kill in kills], reference, final) == 0
            assert doubled_fills(reference, final) == 0
            assert (await state_of(calm)).first_difference(await state_of(struck)) is None


async def _strike(
    start: Callable[[], ReplayProcess], database: Database, moments: Sequence[int], dice: random.Random
) -> Sequence[Kill]:
    kills = []
    for after in moments:
        with start() as process:
            kills.append(await kill_while_writing(process, database, RUN, after=after, dice=dice))
    await _finish(start())
    return kills


async def _finish(started: ReplayProcess) -> None:
    with started as process:
        await process.finish()
