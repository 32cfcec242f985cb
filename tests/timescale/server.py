"""The server with TimescaleDB that the environment may name."""

import os

from sqlalchemy import URL

from gal_friday.config import DatabaseSettings, UpkeepSettings
from gal_friday.upkeep.timescale import Timescale
from tests.servers import NamedServer, postgres_bin_directories

TIMESCALEDB = "timescaledb"
_VARIABLE = "GAL_FRIDAY_TEST_TIMESCALEDB_URL"


def is_named() -> bool:
    """Whether the environment names one."""
    return _VARIABLE in os.environ


def timescale_server() -> NamedServer:
    """The one it names."""
    return NamedServer(os.environ[_VARIABLE], next(iter(postgres_bin_directories().values())))


async def make_hypertables(url: URL) -> None:
    """Have TimescaleDB take over the time-series tables of the database at *url*."""
    await Timescale(url, DatabaseSettings(), UpkeepSettings()).enable()
