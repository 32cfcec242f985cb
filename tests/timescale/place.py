"""A database on the server with TimescaleDB."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, make_url

from gal_friday.config import DatabaseSettings, UpkeepSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.role_manager import RoleManager
from gal_friday.database import Database
from gal_friday.upkeep import Upkeep
from gal_friday.upkeep.timescale import TABLES, Timescale
from tests.servers import NamedServer

_CONTENT = (
    "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, ' ' ORDER BY t::text)), '') FROM {} AS t"
)

_CHUNKS = """
    SELECT format('%I.%I', chunk_schema, chunk_name), is_compressed FROM timescaledb_information.chunks
    WHERE hypertable_name = '{}' ORDER BY range_start
"""
#: Rows in each of the tables, from January 2026 on.
FILL = (
    """
    INSERT INTO market_data (exchange, trading_pair, timeframe, timestamp, open, high, low, close, volume)
    SELECT 'kraken', pair, '1m', '2026-01-01Z'::timestamptz + n * interval '61 minutes', 2, 3, 1, n % 2 + 1, n
    FROM generate_series(1, 3000) AS n, unnest(ARRAY['BTC/USD', 'ETH/USD']) AS pair
    """,
    """
    INSERT INTO market_trades (exchange, trading_pair, traded_at, trade_id, price, quantity)
    SELECT 'kraken', 'BTC/USD', '2026-05-01Z'::timestamptz + n * interval '1 hour', n, n, 1e-18
    FROM generate_series(1, 2000) AS n
    """,
    """
    INSERT INTO series_points (measurement, series_hash, timestamp, nanosecond, fields)
    SELECT 'm', md5((n % 3)::text)::uuid, '2026-05-01Z'::timestamptz + n * interval '1 hour', n % 1000,
        jsonb_build_object('v', n)
    FROM generate_series(1, 2000) AS n
    """,
)
#: 150,000 candles more.
MANY = """
    INSERT INTO market_data (exchange, trading_pair, timeframe, timestamp, open, high, low, close, volume)
    SELECT 'kraken', 'LTC/USD', '1m', '2026-01-01Z'::timestamptz + n * interval '1 minute', 2, 3, 1, 2, n
    FROM generate_series(1, 150000) AS n
"""


@dataclass(frozen=True)
class Place:
    server: NamedServer
    name: str
    settings: DatabaseSettings

    @property
    def prefix(self) -> str:
        return self.settings.role_prefix

    @property
    def url(self) -> URL:
        """As the superuser."""
        return make_url(self.server.url(self.name))

    def url_of(self, login: str) -> URL:
        """As the_*login*."""
        return make_url(self.server.url(self.name, user=f"{self.prefix}{login}"))

    def sql(self, *statements: str, to: str | None = None) -> str:
        """Executed by the superuser, with `the_` for the prefix of roles."""
        commands = [part for each in statements for part in ("-c", each.replace("the_", self.prefix))]
        return self.server.run(
            "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", to or self.name, *commands
        ).strip()

    def timescale(self, login: str | None = None, **settings: Any) -> Timescale:
        url = self.url_of(login) if login else self.url
        return Timescale(url, self.settings, UpkeepSettings(**settings))

    def upkeep(self, **settings: Any) -> Upkeep:
        """As a migrator, who is no superuser."""
        return Upkeep(self.url_of("boss"), self.settings, UpkeepSettings(**settings))

    @asynccontextmanager
    async def open(self, login: str) -> AsyncIterator[Database]:
        async with DatabaseConnectionPool(DatabaseSettings(), url=self.url_of(login)) as pool:
            yield Database(pool)

    async def differences(self) -> list[str]:
        """From the models, and of the roles."""
        of_schema = await MigrationManager(self.url, self.settings).check()
        return [*of_schema, *await RoleManager(self.url, self.settings).check()]

    def contents(self) -> list[str]:
        """How many rows the time-series tables have, and a digest of all that is in them."""
        return [self.sql(_CONTENT.format(table)) for table in TABLES]

    def kinds(self) -> list[str]:
        """r for an ordinary table or a hypertable, p for one with partitions."""
        return [self.sql(f"SELECT relkind FROM pg_class WHERE oid = '{table}'::regclass") for table in TABLES]

    def chunks(self, table: str = "market_data") -> list[str]:
        """How many rows of each chunk are not compressed, `+` where others are; oldest first."""
        found = self.sql(_CHUNKS.format(table))
        parts = [line.split("|") for line in found.splitlines()]
        return [
            self.sql(f"SELECT count(*) FROM ONLY {name}") + "+" * (compressed == "t")
            for name, compressed in parts
        ]
