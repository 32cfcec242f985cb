"""The engine: how connections are made, kept, and fail."""

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connect_arguments import connect_arguments
from gal_friday.dal.error_translation import install_error_translation
from gal_friday.dal.marked_commits import MarkingConnection
from gal_friday.dal.measured_pool import MeasuredPool
from gal_friday.dal.models.types import dumps, loads


def make_engine(settings: DatabaseSettings, url: URL) -> AsyncEngine:
    """An engine that connects, waits and fails as *settings* say; nothing is opened before its first use."""
    url, arguments = connect_arguments(settings, url)
    engine = create_async_engine(
        url,
        connect_args={**arguments, "connection_class": MarkingConnection},
        poolclass=MeasuredPool,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.acquire_timeout_seconds,
        pool_recycle=settings.recycle_seconds,
        pool_use_lifo=True,  # connections beyond the usual load grow old and are replaced only when needed
        json_serializer=dumps,
        json_deserializer=loads,
        hide_parameters=True,  # in SQLAlchemy's own log
    )
    install_error_translation(engine)
    return engine
