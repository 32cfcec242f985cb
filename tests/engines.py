"""Engines as the package makes them, for tests that go below the pool."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from gal_friday.config import DatabaseSettings
from gal_friday.dal.engine import make_engine


def engine_for(url: str, **settings: Any) -> AsyncEngine:
    database = DatabaseSettings(url=url, **settings)
    sqlalchemy_url = database.sqlalchemy_url()
    assert sqlalchemy_url is not None
    return make_engine(database, sqlalchemy_url)
