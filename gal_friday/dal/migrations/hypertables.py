"""Tables TimescaleDB has taken over. Its own catalog is the record of them: no other can disagree with it."""

from sqlalchemy import text
from sqlalchemy.engine import Connection

# Where the extension is not there, nor are its views: that has to be asked first.
_IS_INSTALLED = text("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')")
_HYPERTABLES = text("""
    SELECT hypertable_name FROM timescaledb_information.hypertables
    WHERE hypertable_schema = current_schema()
""")


def hypertables(connection: Connection) -> set[str]:
    """Names of the hypertables beside our tables; none where TimescaleDB is not in use."""
    if not connection.scalar(_IS_INSTALLED):
        return set()
    return set(connection.scalars(_HYPERTABLES))
