"""A real PostgreSQL server of one's own, used where no database URL is configured."""

from gal_friday.embedded.endpoint import Endpoint, ServerStatus
from gal_friday.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "Endpoint", "ServerStatus"]
