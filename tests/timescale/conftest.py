"""Databases on the server with TimescaleDB, and roles and logins in it that no other test has."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.role_manager import RoleManager
from gal_friday.database import Database
from tests.servers import NamedServer
from tests.timescale.place import Place
from tests.timescale.server import is_named, timescale_server

collect_ignore_glob = [] if is_named() else ["test_*.py"]


@pytest.fixture(scope="session")
def server() -> Iterator[NamedServer]:
    with timescale_server() as server:
        yield server


@pytest.fixture
async def place(server: NamedServer) -> AsyncIterator[Place]:
    """A database with partitions, its roles in use; the_boss is a migrator, the_bot a trader."""
    place = Place(server, f"test_{uuid4().hex}", DatabaseSettings(role_prefix=f"t{uuid4().hex[:12]}_"))
    server.create_database(place.name)
    await MigrationManager(place.url, place.settings).run_migrations()
    await RoleManager(place.url, place.settings).apply()
    place.sql(
        "CREATE ROLE the_boss LOGIN PASSWORD 'the_boss' IN ROLE the_migrator",
        "CREATE ROLE the_bot LOGIN PASSWORD 'the_bot' IN ROLE the_trader",
    )
    yield place
    server.drop_database(place.name, force=True)
    roles = place.sql("SELECT string_agg(rolname, ', ') FROM pg_roles WHERE rolname ^@ 'the_'", to="postgres")
    place.sql(f"DROP ROLE {roles}", to="postgres")


@pytest.fixture
async def converted(place: Place) -> Place:
    """The same, with hypertables."""
    await place.timescale().enable()
    return place


@pytest.fixture
async def bot(converted: Place) -> AsyncIterator[Database]:
    """A trader's, on hypertables."""
    async with converted.open("bot") as database:
        yield database
