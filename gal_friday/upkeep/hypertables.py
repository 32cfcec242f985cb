"""Chunks of hypertables, compressed and let go; the hours TimescaleDB makes of minutes, brought up to date.

TimescaleDB's own jobs keep a copy of the settings, and run only for an owner that may log in, which the role
that owns our tables may not.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnClause, DateTime, column, insert, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.models.privileges import CANDLE_HOURS
from gal_friday.upkeep.catalog import Partition, PartitionedTable, execute_ddl
from gal_friday.upkeep.detached import ensure_free, mark_detached
from gal_friday.upkeep.steps import PATIENCE_SECONDS, autocommitting, in_a_step, patiently

#: A chunk is compressed once the youngest row it could hold is older than this.
COMPRESSED_AFTER = timedelta(days=7)
#: Hours younger than this are made of the minutes whenever they are asked for: minutes that are late or
#: changed are in them at once, in older ones after the next run.
MADE_WHEN_ASKED = timedelta(days=1)

# What was stored in a chunk since it was compressed lies beside that, in the blocks of the chunk itself.
_WRITTEN_TO = text("""
    SELECT chunk_name AS name, format('%I.%I', chunk_schema, chunk_name) AS qualified
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema() AND hypertable_name = :name AND range_end <= :moment
        AND pg_relation_size(CAST(format('%I.%I', chunk_schema, chunk_name) AS regclass)) > 0
    ORDER BY range_start
""")
_LOCK = "LOCK TABLE %(chunk)s IN ACCESS EXCLUSIVE MODE"
_COMPRESS = text("SELECT compress_chunk(CAST(:chunk AS regclass), if_not_compressed => true)")
_DROP = text("""
    SELECT drop_chunks(
        CAST(:name AS regclass),
        older_than => CAST(:upper AS timestamptz), newer_than => CAST(:lower AS timestamptz)
    )
""")
_REFRESH = text("""
    CALL refresh_continuous_aggregate(
        CAST(:hours AS regclass), CAST(:start AS timestamptz), CAST(:end AS timestamptz)
    )
""")
_AS_A_TABLE = """
    CREATE TABLE %(detached)s (
        LIKE %(table)s INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS INCLUDING INDEXES
        INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING STATISTICS
    )
"""


class Chunk(NamedTuple):
    """A chunk by its name, and by the name SQL knows it by."""

    name: str
    qualified: str


def to_compress(table: PartitionedTable, *, now: datetime) -> list[Partition]:
    """The chunks of *table* whose time for it has come, oldest first; none of a table that has no chunks."""
    if not table.is_hypertable:
        return []
    bound = now - COMPRESSED_AFTER
    return [
        each
        for each in table.partitions
        if not each.is_compressed and each.upper is not None and each.upper <= bound
    ]


async def written_to(connection: AsyncConnection, table: PartitionedTable, *, now: datetime) -> list[Chunk]:
    """Chunks of that age that hold what is not compressed, some or all of it, oldest first."""
    found = await connection.execute(_WRITTEN_TO, {"name": table.name, "moment": now - COMPRESSED_AFTER})
    return [Chunk(*row) for row in found]


async def compress(
    connection: AsyncConnection, chunk: Chunk, *, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Compress *chunk*, or what is not compressed in it.

    Whoever writes to this chunk waits until it is done, or is given up because they wait: only at its end the
    server needs the chunk for itself. Raises LockTimeout or TransactionConflict if others were in the way all
    the time.
    """

    async def nobody_is_in_it() -> None:
        await execute_ddl(connection, _LOCK, {"chunk": chunk.qualified})

    async def step() -> None:
        await connection.execute(_COMPRESS, {"chunk": chunk.qualified})

    # A reader of hours would be found in the way only when all the work is done.
    await in_a_step(connection, nobody_is_in_it, patience_seconds=patience_seconds)
    await in_a_step(connection, step, patience_seconds=patience_seconds)


async def retire_chunk(
    connection: AsyncConnection, hypertable: PartitionedTable, chunk: Partition, *, keep: bool
) -> None:
    """Drop *chunk*; with *keep* its rows stay in a table of their own, `<table>_p<first day>_detached`.

    Commits nothing. Raises AlreadyExists where that name is taken, and LockTimeout.
    """
    assert chunk.lower is not None
    if keep:
        detached = f"{hypertable.name}_p{chunk.lower:%Y_%m_%d}_detached"
        await ensure_free(connection, detached)
        await execute_ddl(connection, "LOCK TABLE %(table)s IN ACCESS EXCLUSIVE MODE", table=hypertable.name)
        await execute_ddl(connection, _AS_A_TABLE, detached=detached, table=hypertable.name)
        when = column(hypertable.time_column, DateTime(timezone=True))
        columns: list[ColumnClause[Any]] = [column(name) for name in hypertable.columns]
        rows = (
            select(*columns)
            .select_from(table(hypertable.name))
            .where(when >= chunk.lower, when < chunk.upper)
        )
        kept = table(detached, *map(column, hypertable.columns))
        await connection.execute(insert(kept).from_select(hypertable.columns, rows))
        await mark_detached(connection, detached)
    await connection.execute(_DROP, {"name": hypertable.name, "upper": chunk.upper, "lower": chunk.lower})


async def refresh_hours(
    connection: AsyncConnection,
    candles: PartitionedTable,
    *,
    minutes_days: int | None,
    now: datetime,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Bring the stored hours of `market_data_hours` up to date with the minutes, where those are still kept.

    Of what has left after *minutes_days* the hours stay as they were. Raises LockTimeout if others were in
    the way all the time.
    """
    left_before = None if minutes_days is None else now - timedelta(days=minutes_days)
    kept = [
        each.lower
        for each in candles.partitions
        if each.lower and each.upper and (left_before is None or each.upper > left_before)
    ]
    end = now - MADE_WHEN_ASKED
    if not kept or kept[0] >= end - timedelta(hours=2):  # less than a whole hour is refused
        return
    window = {"hours": CANDLE_HOURS, "start": kept[0], "end": end}

    async def refresh() -> None:
        await connection.execute(_REFRESH, window)

    async with autocommitting(connection):
        await patiently(refresh, patience_seconds=patience_seconds)
