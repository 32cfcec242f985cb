"""Replays to test with: recordings, markets of our own, and databases to keep them in."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, make_url

from gal_friday.adapters.candle_files import read_candles
from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from gal_friday.replay.end_state import EndState, end_state
from gal_friday.replay.market import generate_candles, write_candles
from gal_friday.replay.run import Rules, Run
from tests.servers import TRADER, PostgresServer

RECORDINGS = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Recording:
    """A real recording where it is at hand, else as many candles of a market of our own."""

    name: str
    candles: int

    @property
    def is_at_hand(self) -> bool:
        return (RECORDINGS / self.name).exists()

    def __str__(self) -> str:
        return self.name if self.is_at_hand else f"generated-because-{self.name}-is-absent"

    def file(self, directory: Path) -> Path:
        if self.is_at_hand:
            return Path(shutil.copy(RECORDINGS / self.name, directory))
        return a_market(directory, count=self.candles)


def a_market(directory: Path, *, seed: int = 1, count: int = 600) -> Path:
    path = directory / "BTC_USD-1m.csv"
    write_candles(path, generate_candles(seed=seed, count=count))
    return path


def a_run(
    directory: Path, *, seed: int = 1, count: int = 600, name: str = "run", rules: Rules | None = None
) -> Run:
    return Run.of(read_candles(a_market(directory, seed=seed, count=count)), name=name, rules=rules)


@contextmanager
def a_database_url(server: PostgresServer, template: str) -> Iterator[URL]:
    """One more migrated database, for a test that compares two."""
    name = f"test_{uuid4().hex}"
    server.create_database(name, template=template)
    yield make_url(server.url(name, user=TRADER))
    server.drop_database(name)


@asynccontextmanager
async def opened(url: URL) -> AsyncIterator[Database]:
    async with DatabaseConnectionPool(DatabaseSettings(), url=url) as pool:
        yield Database(pool)


def environment_of(url: URL) -> Mapping[str, str]:
    """Settings of a process that works on this database."""
    return {"GAL_FRIDAY_DATABASE__URL": url.render_as_string(hide_password=False)}


def environment_without_settings(**additional: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GAL_FRIDAY_")}
    return {**inherited, **additional}


async def state_of(database: Database) -> EndState:
    async with database.pool.session() as session:
        return await end_state(session)
