"""Databases for migrations: empty ones, on each version of the server."""

from collections.abc import Iterator

import pytest

from tests.migration.synthetic import Scratch, scratch_database
from tests.servers import PostgresServer


@pytest.fixture
def scratch(postgres_server: PostgresServer) -> Iterator[Scratch]:
    with scratch_database(postgres_server) as database:
        yield database


@pytest.fixture
def any_scratch(any_postgres_server: PostgresServer) -> Iterator[Scratch]:
    with scratch_database(any_postgres_server) as database:
        yield database
