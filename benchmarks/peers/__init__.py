"""How each peer is opened, and its models of our tables; imported only where the peer is measured."""

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from types import MappingProxyType

#: The module a peer is imported as and the distribution it comes in, by the beginning of its names.
LIBRARIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "asyncpg": ("asyncpg", "asyncpg"),
        "gal_friday": ("gal_friday", "gal_friday"),
        "SQLAlchemy": ("sqlalchemy", "SQLAlchemy"),
        "alembic": ("alembic", "alembic"),
        "psycopg": ("psycopg_pool", "psycopg"),
        "advanced-alchemy": ("advanced_alchemy", "advanced-alchemy"),
        "Tortoise": ("tortoise", "tortoise-orm"),
        "Piccolo": ("piccolo", "piccolo"),
        "vnpy_postgresql": ("vnpy_postgresql", "vnpy_postgresql"),
        "freqtrade": ("freqtrade", "freqtrade"),
        "influxdb-client": ("influxdb_client", "influxdb-client"),
        "ADBC": ("adbc_driver_postgresql", "adbc-driver-postgresql"),
    }
)


def library(peer: str) -> tuple[str, str]:
    """Module and distribution of the peer the table calls *peer*."""
    return next(found for name, found in LIBRARIES.items() if peer.startswith(name))


def is_installed(peer: str) -> bool:
    """Whether what *peer* needs can be imported; it is not imported to find out."""
    return find_spec(library(peer)[0]) is not None


def version_of(peer: str) -> str:
    return version(library(peer)[1])
