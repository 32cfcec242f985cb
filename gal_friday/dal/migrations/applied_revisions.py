"""`schema_revisions` lists what is applied, each revision with the oldest code it serves."""

from collections.abc import Collection
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import String, column, delete, func, insert, select, table
from sqlalchemy.engine import Connection

import gal_friday

# Not the model: this must go on writing tables of other versions than its own.
SCHEMA_REVISIONS = table(
    "schema_revisions",
    column("revision", String),
    column("oldest_code", String),
    column("applied_by", String),
)


def record_revisions(ctx: MigrationContext, step: MigrationInfo, heads: Collection[str], **_: Any) -> None:
    """Make `schema_revisions` list what is applied; Alembic's on_version_apply hook."""
    assert ctx.environment_context is not None
    script = ctx.environment_context.script
    if ctx.as_sql:
        _write_statement(ctx, step, script.get_revision(step.up_revision_id or ""))
    elif ctx.connection is not None and _is_there(ctx.connection):
        revisions = script.iterate_revisions(tuple(heads), "base") if heads else ()
        _synchronise(ctx.connection, {revision.revision: revision for revision in revisions})


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
