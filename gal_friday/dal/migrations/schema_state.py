"""What a database says of its own schema; asked on an asyncpg connection, without SQLAlchemy."""

from collections.abc import Mapping
from typing import Any

from gal_friday.errors import MigrationFailed

_IS_THERE = "SELECT to_regclass($1) IS NOT NULL"
_REVISIONS = "SELECT version_num FROM alembic_version"
_OLDEST_CODE = "SELECT revision, oldest_code FROM schema_revisions"


async def current_revision(connection: Any) -> str | None:
    """The revision recorded in the database; None if there is none."""
    if not await connection.fetchval(_IS_THERE, "alembic_version"):
        return None
    found = tuple(row["version_num"] for row in await connection.fetch(_REVISIONS))
    if len(found) > 1:
        raise MigrationFailed("the database is at several revisions at once", database_revisions=found)
    return found[0] if found else None


async def oldest_code_by_revision(connection: Any) -> Mapping[str, str]:
    """For each revision applied, the oldest version of this package its schema serves."""
    if not await connection.fetchval(_IS_THERE, "schema_revisions"):
        return {}
    return {row["revision"]: row["oldest_code"] for row in await connection.fetch(_OLDEST_CODE)}
