"""What leaves when its time is over: whole partitions, and minutes for which there are hours."""

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Delete, and_, column, delete, exists, func, literal, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from gal_friday.dal.migrations.autogenerate import DETACHED
from gal_friday.dal.models import Base, Candle
from gal_friday.dal.models.server_side import triggers_of_partition
from gal_friday.errors import AlreadyExists
from gal_friday.upkeep.catalog import Partition, PartitionedTable, as_sql, execute_ddl, is_there
from gal_friday.upkeep.moving import BLOCKS_AT_ONCE, blocks_of
from gal_friday.upkeep.policies import NEVER_RETIRED, Policy
from gal_friday.upkeep.steps import PATIENCE_SECONDS, autocommitting, in_a_step, lock_out, patiently

_DETACH = "ALTER TABLE %(parent)s DETACH PARTITION %(partition)s"
_RENAME = "ALTER TABLE %(partition)s RENAME TO %(detached)s"
_COMMENT = "COMMENT ON TABLE %(partition)s IS %(comment)s"
_REFERENCES_OF_DETACHED = text("""
    SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
    WHERE contype = 'f' AND pg_table_is_visible(pg_class.oid)
        AND obj_description(pg_class.oid, 'pg_class') = :comment
""")
_DROP_REFERENCE = "ALTER TABLE %(detached)s DROP CONSTRAINT %(reference)s"
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

    if not keep_detached:
        await in_a_step(connection, drop, patience_seconds=patience_seconds)
        return
    detached = f"{partition.name}_detached"
    await in_a_step(connection, detach, patience_seconds=patience_seconds)


async def _detach(
    connection: AsyncConnection, table: PartitionedTable, partition: Partition, detached: str
) -> None:
    if await is_there(connection, detached):
        raise AlreadyExists("a detached partition is to be called like this", table=detached)
    await lock_out(connection, table)
    await execute_ddl(connection, _DETACH, parent=table.name, partition=partition.name)
    for trigger in triggers_of_partition(Base.metadata.tables[table.name], partition.name):
        await execute_ddl(
            connection, "DROP TRIGGER %(name)s ON %(partition)s", name=trigger.name, partition=partition.name
        )
    await execute_ddl(connection, _RENAME, partition=partition.name, detached=detached)
    await execute_ddl(connection, _COMMENT, {"comment": as_sql(literal(DETACHED))}, partition=detached)


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
        leaf = table(partition.name, column("timeframe"), column("is_final"))
        minutes = select(func.count()).select_from(leaf).where(leaf.c.timeframe == "1m", leaf.c.is_final)
        if count := await connection.scalar(minutes):
            found.append((partition, count))
    return found


async def remove_minutes(
    connection: AsyncConnection, partition: Partition, *, patience_seconds: float = PATIENCE_SECONDS
) -> int:
    """Remove the final minutes of *partition* whose hour is stored as a final candle; how many they were.

    Minutes without an hour stay. Raises LockTimeout if others were in the way all the time.
    """
    removed = 0
    for block in range(0, await blocks_of(connection, partition.name), BLOCKS_AT_ONCE):
        removal = partial(_remove_within, connection, partition, block)
        removed += await in_a_step(connection, removal, patience_seconds=patience_seconds)
    if removed:
        # Of an old partition nobody would fill the room that plain VACUUM leaves in it.
        async with autocommitting(connection):
            await patiently(
                lambda: execute_ddl(connection, "VACUUM (FULL, ANALYZE) %(leaf)s", leaf=partition.name),
                patience_seconds=patience_seconds,
            )
    return removed


async def _remove_within(connection: AsyncConnection, partition: Partition, block: int) -> int:
    binds = {"first": (block, 0), "beyond": (block + BLOCKS_AT_ONCE, 0)}
    return (await connection.execute(_removal(partition), binds)).rowcount


def _removal(partition: Partition) -> Delete:
    leaf = table(partition.name, *(column(each.name, each.type) for each in Candle.__table__.columns))
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
    return delete(leaf).where(_WITHIN_BLOCKS, and_(leaf.c.timeframe == "1m", leaf.c.is_final, has_hour))


def _ended_before(table: PartitionedTable, moment: datetime) -> list[Partition]:
    return [
        each for each in table.partitions if each.lower and each.upper is not None and each.upper <= moment
    ]
