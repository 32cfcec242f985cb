"""Partitions made ahead, and late for rows that wait in the default partition."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import DateTime, column, literal
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.models import Base
from gal_friday.dal.models.server_side import triggers_of_partition
from gal_friday.errors import AlreadyExists, ConstraintViolated, TransactionConflict
from gal_friday.upkeep.catalog import PartitionedTable, as_sql, execute_ddl, is_there
from gal_friday.upkeep.moving import Move, waiting_periods
from gal_friday.upkeep.policies import Period, Policy, free_parts
from gal_friday.upkeep.steps import PATIENCE_SECONDS, autocommitting, in_a_step, lock_out

# Without what belongs to the table as a whole: identity, triggers and privileges. Foreign keys are added when
# it is attached, which locks the tables referred to against changes; to take over one that is there already
# would lock them against every transaction that refers to them.
_BUILD = """
    CREATE TABLE %(partition)s (
        LIKE %(parent)s INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS INCLUDING INDEXES
        INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING STATISTICS,
        CONSTRAINT %(bounds)s CHECK (%(check)s)
    )
"""
_CREATE_TRIGGER = """
    CREATE TRIGGER %(name)s %(events)s ON %(partition)s FOR EACH STATEMENT EXECUTE FUNCTION %(function)s()
"""
_ATTACH = "ALTER TABLE %(parent)s ATTACH PARTITION %(partition)s FOR VALUES FROM (%(lower)s) TO (%(upper)s)"
_DROP_BOUNDS = "ALTER TABLE %(partition)s DROP CONSTRAINT %(bounds)s"
_BOUNDS = "bounds_while_built"


@dataclass(frozen=True, slots=True)
class Missing:
    """A partition that is to be made."""

    table: str
    name: str
    period: Period


async def missing_partitions(
    connection: AsyncConnection, table: PartitionedTable, policy: Policy, *, now: datetime
) -> list[Missing]:
    """What *table* needs, oldest first: for now, for the time ahead, for rows in the default partition.

    Chunks of a hypertable are made by TimescaleDB: none is ever missing.
    """
    if table.is_hypertable:
        return []
    periods = set(policy.periods(now))
    periods |= {policy.period_of(each) for each in await waiting_periods(connection, table, policy.interval)}
    return [
        Missing(table.name, policy.name_of(table.name, part), part)
        for period in sorted(periods)
        for part in free_parts(period, table.taken)
    ]


async def make_partition(
    connection: AsyncConnection,
    table: PartitionedTable,
    missing: Missing,
    *,
    now: datetime,
    patience_seconds: float = PATIENCE_SECONDS,
) -> int:
    """Make one partition and take its rows from the default; gives back how many these were.

    It is built aside, takes its rows and is attached in one transaction, so that everyone sees each row once
    at any time. Raises LockTimeout or TransactionConflict if others were in the way all the time, and
    AlreadyExists where the name is taken.
    """
    everywhere = False

    async def build_fill_and_attach() -> int:
        nonlocal everywhere
        await _build(connection, table, missing)
        try:
            return await _fill_and_attach(connection, table, missing, now=now, everywhere=everywhere)
        except TransactionConflict:
            everywhere = True
            raise

    moved = await in_a_step(connection, build_fill_and_attach, patience_seconds=patience_seconds)
    if moved and table.default_partition is not None:
        # The next partition is attached after looking through the default: not through what has left it.
        async with autocommitting(connection):
            await execute_ddl(
                connection, "VACUUM (SKIP_LOCKED, ANALYZE) %(default)s", default=table.default_partition
            )
            await execute_ddl(connection, "ANALYZE (SKIP_LOCKED) %(partition)s", partition=missing.name)
    return moved


async def _build(connection: AsyncConnection, table: PartitionedTable, missing: Missing) -> None:
    if await is_there(connection, missing.name):
        raise AlreadyExists("a partition is to be called like this", table=missing.name)
    time = column(table.time_column, DateTime(timezone=True))
    within = time.is_not(None) & (time >= missing.period.start) & (time < missing.period.end)
    names = {"partition": missing.name, "parent": table.name}
    await execute_ddl(connection, _BUILD, {"check": as_sql(within)}, bounds=_BOUNDS, **names)
    for trigger in triggers_of_partition(Base.metadata.tables[table.name], missing.name):
        await execute_ddl(
            connection,
            _CREATE_TRIGGER,
            {"events": trigger.events},
            name=trigger.name,
            partition=missing.name,
            function=trigger.function,
        )


async def _fill_and_attach(
    connection: AsyncConnection, table: PartitionedTable, missing: Missing, *, now: datetime, everywhere: bool
) -> int:
    move = None
    if table.default_partition is not None:
        move = Move(connection, table, missing.name, missing.period, now)
        await move.unlocked()
    await lock_out(connection, table)
    if move is not None:
        await move.locked(everywhere=everywhere)
    bounds = {"lower": as_sql(literal(missing.period.start)), "upper": as_sql(literal(missing.period.end))}
    try:
        await execute_ddl(connection, _ATTACH, bounds, parent=table.name, partition=missing.name)
    except ConstraintViolated as error:
        raise TransactionConflict("rows came in between those that were moved", table=table.name) from error
    await execute_ddl(connection, _DROP_BOUNDS, partition=missing.name, bounds=_BOUNDS)
    return 0 if move is None else move.rows
