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
    false,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.models import Base
from gal_friday.upkeep.catalog import PartitionedTable
from gal_friday.upkeep.policies import Interval, Period
from gal_friday.upkeep.steps import give_way

#: Blocks of 8 kB whose rows are moved before it is asked whether someone waits for one of them.
BLOCKS_AT_ONCE = 64
#: Rows this young may still change, and unfinished candles of any age: they are moved last, when nobody can.
STILL_CHANGING = timedelta(minutes=1)

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
        self._changing = self._still_changing(of, now)
        self._first_left = 0

    async def unlocked(self) -> None:
        """Take the rows at rest. Raises LockTimeout as soon as someone waits for one of them."""
        await self._connection.execute(_MAY_MOVE, {"name": self._source.name})
        block, first_changing = 0, None
        while block < await blocks_of(self._connection, self._source.name):
            if await self._take_from(block) and first_changing is None:
                first_changing = block
            last, block = block, block + BLOCKS_AT_ONCE
        if block:
            # What comes in goes to the end. The time this takes is the time in which more comes in.
            await self._take_from(last)
            self._first_left = last if first_changing is None else first_changing

    async def locked(self, *, everywhere: bool) -> None:
        """Take what is left where rows were left or came in; *everywhere*, if that was not enough before."""
        binds = {"first": (0 if everywhere else self._first_left, 0)}
        await self._take(and_(_FROM_BLOCK, self._between(self._period.start, self._period.end)), binds)

    async def _take_from(self, block: int) -> bool:
        """Take what is at rest in the blocks from *block* on, and tell whether rows are left there."""
        binds = {"first": (block, 0), "beyond": (block + BLOCKS_AT_ONCE, 0)}
        within = and_(_WITHIN_BLOCKS, self._between(self._period.start, self._period.end))
        await self._take(and_(within, not_(self._changing)), binds)
        await give_way(self._connection)
        query = select(literal(1, BigInteger)).select_from(self._source).where(within, self._changing)
        return await self._connection.scalar(query.limit(1), binds) is not None

    async def _take(self, which: ColumnElement[bool], binds: dict[str, tuple[int, int]]) -> None:
        names = [each.name for each in self._source.columns]
        moved = delete(self._source).where(which).returning(*self._source.columns).cte("moved")
        result = await self._connection.execute(insert(self._target).from_select(names, select(moved)), binds)
        self.rows += result.rowcount

    def _still_changing(self, of: PartitionedTable, now: datetime) -> ColumnElement[bool]:
        if Base.metadata.tables[of.name].info["append_only"]:
            return false()
        young = self._time >= now - STILL_CHANGING
        return or_(young, not_(column("is_final"))) if "is_final" in of.columns else young

    def _between(self, start: datetime, end: datetime) -> ColumnElement[bool]:
        return and_(self._time >= start, self._time < end)


def _table(name: str, like: PartitionedTable) -> TableClause:
    return table(name, *(column(each) for each in like.columns))
