"""How Alembic works on this schema, online and offline."""

from typing import Any

from alembic import context
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.engine import Connection

from gal_friday.dal.migrations.applied_revisions import record_revisions
from gal_friday.dal.migrations.autogenerate import (
    detached_partitions,
    partitions,
    register_plugin,
    render_item,
)
from gal_friday.dal.migrations.grants import grant_on_what_is_new
from gal_friday.dal.models import Base
from gal_friday.dal.models.types import TransactionId


def context_options() -> dict[str, Any]:
    """Options of Alembic's `context.configure`, the same for every way to run it."""
    ischema_names["xid8"] = TransactionId
    return {
        "target_metadata": Base.metadata,
        "transaction_per_migration": True,
        "compare_type": True,
        "compare_server_default": True,
        "render_item": render_item,
        "on_version_apply": (record_revisions, grant_on_what_is_new),
        "autogenerate_plugins": [
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            register_plugin(),
        ],
    }


def online_options(connection: Connection) -> dict[str, Any]:
    """`context_options` for a database that can be looked at."""
    known: set[str] | None = None

    def include_name(name: str | None, kind: str, _parents: object) -> bool:
        nonlocal known
        if kind == "table" and known is None:
            known = partitions(connection).keys() | detached_partitions(connection)
        return kind != "table" or name not in (known or ())

    return {**context_options(), "connection": connection, "include_name": include_name}


def run_online(connection: Connection) -> None:
    """Run the Alembic command in progress on *connection*."""
    context.configure(**online_options(connection))
    with context.begin_transaction():
        context.run_migrations()


def run_offline() -> None:
    """Print the Alembic command in progress as SQL (`--sql`)."""
    context.configure(
        **context_options(),
        dialect_name="postgresql",
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()
