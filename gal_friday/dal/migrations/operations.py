"""What revision files call beyond Alembic's own `op`.

Revisions are history: once released, a function here keeps doing what it did, and a file in `sql/` keeps its
text. A changed server function is a new file (`raise_row_version_2.sql`) and a new revision.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from alembic import op
from alembic.script import ScriptDirectory
from sqlalchemy import DDL, ColumnElement, TextClause, literal, text

from gal_friday.dal.models.types import TransactionId

__all__ = [
    "TransactionId",
    "act_for_owner",
    "create_default_partition",
    "create_deferred_trigger",
    "create_definer_function",
    "create_function",
    "create_index_concurrently",
    "create_trigger",
    "drop_default_partition",
    "drop_function",
    "drop_index_concurrently",
    "drop_trigger",
    "execute_sql_file",
]

# For statements nobody queues behind: long enough for other people's transactions to end, not for ever.
CONCURRENT_LOCK_TIMEOUT = "5min"

_CREATE_TRIGGER = """
    CREATE TRIGGER %(name)s %(events)s ON %(table)s
    FOR EACH %(per)s EXECUTE FUNCTION %(function)s(%(arguments)s)
"""
_CREATE_DEFERRED_TRIGGER = """
    CREATE CONSTRAINT TRIGGER %(name)s %(events)s ON %(table)s DEFERRABLE INITIALLY DEFERRED
    FOR EACH %(per)s EXECUTE FUNCTION %(function)s(%(arguments)s)
"""
_DROP_TRIGGER = "DROP TRIGGER %(name)s ON %(table)s"
_CREATE_DEFAULT_PARTITION = "CREATE TABLE %(partition)s PARTITION OF %(table)s DEFAULT"
_DROP_PARTITIONS = """
    DO $$ DECLARE partition regclass; BEGIN
        FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(quote_ident(%(name)s))
        LOOP
            EXECUTE format('DROP TABLE %%s', partition);
        END LOOP;
    END $$
"""
_DROP_FUNCTION = "DROP FUNCTION %(function)s"
# Its search path ends with the caller's temporary schema, which is searched first where it is not named.
# Called by a trigger of the caller's own making, it would write what the caller makes up.
_ACT_FOR_OWNER = """
    DO $$ BEGIN
        EXECUTE format(
            'ALTER FUNCTION %%I() SECURITY DEFINER SET search_path = %%I, pg_temp',
            %(name)s, current_schema()
        );
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %%I() FROM PUBLIC', %(name)s);
    END $$
"""
_IS_INVALID = text(
    "SELECT true FROM pg_index WHERE indexrelid = to_regclass(CAST(:index AS text)) AND NOT indisvalid"
)
_LOCK_TIMEOUT = text("SELECT set_config('lock_timeout', :value, false)")
_CURRENT_LOCK_TIMEOUT = text("SELECT current_setting('lock_timeout')")


def create_index_concurrently(
    index: str,
    table: str,
    columns: Sequence[str | TextClause | ColumnElement[object]],
    *,
    unique: bool = False,
    where: TextClause | None = None,
    using: str | None = None,
) -> None:
    """Build *index* while others go on writing.

    This commits the revision's transaction: let nothing else stand in such a revision. Broken off, the build
    leaves an invalid index behind, which the next attempt drops first.
    """
    with _outside_a_transaction():
        if not op.get_context().as_sql and op.get_bind().scalar(_IS_INVALID, {"index": _quoted(index)}):
            op.drop_index(index, table, postgresql_concurrently=True, if_exists=True)
        op.create_index(
            index,
            table,
            columns,
            unique=unique,
            if_not_exists=True,  # the connection may have been lost between the build and its record
            postgresql_concurrently=True,
            postgresql_where=where,
            postgresql_using=using,
        )


def drop_index_concurrently(index: str, table: str) -> None:
    """Drop *index* while others go on writing; commits the revision's transaction."""
    with _outside_a_transaction():
        op.drop_index(index, table, postgresql_concurrently=True, if_exists=True)


def execute_sql_file(name: str) -> None:
    """Execute the one statement in the file *name* of the migrations' `sql/` directory."""
    config = op.get_context().config
    assert config is not None
    statement = (Path(ScriptDirectory.from_config(config).dir) / "sql" / name).read_text(encoding="utf-8")
    op.execute(text(statement.replace(":", r"\:")))  # no binds in there


def create_function(name: str) -> None:
    """Create the function whose definition is `sql/<name>.sql`."""
    execute_sql_file(f"{name}.sql")


def create_definer_function(name: str) -> None:
    """Like `create_function`, for a trigger function that writes what its caller may not."""
    create_function(name)
    act_for_owner(name)


def act_for_owner(function: str) -> None:
    """Let the trigger function *function* act with its owner's rights, on what stands beside it only."""
    _execute_ddl(_ACT_FOR_OWNER, {"name": _literal(function)})


def drop_function(name: str) -> None:
    """Drop the function *name*."""
    _execute_ddl(_DROP_FUNCTION, function=name)


def create_trigger(name: str, table: str, events: str, per: str, function: str, *arguments: str) -> None:
    """Call *function* with *arguments* at *events* (`BEFORE UPDATE`) of *table*, per ROW or STATEMENT."""
    words = {"events": events, "per": per, "arguments": ", ".join(map(_literal, arguments))}
    _execute_ddl(_CREATE_TRIGGER, words, name=name, table=table, function=function)


def create_deferred_trigger(
    name: str, table: str, events: str, per: str, function: str, *arguments: str
) -> None:
    """Like `create_trigger`, but called when the transaction commits."""
    words = {"events": events, "per": per, "arguments": ", ".join(map(_literal, arguments))}
    _execute_ddl(_CREATE_DEFERRED_TRIGGER, words, name=name, table=table, function=function)


def drop_trigger(name: str, table: str) -> None:
    """Drop the trigger *name* of *table*."""
    _execute_ddl(_DROP_TRIGGER, name=name, table=table)


def create_default_partition(table: str) -> None:
    """Create `<table>_default`, which takes the rows no other partition of *table* is for."""
    _execute_ddl(_CREATE_DEFAULT_PARTITION, table=table, partition=f"{table}_default")


def drop_default_partition(table: str) -> None:
    """Drop `<table>_default`, every other partition of *table* that upkeep made, and the rows in them."""
    _execute_ddl(_DROP_PARTITIONS, {"name": _literal(table)})


@contextmanager
def _outside_a_transaction() -> Iterator[None]:
    # CONCURRENTLY waits for every transaction that still sees the old state. Nobody who reads or writes
    # queues behind it, so the short lock timeout that protects them would only be in its way.
    context = op.get_context()
    with context.autocommit_block():
        if context.as_sql:
            op.execute(_LOCK_TIMEOUT.bindparams(value=CONCURRENT_LOCK_TIMEOUT))
            yield
            return
        before = op.get_bind().scalar(_CURRENT_LOCK_TIMEOUT)
        op.get_bind().execute(_LOCK_TIMEOUT, {"value": CONCURRENT_LOCK_TIMEOUT})
        try:
            yield
        finally:
            op.get_bind().execute(_LOCK_TIMEOUT, {"value": before})


def _execute_ddl(statement: str, words: Mapping[str, str] = MappingProxyType({}), /, **names: str) -> None:
    """Execute *statement*, its placeholders replaced by *words* as they are and by *names* quoted."""
    quoted = {placeholder: _quoted(name) for placeholder, name in names.items()}
    op.execute(DDL(statement, context={**words, **quoted}))  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def _quoted(name: str) -> str:
    return op.get_context().dialect.identifier_preparer.quote(name)


def _literal(value: str) -> str:
    return str(
        literal(value).compile(dialect=op.get_context().dialect, compile_kwargs={"literal_binds": True})
    )
