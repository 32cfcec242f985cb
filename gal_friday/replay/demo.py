"""The demonstration: one replay left alone, one killed three times, and whether that can be told apart."""

import asyncio
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from gal_friday.config import ENV_PREFIX, Settings
from gal_friday.database import Database, open_database
from gal_friday.embedded import EmbeddedServer
from gal_friday.replay.child import ReplayProcess
from gal_friday.replay.crash import Fills, Kill, kill_while_writing, stored_cursor, stored_fills
from gal_friday.replay.end_state import EndState, end_state
from gal_friday.replay.market import generate_candles, write_candles

RUN = "demo"
UNINTERRUPTED, KILLED = LABELS = ("uninterrupted", "killed")
_MARKET = "BTC_USD-1m.csv"
_WATCH_SECONDS = 0.1

T = TypeVar("T")

#: Called with a label and the candles stored under it.
Report = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What the two databases hold, and what the server had stored at each kill; equity by label."""

    uninterrupted: EndState
    killed: EndState
    kills: Sequence[Kill]
    fills_lost: int
    fills_doubled: int
    equity: Mapping[str, Decimal]

    @property
    def difference(self) -> str | None:
        """The first difference between the two databases, None where there is none."""
        return self.uninterrupted.first_difference(self.killed)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, nothing doubled and nothing is different."""
        return not (self.fills_lost or self.fills_doubled or self.difference)


def lost_fills(seen: Sequence[Fills], reference: Fills, final: Fills) -> int:
    """Fills that were stored at some time, or should have been, and are not there at the end."""
    expected: Fills = Counter(reference)
    for fills in seen:
        expected |= fills
    return (expected - final).total()


def doubled_fills(reference: Fills, final: Fills) -> int:
    """Fills that are there at the end and should not be, or not so often."""
    return (final - reference).total()


async def demonstrate(*, seed: int, candles: int, kills: int, report: Report) -> Demonstration:
    """Replay a market of *candles* candles twice, killing one of the two *kills* times while it writes.

    Both have an embedded server of their own in a temporary directory, gone afterwards. Raises ReplayFailed
    when a replay ends with an error, EmbeddedServerError when there is no server to be had.
    """
    with _scratch_directory() as directory:
        write_candles(directory / _MARKET, generate_candles(seed=seed, count=candles))
        async with _database(directory / UNINTERRUPTED) as calm, _database(directory / KILLED) as struck:
            dice = random.Random(seed)  # noqa: S311 -- moments to kill at, not secrets
            # Early enough that on a busy machine it is still running when it is to be killed.
            moments = sorted(dice.sample(range(candles * 6 // 10), kills))
            seen = await _together(
                _replay_with_kills(directory, struck, moments, dice),
                _replay_once(directory, UNINTERRUPTED),
                _watch(calm, UNINTERRUPTED, candles, report),
                _watch(struck, KILLED, candles, report),
            )
            final, reference = await stored_fills(struck, RUN), await stored_fills(calm, RUN)
            return Demonstration(
                uninterrupted=await _state(calm),
                killed=await _state(struck),
                kills=seen,
                fills_lost=lost_fills([kill.fills for kill in seen], reference, final),
                fills_doubled=doubled_fills(reference, final),
                equity={UNINTERRUPTED: await _equity(calm), KILLED: await _equity(struck)},
            )


async def _together(first: Coroutine[Any, Any, T], *others: Coroutine[Any, Any, None]) -> T:
    """What *first* gives, once all are done; the first error of any ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(first)
            for other in others:
                group.create_task(other)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return task.result()


async def _replay_once(directory: Path, name: str) -> None:
    with _process(directory, name) as process:
        await process.finish()


async def _replay_with_kills(
    directory: Path, database: Database, moments: Sequence[int], dice: random.Random
) -> Sequence[Kill]:
    seen = []
    for after in moments:
        with _process(directory, KILLED) as process:
            seen.append(await kill_while_writing(process, database, RUN, after=after, dice=dice))
    await _replay_once(directory, KILLED)
    return seen


async def _watch(database: Database, label: str, candles: int, report: Report) -> None:
    cursor = -1
    while cursor < candles:
        await asyncio.sleep(_WATCH_SECONDS)
        cursor = await stored_cursor(database, RUN)
        report(label, max(cursor, 0))


async def _equity(database: Database) -> Decimal:
    return (await database.portfolio_states.one((RUN, "USD"))).closed_equity


async def _state(database: Database) -> EndState:
    async with database.pool.session() as session:
        return await end_state(session)


def _process(directory: Path, name: str) -> ReplayProcess:
    return ReplayProcess(
        [str(directory / _MARKET), "--run", RUN],
        environment=_environment(directory / name),
        directory=directory,
    )


def _environment(data_directory: Path) -> Mapping[str, str]:
    return {f"{ENV_PREFIX}EMBEDDED__DATA_DIRECTORY": str(data_directory)}


@asynccontextmanager
async def _database(data_directory: Path) -> AsyncIterator[Database]:
    settings = Settings(database={"url": None}, embedded={"data_directory": data_directory})
    try:
        async with open_database(settings) as database:
            yield database
    finally:
        await asyncio.to_thread(_remove_server, EmbeddedServer(settings.embedded))


def _remove_server(server: EmbeddedServer) -> None:
    log_file = server.status().log_file
    server.stop_now()
    if log_file:
        shutil.rmtree(log_file.parent)  # not in the scratch directory where root's server cannot get there


@contextmanager
def _scratch_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gal_friday_demo_") as name:
        directory = Path(name)
        if os.geteuid() == 0:
            directory.chmod(0o711)  # root's server runs as somebody else, who has to pass through
        yield directory
