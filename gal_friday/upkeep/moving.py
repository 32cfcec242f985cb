"""Rows that wait in the default partition, taken into a partition of their own."""

from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    TableClause,
    and_,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.upkeep.catalog import PartitionedTable
from gal_friday.upkeep.policies import Interval, Period
from gal_friday.upkeep.steps import give_way

#: Blocks of 8 kB whose rows are moved before it is asked whether someone waits for one of them.
BLOCKS_AT_ONCE = 500
#: Rows this young may still change; they are moved last, when nobody can be changing them.
STILL_CHANGING = timedelta(hours=1)

# Asked for by refuse_change: rows of an append-only table leave its default partition for one of their own.
_MAY_MOVE = text("SELECT set_config('gal_friday.moved_from', :name, true)")
_BLOCKS = text(
    "SELECT pg_relation_size(to_regclass(quote_ident(:name))) / current_setting('block_size')::int"
)
_WITHIN_BLOCKS = text("ctid >= CAST(:first AS tid) AND ctid < CAST(:beyond AS tid)")
_FROM_BLOCK = text("ctid >= CAST(:first AS tid)")


async def waiting_periods(
    connection: AsyncConnection, of: PartitionedTable, interval: Interval
) -> list[datetime]:
    """Moments of those periods that rows wait for in the default partition, one for each, oldest first."""
    if of.default_partition is None:
        return []
    time = column(of.time_column, DateTime(timezone=True))
    start = func.date_trunc(str(interval), time, "UTC", type_=DateTime(timezone=True))
    found = await connection.scalars(
        select(start).select_from(table(of.default_partition)).where(func.isfinite(time)).distinct()
    )
    return sorted(found)


async def rows_waiting(
    connection: AsyncConnection, of: PartitionedTable, period: Period | None = None
) -> int:
    """How many rows are in the default partition, of *period* or altogether, counted."""
    if of.default_partition is None:
        return 0
    query = select(func.count()).select_from(table(of.default_partition))
    if period is not None:
        time = column(of.time_column, DateTime(timezone=True))
        query = query.where(time >= period.start, time < period.end)
    return await connection.scalar(query) or 0


async def blocks_of(connection: AsyncConnection, name: str) -> int:
    """How many blocks the rows of the table *name* lie in."""
    return int(await connection.scalar(_BLOCKS, {"name": name}) or 0)


class Move:
    """Taking the rows of *period* from the default partition of *of* into *target*, in one transaction.

    `unlocked` takes what is at rest while others go on; `locked` the rest, while nobody can write.
    """

    def __init__(
        self, connection: AsyncConnection, of: PartitionedTable, target: str, period: Period, now: datetime
    ) -> None:
        assert of.default_partition is not None
        self.rows = 0
        self._connection = connection
        self._source = _table(of.default_partition, of)
        self._target = _table(target, of)
        self._time = column(of.time_column, DateTime(timezone=True))
        self._period = period
        self._at_rest_before = min(period.end, max(period.start, now - STILL_CHANGING))
        self._first_left = 0

    async def unlocked(self) -> None:
        """Take the rows at rest. Raises LockTimeout as soon as someone waits for one of them."""
        await self._connection.execute(_MAY_MOVE, {"name": self._source.name})
        blocks = await blocks_of(self._connection, self._source.name)
        at_rest = self._between(self._period.start, self._at_rest_before)
        changing = self._between(self._at_rest_before, self._period.end)
        left = None
        for block in range(0, blocks, BLOCKS_AT_ONCE):
            binds = {"first": (block, 0), "beyond": (block + BLOCKS_AT_ONCE, 0)}
            await self._take(and_(_WITHIN_BLOCKS, at_rest), binds)
            if left is None and await self._any(and_(_WITHIN_BLOCKS, changing), binds):
                left = block
            await give_way(self._connection)
        # What comes in meanwhile goes to the end, where there is no room before it.
        self._first_left = max(blocks - 1, 0) if left is None else left

    async def locked(self, *, everywhere: bool) -> None:
        """Take what is left where rows were left or came in; *everywhere*, if that was not enough before."""
        binds = {"first": (0 if everywhere else self._first_left, 0)}
        await self._take(and_(_FROM_BLOCK, self._between(self._period.start, self._period.end)), binds)

    async def _take(self, which: ColumnElement[bool], binds: dict[str, tuple[int, int]]) -> None:
        names = [each.name for each in self._source.columns]
        moved = delete(self._source).where(which).returning(*self._source.columns).cte("moved")
        result = await self._connection.execute(insert(self._target).from_select(names, select(moved)), binds)
        self.rows += result.rowcount

    async def _any(self, which: ColumnElement[bool], binds: dict[str, tuple[int, int]]) -> bool:
        query = select(literal(1, BigInteger)).select_from(self._source).where(which).limit(1)
        return await self._connection.scalar(query, binds) is not None

    def _between(self, start: datetime, end: datetime) -> ColumnElement[bool]:
        return and_(self._time >= start, self._time < end)


def _table(name: str, like: PartitionedTable) -> TableClause:
    return table(name, *(column(each) for each in like.columns))
