"""What those who work on an open database need of it."""

from typing import Protocol

from gal_friday.dal.connection_pool import DatabaseConnectionPool


class OpenDatabase(Protocol):
    """A database one can ask: `gal_friday.Database` is one."""

    @property
    def pool(self) -> DatabaseConnectionPool:
        """Its connections."""
        ...
