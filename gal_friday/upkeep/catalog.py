"""What the server's catalog says of a partitioned table."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import DDL, ColumnElement, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.migrations.hypertables import hypertables
from gal_friday.dal.models.types import UtcDateTime
from gal_friday.upkeep.policies import Period

_TABLE = text("""
    SELECT pg_get_userbyid(relowner) AS owner, (
            SELECT attname FROM pg_attribute WHERE attrelid = parent.oid AND attnum = partattrs[0]
        ) AS time_column, (
            SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = parent.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        ) AS columns, (
            SELECT relname FROM pg_class WHERE pg_class.oid = partdefid
        ) AS default_partition
    FROM pg_class AS parent JOIN pg_partitioned_table ON partrelid = parent.oid
    WHERE parent.oid = to_regclass(quote_ident(:name))
""")
_REFERRED_TO = text("""
    SELECT DISTINCT relname FROM pg_constraint JOIN pg_class ON pg_class.oid = confrelid
    WHERE conrelid = to_regclass(quote_ident(:name)) AND contype = 'f' ORDER BY relname
""")
_PARTITIONS = text(r"""
    SELECT relname AS name, bound = 'DEFAULT' AS is_default,
        CAST((regexp_match(bound, 'FROM \(''([^'']+)''\)'))[1] AS timestamptz) AS lower,
        CAST((regexp_match(bound, 'TO \(''([^'']+)''\)'))[1] AS timestamptz) AS upper,
        greatest(reltuples, 0)::bigint AS estimated_rows, pg_total_relation_size(oid) AS bytes
    FROM (
        SELECT child.*, pg_get_expr(relpartbound, child.oid) AS bound
        FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = to_regclass(quote_ident(:name))
    ) AS child
    ORDER BY lower NULLS LAST, name
""").columns(lower=UtcDateTime(), upper=UtcDateTime())
_HYPERTABLE = text("""
    SELECT pg_get_userbyid(relowner) AS owner, column_name AS time_column, (
            SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        ) AS columns
    FROM timescaledb_information.dimensions JOIN pg_class ON pg_class.oid = to_regclass(quote_ident(:name))
    WHERE hypertable_schema = current_schema() AND hypertable_name = :name AND dimension_number = 1
""")
_CHUNKS = text("""
    SELECT chunk_name AS name, false AS is_default, range_start AS lower, range_end AS upper,
        approximate_row_count(chunk) AS estimated_rows, total_bytes AS bytes,
        is_compressed
    FROM timescaledb_information.chunks JOIN chunks_detailed_size(to_regclass(quote_ident(:name)))
            USING (chunk_schema, chunk_name),
        CAST(format('%I.%I', chunk_schema, chunk_name) AS regclass) AS chunk
    WHERE hypertable_schema = current_schema() AND hypertable_name = :name
    ORDER BY range_start
""").columns(lower=UtcDateTime(), upper=UtcDateTime())
_IS_THERE = text("SELECT to_regclass(quote_ident(:name)) IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition, or chunk; a bound of None is the table's own end, or that of the default."""

    name: str
    is_default: bool
    lower: datetime | None
    upper: datetime | None
    #: As the server last counted them.
    estimated_rows: int
    #: On disk, indexes included.
    bytes: int
    is_compressed: bool = False


@dataclass(frozen=True, slots=True)
class PartitionedTable:
    """A table that is partitioned by range of one column of times, by PostgreSQL or by TimescaleDB."""

    name: str
    owner: str
    time_column: str
    columns: tuple[str, ...]
    default_partition: str | None
    #: Tables its foreign keys refer to.
    referred_to: tuple[str, ...]
    partitions: tuple[Partition, ...]
    #: Whether TimescaleDB makes its partitions, the chunks: with the first row of their time.
    is_hypertable: bool = False

    @property
    def taken(self) -> list[Period]:
        """What the partitions cover; one without an end covers all of that side."""
        return [
            Period(each.lower or _EARLIEST, each.upper or _LATEST)
            for each in self.partitions
            if not each.is_default
        ]


_EARLIEST = datetime.fromisoformat("0001-01-01T00:00:00+00:00")
_LATEST = datetime.fromisoformat("9999-12-31T00:00:00+00:00")


async def look_at(connection: AsyncConnection, name: str) -> PartitionedTable | None:
    """*name* as it is now; None where it is not partitioned."""
    found = (await connection.execute(_TABLE, {"name": name})).one_or_none()
    if found is None:
        return await _look_at_hypertable(connection, name)
    referred_to = await connection.scalars(_REFERRED_TO, {"name": name})
    partitions = await connection.execute(_PARTITIONS, {"name": name})
    return PartitionedTable(
        name=name,
        owner=found.owner,
        time_column=found.time_column,
        columns=tuple(found.columns),
        default_partition=found.default_partition,
        referred_to=tuple(referred_to),
        partitions=tuple(Partition(*row) for row in partitions),
    )


async def _look_at_hypertable(connection: AsyncConnection, name: str) -> PartitionedTable | None:
    if name not in await connection.run_sync(hypertables):
        return None
    found = (await connection.execute(_HYPERTABLE, {"name": name})).one()
    chunks = await connection.execute(_CHUNKS, {"name": name})
    return PartitionedTable(
        name=name,
        owner=found.owner,
        time_column=found.time_column,
        columns=tuple(found.columns),
        default_partition=None,
        referred_to=(),
        partitions=tuple(Partition(*row) for row in chunks),
        is_hypertable=True,
    )


async def is_there(connection: AsyncConnection, name: str) -> bool:
    """Whether something in the schema has that name."""
    return bool(await connection.scalar(_IS_THERE, {"name": name}))


async def execute_ddl(
    connection: AsyncConnection,
    statement: str,
    words: Mapping[str, str] = MappingProxyType({}),
    /,
    **names: str,
) -> None:
    """Execute *statement*, its placeholders replaced by *words* as they are and by *names* quoted."""
    quoted = {placeholder: _quoted(name) for placeholder, name in names.items()}
    await connection.execute(DDL(statement, context={**words, **quoted}))  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def as_sql(expression: ColumnElement[Any]) -> str:
    """*expression* as DDL has it, without binds."""
    return str(expression.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


_DIALECT = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]  # as above
_quoted = _DIALECT.identifier_preparer.quote_identifier
