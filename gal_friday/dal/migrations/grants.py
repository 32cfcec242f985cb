"""New tables and functions get their privileges in the transaction that makes them."""

from typing import Any

from alembic.runtime.migration import MigrationContext

from gal_friday.dal.roles.comparison import follow_schema, names_of_roles


def grant_on_what_is_new(ctx: MigrationContext, **_: Any) -> None:
    """Let the roles do what the models of this code say, where they are in use; an on_version_apply hook.

    Not in SQL that is printed: after running that, `gal-friday db roles apply`.
    """
    assert ctx.environment_context is not None
    config = ctx.environment_context.config
    if ctx.connection is not None and not ctx.as_sql:
        follow_schema(ctx.connection, names_of_roles(config.attributes["role_prefix"]))
