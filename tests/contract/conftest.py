"""The stores a contract is held by: one place to add another."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import pytest
from sqlalchemy import URL, make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.timeseries.postgres_store import PostgresTimeSeriesStore
from gal_friday.timeseries.store import TimeSeriesStore
from tests.conftest import make_template
from tests.influx.servers import OWN, REAL, real_server, served
from tests.servers import PostgresServer
from tests.timescale.server import TIMESCALEDB, is_named, timescale_server

Opening = AbstractAsyncContextManager[TimeSeriesStore]


@pytest.fixture(scope="session")
def contract_url(postgres_server: PostgresServer, template_database: str) -> URL:
    """A database for all tests of a contract, as its owner: removing points is not a trader's right."""
    name = f"contract_{uuid4().hex}"
    postgres_server.create_database(name, template=template_database)
    return make_url(postgres_server.url(name))


@pytest.fixture(scope="session")
async def contract_hypertables_url() -> AsyncIterator[URL]:
    """Such a database whose tables TimescaleDB has taken over."""
    with timescale_server() as server:
        yield make_url(server.url(await make_template(server)))


def postgresql(request: pytest.FixtureRequest) -> Opening:
    url: URL = request.getfixturevalue("contract_url")
    return _postgresql(url)


def timescaledb(request: pytest.FixtureRequest) -> Opening:
    url: URL = request.getfixturevalue("contract_hypertables_url")
    return _postgresql(url)


@asynccontextmanager
async def _postgresql(url: URL) -> AsyncIterator[TimeSeriesStore]:
    async with DatabaseConnectionPool(DatabaseSettings(), url=url) as pool:
        store = PostgresTimeSeriesStore(pool)
        yield store
        await store.close()
        assert pool.stats().checked_out == 0


@asynccontextmanager
async def _influxdb(kind: str) -> AsyncIterator[TimeSeriesStore]:
    async with served(kind) as settings, TimeSeriesDB(settings) as db:
        yield db


#: What gives a fixture `request` the store, opened, by the name it has in the test's.
TIME_SERIES_STORES: Mapping[str, Callable[[pytest.FixtureRequest], Opening]] = {
    "postgresql": postgresql,
    OWN: lambda _: _influxdb(OWN),
    **({TIMESCALEDB: timescaledb} if is_named() else {}),
    **({REAL: lambda _: _influxdb(REAL)} if real_server() else {}),
}


#: The stores on servers that are not always there, and the marks of their tests.
_MARKS: Mapping[str, Sequence[pytest.MarkDecorator]] = {
    REAL: [pytest.mark.influxdb],
    TIMESCALEDB: [pytest.mark.timescaledb],
}


@pytest.fixture(params=[pytest.param(name, marks=_MARKS.get(name, ())) for name in TIME_SERIES_STORES])
def opening(request: pytest.FixtureRequest) -> Opening:
    return TIME_SERIES_STORES[request.param](request)


@pytest.fixture
async def store(opening: Opening) -> AsyncIterator[TimeSeriesStore]:
    async with opening as store:
        yield store


@pytest.fixture
def name() -> str:
    """A measurement, or an exchange, that no other test writes to: servers may be shared."""
    return f"t_{uuid4().hex[:20]}"
