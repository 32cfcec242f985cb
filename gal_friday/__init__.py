"""The persistence layer of an algorithmic trading bot."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gal_friday.config import Settings
    from gal_friday.database import Database, open_database

__version__ = "0.1.0"
__all__ = ["Database", "Settings", "open_database", "__version__"]

_HOMES = {
    "Database": "gal_friday.database",
    "Settings": "gal_friday.config",
    "open_database": "gal_friday.database",
}


def __getattr__(name: str) -> Any:
    # Importing the package must not cost what importing SQLAlchemy costs.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
