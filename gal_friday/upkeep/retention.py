"""What leaves when its time is over: whole partitions, and minutes for which there are hours."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Delete,
    TableClause,
    and_,
    column,
    delete,
    exists,
    func,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from gal_friday.dal.migrations.autogenerate import DETACHED
from gal_friday.dal.models import Base, Candle
from gal_friday.dal.models.server_side import triggers_of_partition
from gal_friday.upkeep.catalog import Partition, PartitionedTable, execute_ddl
from gal_friday.upkeep.detached import ensure_free, mark_detached
from gal_friday.upkeep.hypertables import retire_chunk
from gal_friday.upkeep.moving import BLOCKS_AT_ONCE, blocks_of
from gal_friday.upkeep.policies import NEVER_RETIRED, Policy
from gal_friday.upkeep.steps import PATIENCE_SECONDS, autocommitting, in_a_step, lock_out, patiently

_DETACH = "ALTER TABLE %(parent)s DETACH PARTITION %(partition)s"
_RENAME = "ALTER TABLE %(partition)s RENAME TO %(detached)s"
_REFERENCES_OF_DETACHED = text("""
    SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
    WHERE contype = 'f' AND pg_table_is_visible(pg_class.oid)
        AND obj_description(pg_class.oid, 'pg_class') = :comment
""")
_DROP_REFERENCE = "ALTER TABLE %(detached)s DROP CONSTRAINT %(reference)s"
_DAY = timedelta(days=1)
_WITHIN_BLOCKS = text("ctid >= CAST(:first AS tid) AND ctid < CAST(:beyond AS tid)")


def past_retention(table: PartitionedTable, policy: Policy, *, now: datetime) -> list[Partition]:
    """The partitions whose every row is older than *policy* keeps them, oldest first."""
    if policy.retention is None or table.name in NEVER_RETIRED:
        return []
    return _ended_before(table, now - policy.retention)


async def retire(
    connection: AsyncConnection,
    table: PartitionedTable,
    partition: Partition,
    *,
    keep_detached: bool,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Drop *partition*, or make it a table of its own called `<partition>_detached`.

    Raises LockTimeout if others were in the way all the time, AlreadyExists where that name is taken.
    """

    async def drop() -> None:
        await lock_out(connection, table)
        await execute_ddl(connection, "DROP TABLE %(partition)s", partition=partition.name)

    async def detach() -> None:
        await _detach(connection, table, partition, detached)

    if table.is_hypertable:
        chunk = partial(retire_chunk, connection, table, partition, keep=keep_detached)
        await in_a_step(connection, chunk, patience_seconds=patience_seconds)
        return
    if not keep_detached:
        await in_a_step(connection, drop, patience_seconds=patience_seconds)
        return
    detached = f"{partition.name}_detached"
    await in_a_step(connection, detach, patience_seconds=patience_seconds)


async def _detach(
    connection: AsyncConnection, table: PartitionedTable, partition: Partition, detached: str
) -> None:
    await ensure_free(connection, detached)
    await lock_out(connection, table)
    await execute_ddl(connection, _DETACH, parent=table.name, partition=partition.name)
    for trigger in triggers_of_partition(Base.metadata.tables[table.name], partition.name):
        await execute_ddl(
            connection, "DROP TRIGGER %(name)s ON %(partition)s", name=trigger.name, partition=partition.name
        )
    await execute_ddl(connection, _RENAME, partition=partition.name, detached=detached)
    await mark_detached(connection, detached)


async def loosen_detached(connection: AsyncConnection, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Take their foreign keys from detached partitions, so that nothing depends on them any more.

    A step of its own, for it needs the tables referred to alone; also of runs that did not get them. Raises
    LockTimeout if others were in the way all the time.
    """

    async def loosen() -> None:
        for table_name, reference in await connection.execute(_REFERENCES_OF_DETACHED, {"comment": DETACHED}):
            await execute_ddl(connection, _DROP_REFERENCE, detached=table_name, reference=reference)

    await in_a_step(connection, loosen, patience_seconds=patience_seconds)


async def minutes_past_retention(
    connection: AsyncConnection, candles: PartitionedTable, *, keep_days: int, now: datetime
) -> list[tuple[Partition, int]]:
    """The partitions of *candles* that are wholly older and still hold final minutes, and how many."""
    found = []
    for partition in _ended_before(candles, now - timedelta(days=keep_days)):
        minutes = select(func.count()).where(*_minutes_of(_leaf(candles, partition), partition))
        if count := await connection.scalar(minutes):
            found.append((partition, count))
    return found


async def remove_minutes(
    connection: AsyncConnection,
    candles: PartitionedTable,
    partition: Partition,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> int:
    """Remove the final minutes of *partition* whose hour is stored as a final candle; how many they were.

    Minutes without an hour stay. Raises LockTimeout if others were in the way all the time.
    """
    removed = 0
    removal = _removal(candles, partition)
    for within, binds in await _parts(connection, candles, partition):
        step = partial(_rows_affected, connection, removal.where(within), binds)
        removed += await in_a_step(connection, step, patience_seconds=patience_seconds)
    if removed and not candles.is_hypertable:
        # Of an old partition nobody would fill the room that plain VACUUM leaves in it.
        async with autocommitting(connection):
            await patiently(
                lambda: execute_ddl(connection, "VACUUM (FULL, ANALYZE) %(leaf)s", leaf=partition.name),
                patience_seconds=patience_seconds,
            )
    return removed


async def _rows_affected(connection: AsyncConnection, statement: Delete, binds: Mapping[str, Any]) -> int:
    return (await connection.execute(statement, binds)).rowcount


async def _parts(
    connection: AsyncConnection, candles: PartitionedTable, partition: Partition
) -> list[tuple[ColumnElement[bool], Mapping[str, Any]]]:
    """*partition* in parts small enough for one transaction each: some of its blocks, or a day of a chunk."""
    if not candles.is_hypertable:
        blocks = range(0, await blocks_of(connection, partition.name), BLOCKS_AT_ONCE)
        return [
            (and_(_WITHIN_BLOCKS), {"first": (block, 0), "beyond": (block + BLOCKS_AT_ONCE, 0)})
            for block in blocks
        ]
    assert partition.lower is not None
    assert partition.upper is not None
    when = column(candles.time_column, DateTime(timezone=True))
    days = range(-(-(partition.upper - partition.lower) // _DAY))
    starts = [partition.lower + day * _DAY for day in days]
    return [(and_(when >= start, when < start + _DAY), {}) for start in starts]


def _leaf(candles: PartitionedTable, partition: Partition) -> TableClause:
    """Where the rows of *partition* are asked for: a chunk's by way of its table, as it may be compressed."""
    name = candles.name if candles.is_hypertable else partition.name
    return table(name, *(column(each.name, each.type) for each in Candle.__table__.columns))


def _minutes_of(leaf: TableClause, partition: Partition) -> list[ColumnElement[bool]]:
    when = leaf.c.timestamp
    return [leaf.c.timeframe == "1m", leaf.c.is_final, when >= partition.lower, when < partition.upper]


def _removal(candles: PartitionedTable, partition: Partition) -> Delete:
    leaf = _leaf(candles, partition)
    hour = aliased(Candle)
    has_hour = exists().where(
        hour.exchange == leaf.c.exchange,
        hour.trading_pair == leaf.c.trading_pair,
        hour.timeframe == "1h",
        hour.timestamp == func.date_trunc("hour", leaf.c.timestamp, "UTC"),
        hour.timestamp >= partition.lower,
        hour.timestamp < partition.upper,
        hour.is_final,
    )
    return delete(leaf).where(*_minutes_of(leaf, partition), has_hour)


def _ended_before(table: PartitionedTable, moment: datetime) -> list[Partition]:
    return [
        each for each in table.partitions if each.lower and each.upper is not None and each.upper <= moment
    ]
