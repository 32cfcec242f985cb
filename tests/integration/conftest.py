"""Data directories for embedded servers, and the owner's own connection."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest
from sqlalchemy import URL

from gal_friday.embedded import EmbeddedServer
from tests.embedded_servers import a_data_directory, embedded_settings, end_everything, store_of
from tests.upkeep import Owner


@pytest.fixture
async def owner(owner_url: URL) -> AsyncIterator[Owner]:
    """The owner of the database's tables, on a connection of its own."""
    dsn = owner_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    yield Owner(connection)
    await connection.close()


@pytest.fixture
def new_data_directory() -> Iterator[Path]:
    """Of a server that has never been started; it does not exist."""
    with a_data_directory() as directory:
        yield directory


@pytest.fixture
def data_directory(used_data_directory: Path) -> Iterator[Path]:
    """Of a server that has been started and stopped once."""
    with a_data_directory() as directory:
        subprocess.run(["cp", "-Rp", used_data_directory, directory], check=True)
        store_of(directory).log.unlink()  # it tells of the original
        yield directory


@pytest.fixture(scope="session")
def used_data_directory() -> Iterator[Path]:
    """To be copied: that is faster than to make a cluster for each test."""
    with a_data_directory() as directory:
        with EmbeddedServer(embedded_settings(directory)):
            pass
        end_everything(directory)
        yield directory
