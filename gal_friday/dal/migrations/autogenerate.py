"""What Alembic's autogenerate does not know by itself: our types, partitions, triggers and functions.

As an Alembic plugin: `alembic check` finds them missing and `alembic revision` writes them like all else.
"""

import re
from collections.abc import Iterable, Iterator
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

from gal_friday.dal.migrations.hypertables import hypertables
from gal_friday.dal.models.server_side import (
    FUNCTIONS,
    SECURITY_DEFINERS,
    Trigger,
    triggers_of,
    triggers_of_partition,
)
from gal_friday.dal.models.types import TransactionId

PLUGIN = "gal_friday.declared"
_IMPORT_OPERATIONS = "from gal_friday.dal.migrations import operations"
_IMPORT_POSTGRESQL = "from sqlalchemy.dialects import postgresql"

#: The comment on tables that were partitions.
DETACHED = "Was a partition: gal-friday upkeep detached it"

_DETACHED = text("""
    SELECT relname FROM pg_class
    WHERE relkind = 'r' AND pg_table_is_visible(oid) AND obj_description(oid, 'pg_class') = :comment
""")
_PARTITIONS = text("""
    SELECT child.relname AS partition, root.relname AS root
    FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        JOIN pg_class AS root ON root.oid = pg_partition_root(child.oid)
    WHERE child.relispartition AND child.relkind IN ('r', 'p') AND pg_table_is_visible(child.oid)
""")
_TRIGGERS = text("""
    SELECT on_table.relname, pg_get_triggerdef(pg_trigger.oid, true)
    FROM pg_trigger JOIN pg_class AS on_table ON on_table.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE proname = ANY (:functions) AND pg_function_is_visible(pg_proc.oid)
        AND tgparentid = 0 AND pg_table_is_visible(on_table.oid)
""")
_FUNCTIONS = text("""
    SELECT proname FROM pg_proc WHERE proname = ANY (:functions) AND pg_function_is_visible(oid)
""")
_TRIGGER_DEFINITION = re.compile(
    r"CREATE (?:CONSTRAINT )?TRIGGER (?P<name>\w+) (?P<events>.+) ON \S+"
    r" (?P<deferred>DEFERRABLE INITIALLY DEFERRED )?FOR EACH (?P<per>.+)"
    r" EXECUTE FUNCTION (?P<function>\w+)\((?P<arguments>.*)\)",
    re.DOTALL,
)
_TRIGGER_ARGUMENT = re.compile(r"'((?:[^']|'')*)'")


class HelperCall(MigrateOperation):
    """A call of one of the functions in operations.py, and the one that undoes it: name, then arguments."""

    def __init__(self, call: tuple[str, ...], undoing: tuple[str, ...]) -> None:
        self.call = call
        self.undoing = undoing

    def reverse(self) -> "HelperCall":
        return HelperCall(self.undoing, self.call)

    def to_diff_tuple(self) -> tuple[str, ...]:
        return self.call[:3]


def partitions(connection: Connection) -> dict[str, str]:
    """All partitions, each with the table it is of: made and dropped by upkeep, not by autogenerate."""
    return {row.partition: row.root for row in connection.execute(_PARTITIONS)}


def detached_partitions(connection: Connection) -> set[str]:
    """Tables that were partitions until upkeep detached them."""
    return set(connection.scalars(_DETACHED, {"comment": DETACHED}))


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


def _render(context: AutogenContext, helper_call: HelperCall) -> str:
    context.imports.add(_IMPORT_OPERATIONS)
    name, *arguments = helper_call.call
    return f"operations.{name}({', '.join(map(repr, arguments))})"


def _compare(context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    connection = context.connection
    assert connection is not None
    assert isinstance(context.metadata, MetaData)
    tables = list(context.metadata.tables.values())
    # What TimescaleDB has taken over has chunks in place of partitions.
    partitioned = {table.name for table in tables if is_partitioned(table)} - hypertables(connection)
    upgrade_ops.ops += [
        *_missing_functions(connection),
        *_missing_partitions(connection, partitioned),
        *_changed_triggers(connection, tables, partitioned),
    ]
    return PriorityDispatchResult.CONTINUE


def _missing_functions(connection: Connection) -> Iterator[HelperCall]:
    present = set(connection.scalars(_FUNCTIONS, {"functions": list(FUNCTIONS)}))
    for name in FUNCTIONS:
        if name not in present:
            create = "create_definer_function" if name in SECURITY_DEFINERS else "create_function"
            yield HelperCall((create, name), ("drop_function", name))


def _missing_partitions(connection: Connection, partitioned: set[str]) -> Iterator[HelperCall]:
    present = partitions(connection)
    for name in sorted(partitioned):
        if f"{name}_default" not in present:
            yield HelperCall(("create_default_partition", name), ("drop_default_partition", name))


def _changed_triggers(
    connection: Connection, tables: Iterable[Table], partitioned: set[str]
) -> Iterator[HelperCall]:
    by_name = {table.name: table for table in tables}
    of_partitions = {f"{name}_default": name for name in partitioned}
    of_partitions |= {name: root for name, root in partitions(connection).items() if root in by_name}
    declared = {trigger for table in tables for trigger in triggers_of(table)}
    for name, root in of_partitions.items():
        declared.update(triggers_of_partition(by_name[root], name))
    present = _present_triggers(connection, by_name.keys() | of_partitions.keys())
    for trigger in sorted(present - declared):
        yield _creation(trigger).reverse()
    for trigger in sorted(declared - present):
        yield _creation(trigger)


def _present_triggers(connection: Connection, tables: set[str]) -> set[Trigger]:
    """Triggers on *tables* that call a function of ours; those of others are their own business."""
    found = set()
    for table, definition in connection.execute(_TRIGGERS, {"functions": list(FUNCTIONS)}):
        words = _TRIGGER_DEFINITION.fullmatch(definition)
        assert words is not None, definition
        arguments = tuple(text.replace("''", "'") for text in _TRIGGER_ARGUMENT.findall(words["arguments"]))
        if table in tables:
            what = (words["name"], words["events"], words["per"], words["function"], arguments)
            found.add(Trigger(table, *what, deferred=words["deferred"] is not None))
    return found


def _creation(trigger: Trigger) -> HelperCall:
    how = (trigger.events, trigger.per, trigger.function, *trigger.arguments)
    create = "create_deferred_trigger" if trigger.deferred else "create_trigger"
    return HelperCall(
        (create, trigger.name, trigger.table, *how), ("drop_trigger", trigger.name, trigger.table)
    )
