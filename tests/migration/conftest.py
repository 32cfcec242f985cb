"""Databases for tests of migrations."""

from collections.abc import Iterator

import pytest

from tests.migration.synthetic import Scratch, scratch_database
from tests.servers import PostgresServer


@pytest.fixture
def scratch(postgres_server: PostgresServer) -> Iterator[Scratch]:
    """An empty database."""
    with scratch_database(postgres_server) as database:
        yield database


@pytest.fixture
async def migrated(scratch: Scratch) -> Scratch:
    """A database at the head."""
    await scratch.manager().run_migrations()
    return scratch
