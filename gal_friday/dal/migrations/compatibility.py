"""The handshake between a schema and the code that opens it.

Each revision declares `oldest_code`, the oldest version of this package that still works with the schema
it makes. Every database keeps that in `schema_revisions`, so that older code, which does not have the
revision's file, can read it.
"""

import logging
import re
from collections.abc import Collection
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import String, column, delete, func, insert, select, table
from sqlalchemy.engine import Connection

import gal_friday
from gal_friday.dal.migrations.revisions import RevisionHistory
from gal_friday.errors import MigrationFailed, SchemaTooNew

log = logging.getLogger(__name__)

# Not the model: this must go on reading tables newer than itself.
SCHEMA_REVISIONS = table(
    "schema_revisions",
    column("revision", String),
    column("oldest_code", String),
    column("applied_by", String),
)


def version_key(version: str) -> tuple[int, ...]:
    """Orders versions by their numbers: 0.10.0 is newer than 0.9.2.

    >>> version_key("0.10.0.dev1") > version_key("0.9.2")
    True
    """
    numbers = re.match(r"\d+(\.\d+)*", version)
    if numbers is None:
        raise ValueError(f"{version!r} is not a version")
    return tuple(int(number) for number in numbers.group().split("."))


def record_revisions(ctx: MigrationContext, step: MigrationInfo, heads: Collection[str], **_: Any) -> None:
    """Make `schema_revisions` list what is applied; Alembic's on_version_apply hook."""
    assert ctx.environment_context is not None
    script = ctx.environment_context.script
    if ctx.as_sql:
        _write_statement(ctx, step, script.get_revision(step.up_revision_id or ""))
    elif ctx.connection is not None and _is_there(ctx.connection):
        revisions = script.iterate_revisions(tuple(heads), "base") if heads else ()
        _synchronise(ctx.connection, {revision.revision: revision for revision in revisions})


def current_revision(connection: Connection) -> str | None:
    """The revision recorded in the database; None if there is none."""
    heads = MigrationContext.configure(connection).get_current_heads()
    if len(heads) > 1:
        raise MigrationFailed("the database is at several revisions at once", database_revisions=heads)
    return heads[0] if heads else None


def check_served(connection: Connection, known: RevisionHistory, current: str | None) -> None:
    """Return if the revisions that *known* does not have still serve this version, and log it.

    Raises SchemaTooNew otherwise.
    """
    oldest_code = _oldest_code_served(connection, known)
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


def _oldest_code_served(connection: Connection, known: RevisionHistory) -> str | None:
    if not _is_there(connection):
        return None
    rows = connection.execute(select(SCHEMA_REVISIONS.c.revision, SCHEMA_REVISIONS.c.oldest_code)).all()
    return max((oldest for revision, oldest in rows if revision not in known), key=version_key, default=None)


def _synchronise(connection: Connection, applied: dict[str, Script]) -> None:
    recorded = set(connection.scalars(select(SCHEMA_REVISIONS.c.revision)))
    if gone := recorded - applied.keys():
        connection.execute(delete(SCHEMA_REVISIONS).where(SCHEMA_REVISIONS.c.revision.in_(gone)))
    for revision in applied.keys() - recorded:
        connection.execute(insert(SCHEMA_REVISIONS).values(_row(applied[revision])))


def _write_statement(ctx: MigrationContext, step: MigrationInfo, script: Script) -> None:
    if step.is_upgrade:
        ctx.execute(insert(SCHEMA_REVISIONS).values(_row(script)))
    elif script.down_revision:  # else the table has just been dropped
        ctx.execute(delete(SCHEMA_REVISIONS).where(SCHEMA_REVISIONS.c.revision == script.revision))


def _row(script: Script) -> dict[str, str]:
    oldest_code: str = script.module.oldest_code
    return {
        "revision": script.revision,
        "oldest_code": oldest_code,
        "applied_by": gal_friday.__version__,
    }


def _is_there(connection: Connection) -> bool:
    return connection.scalar(select(func.to_regclass("schema_revisions"))) is not None
