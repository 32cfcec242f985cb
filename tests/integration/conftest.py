"""Data directories for embedded servers."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gal_friday.embedded import EmbeddedServer
from tests.embedded_servers import a_data_directory, embedded_settings, end_everything, store_of


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
