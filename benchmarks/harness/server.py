"""The server measured on: its own, with PostgreSQL's own settings, gone when the run ends."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import uuid4

from sqlalchemy import make_url

from benchmarks.harness.workbench import Workbench
from gal_friday import Settings, open_database
from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.role_manager import RoleManager
from tests.servers import TRADER, PostgresServer, postgres_bin_directories

#: Undoes what the tests' servers change to start fast.
DEFAULTS = {"shared_buffers": "128MB", "jit": "on"}
#: The version the goals were set on, where it is installed.
PREFERRED = "15"
#: Of the trader, who is every peer.
SYNCHRONOUS = "ALTER ROLE trading_bot SET synchronous_commit = on"
ASYNCHRONOUS = "ALTER ROLE trading_bot SET synchronous_commit = off"
AS_EVER = "ALTER ROLE trading_bot RESET synchronous_commit"


@contextmanager
def started_server() -> Iterator[PostgresServer]:
    """A durable server with PostgreSQL's default settings."""
    found = postgres_bin_directories()
    binaries = found.get(PREFERRED) or next(iter(found.values()))
    with PostgresServer(binaries, durable=True, settings=DEFAULTS) as server:
        yield server


async def make_template(server: PostgresServer) -> str:
    """The name of a migrated database with roles and a trader's login, to copy from."""
    name = "template_of_benchmarks"
    server.create_database(name)
    url = server.url(name)
    async with open_database(Settings.load(database={"url": url}, journal={"enabled": False})):
        pass
    await RoleManager(make_url(url), DatabaseSettings()).apply()
    server.run("psql", "-c", f"CREATE ROLE {TRADER} LOGIN", "-c", f"GRANT gal_friday_trader TO {TRADER}")
    return name


@asynccontextmanager
async def made_database(server: PostgresServer, template: str) -> AsyncIterator[str]:
    """The name of a copy of *template*, dropped when the block ends."""
    name = f"bench_{uuid4().hex}"
    await asyncio.to_thread(server.create_database, name, template=template)
    try:
        yield name
    finally:
        await asyncio.to_thread(server.drop_database, name, force=True)


@asynccontextmanager
async def synchronous_commit(bench: Workbench, *, on: bool) -> AsyncIterator[None]:
    """How commits of the connections are that the peers open in the block."""
    owner = await bench.owner()
    await owner.execute(SYNCHRONOUS if on else ASYNCHRONOUS)
    try:
        yield
    finally:
        await owner.execute(AS_EVER)
        await owner.close()
