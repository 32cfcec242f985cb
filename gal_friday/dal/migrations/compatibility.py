"""The handshake between a schema and the code that opens it.

Each revision declares `oldest_code`, the oldest version of this package that still works with the schema
it makes. Every database keeps that in `schema_revisions`, so that older code, which does not have the
revision's file, can read it.
"""

import logging
import re
from collections.abc import Container
from typing import Any

import gal_friday
from gal_friday.dal.migrations.schema_state import oldest_code_by_revision
from gal_friday.errors import SchemaTooNew

log = logging.getLogger(__name__)


def version_key(version: str) -> tuple[int, ...]:
    """Orders versions by their numbers: 0.10.0 is newer than 0.9.2.

    >>> version_key("0.10.0.dev1") > version_key("0.9.2")
    True
    """
    numbers = re.match(r"\d+(\.\d+)*", version)
    if numbers is None:
        raise ValueError(f"{version!r} is not a version")
    return tuple(int(number) for number in numbers.group().split("."))


async def check_served(connection: Any, known: Container[str], current: str | None) -> None:
    """Return if the revisions that *known* does not have still serve this version, and log it.

    *connection* is one of asyncpg. Raises SchemaTooNew otherwise.
    """
    recorded = await oldest_code_by_revision(connection)
    unknown = [oldest_code for revision, oldest_code in recorded.items() if revision not in known]
    oldest_code = max(unknown, key=version_key, default=None)
    facts: dict[str, Any] = {
        "database_revision": current,
        "oldest_code": oldest_code,
        "this_version": gal_friday.__version__,
    }
    if oldest_code is None:
        raise SchemaTooNew("the database does not say which versions its schema serves", **facts)
    if version_key(gal_friday.__version__) < version_key(oldest_code):
        raise SchemaTooNew(**facts)
    log.warning("the database was migrated by newer code, which still serves this version", extra=facts)
