"""Which store of time series a database has."""

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.timeseries.postgres_store import PostgresTimeSeriesStore
from gal_friday.timeseries.store import TimeSeriesStore


def time_series_store(pool: DatabaseConnectionPool) -> TimeSeriesStore:
    """The store to be closed before *pool*: PostgreSQL's own tables."""
    return PostgresTimeSeriesStore(pool)
