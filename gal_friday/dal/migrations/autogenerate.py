"""What Alembic's autogenerate does not know by itself: our types, partitions, triggers and functions.

As an Alembic plugin: `alembic check` finds them missing and `alembic revision` writes them like all else.
"""

from functools import cache
from typing import Any, Literal

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation, UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import MetaData, Table, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine import Connection
from sqlalchemy.types import TypeDecorator

from gal_friday.dal.models.types import TransactionId

PLUGIN = "gal_friday.declared"
ROW_VERSION = "raise_row_version"
_IMPORT_OPERATIONS = "from gal_friday.dal.migrations import operations"
_IMPORT_POSTGRESQL = "from sqlalchemy.dialects import postgresql"

_PARTITIONS = text("""
    SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE child.relispartition AND child.relkind IN ('r', 'p') AND pg_table_is_visible(child.oid)
""")
_TRIGGERS = text("""
    SELECT on_table.relname FROM pg_trigger JOIN pg_class AS on_table ON on_table.oid = tgrelid
    WHERE tgname = 'raise_row_version' AND tgparentid = 0 AND pg_table_is_visible(on_table.oid)
""")
_FUNCTION = text("""
    SELECT true FROM pg_proc WHERE proname = 'raise_row_version' AND pg_function_is_visible(oid)
""")


class HelperCall(MigrateOperation):
    """A call of one of the functions in operations.py."""

    def __init__(self, function: str, undoing: str, argument: str) -> None:
        self.function = function
        self.undoing = undoing
        self.argument = argument

    def reverse(self) -> "HelperCall":
        return HelperCall(self.undoing, self.function, self.argument)

    def to_diff_tuple(self) -> tuple[str, str]:
        return self.function, self.argument


def partitions(connection: Connection) -> set[str]:
    """Names of all partitions: made and dropped by upkeep, none of autogenerate's business."""
    return set(connection.scalars(_PARTITIONS))


def is_partitioned(table: Table) -> bool:
    """Whether *table* is declared as partitioned."""
    return bool(table.dialect_options["postgresql"]["partition_by"])


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Write our column types as the plain types they are in the database: revisions outlive classes."""
    if kind != "type":
        return False
    if isinstance(item, TransactionId):
        context.imports.add(_IMPORT_OPERATIONS)
        return "operations.TransactionId()"
    if not isinstance(item, TypeDecorator):
        return False
    match item.load_dialect_impl(PGDialect()):  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
        case JSONB():
            rendered = "postgresql.JSONB()"
        case ARRAY(item_type=item_type):
            rendered = f"postgresql.ARRAY(sa.{item_type!r})"
        case plain if type(plain).__module__.startswith("sqlalchemy.dialects.postgresql"):
            rendered = f"postgresql.{plain!r}"
        case plain:
            return f"sa.{plain!r}"
    context.imports.add(_IMPORT_POSTGRESQL)
    return rendered


@cache
def register_plugin() -> str:
    """Make the plugin known to Alembic, once in a process; returns its name for `autogenerate_plugins`."""
    # Last of all: triggers and partitions need their tables.
    Plugin(PLUGIN).add_autogenerate_comparator(
        _compare, "autogenerate", "declared", priority=DispatchPriority.LAST
    )
    renderers.dispatch_for(HelperCall)(_render)
    return PLUGIN


def _render(context: AutogenContext, call: HelperCall) -> str:
    context.imports.add(_IMPORT_OPERATIONS)
    return f"operations.{call.function}({call.argument!r})"


def _compare(context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    connection = context.connection
    assert connection is not None
    assert isinstance(context.metadata, MetaData)
    tables = context.metadata.tables
    versioned = {name for name, table in tables.items() if "row_version" in table.columns}
    with_trigger = set(connection.scalars(_TRIGGERS))
    with_default = {f"{name}_default" for name, table in tables.items() if is_partitioned(table)}

    if versioned and not connection.scalar(_FUNCTION):
        upgrade_ops.ops.insert(0, HelperCall("create_function", "drop_function", ROW_VERSION))
    upgrade_ops.ops += [
        *(
            HelperCall("create_default_partition", "drop_default_partition", name.removesuffix("_default"))
            for name in sorted(with_default - partitions(connection))
        ),
        *(
            HelperCall("attach_row_version", "detach_row_version", name)
            for name in sorted(versioned - with_trigger)
        ),
        *(
            HelperCall("detach_row_version", "attach_row_version", name)
            for name in sorted(with_trigger & tables.keys() - versioned)
        ),
    ]
    return PriorityDispatchResult.CONTINUE
