"""What one run of upkeep does to each table, and the report of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.config import UpkeepSettings
from gal_friday.dal.models.privileges import CANDLE_HOURS
from gal_friday.errors import AlreadyExists, LockTimeout, TransactionConflict
from gal_friday.upkeep.catalog import Partition, PartitionedTable, look_at
from gal_friday.upkeep.downsampling import downsample
from gal_friday.upkeep.hypertables import compress, refresh_hours, to_compress, written_to
from gal_friday.upkeep.moving import rows_waiting
from gal_friday.upkeep.partitions import make_partition, missing_partitions
from gal_friday.upkeep.policies import Policy
from gal_friday.upkeep.retention import (
    loosen_detached,
    minutes_past_retention,
    past_retention,
    remove_minutes,
    retire,
)

log = logging.getLogger(__name__)

#: The table whose minutes leave for hours and days.
CANDLES = "market_data"


@dataclass(slots=True)
class UpkeepReport:
    """What a run did; of a dry run, what it would begin with."""

    #: Partitions made, each with how many rows it took from the default.
    made: dict[str, int] = field(default_factory=dict)
    #: Partitions that left.
    dropped: list[str] = field(default_factory=list)
    detached: list[str] = field(default_factory=list)
    #: Hours and days stored because their minutes leave; minutes that left, by partition.
    downsampled: int = 0
    minutes_removed: dict[str, int] = field(default_factory=dict)
    #: Chunks of hypertables that were compressed; those changed since are compressed again and not named.
    compressed: list[str] = field(default_factory=list)
    #: What could not be done and why; the next run tries it again.
    left: list[str] = field(default_factory=list)


class Run:
    """A run on *connection*, as of *now*."""

    def __init__(
        self,
        connection: AsyncConnection,
        settings: UpkeepSettings,
        now: datetime,
        keep_detached: bool,
        patience_seconds: float,
    ) -> None:
        self.report = UpkeepReport()
        self._connection = connection
        self._minutes_days = settings.minutes_retention_days
        self._now = now
        self._keep_detached = keep_detached
        self._patience_seconds = patience_seconds

    async def plan(self, name: str, policy: Policy) -> None:
        """Report what `do` would begin with; changes nothing."""
        table = await look_at(self._connection, name)
        if table is None:
            return
        for missing in await missing_partitions(self._connection, table, policy, now=self._now):
            self.report.made[missing.name] = await rows_waiting(self._connection, table, missing.period)
        self._leaving.extend(each.name for each in past_retention(table, policy, now=self._now))
        for partition, count in await self._minutes(table):
            self.report.minutes_removed[partition.name] = count
        self.report.compressed.extend(each.name for each in to_compress(table, now=self._now))

    async def do(self, name: str, policy: Policy) -> None:
        """Do all there is to do about the table *name*, each step apart from the others."""
        table = await look_at(self._connection, name)
        if table is None:
            return
        patience = self._patience_seconds
        if table.is_hypertable and name == CANDLES:
            # Before anything they are made of leaves.
            with self._left_if_in_the_way(CANDLE_HOURS):
                await refresh_hours(
                    self._connection,
                    table,
                    minutes_days=self._minutes_days,
                    now=self._now,
                    patience_seconds=patience,
                )
        for missing in await missing_partitions(self._connection, table, policy, now=self._now):
            with self._left_if_in_the_way(missing.name):
                self.report.made[missing.name] = await make_partition(
                    self._connection, table, missing, now=self._now, patience_seconds=patience
                )
                log.info("partition made", extra={"partition": missing.name})
        table = await look_at(self._connection, name)
        assert table is not None
        for partition in past_retention(table, policy, now=self._now):
            with self._left_if_in_the_way(partition.name):
                await retire(
                    self._connection,
                    table,
                    partition,
                    keep_detached=self._keep_detached,
                    patience_seconds=patience,
                )
                self._leaving.append(partition.name)
                log.info("partition retired", extra={"partition": partition.name})
        table = await look_at(self._connection, name)
        assert table is not None
        for partition, _ in await self._minutes(table):
            with self._left_if_in_the_way(partition.name):
                assert partition.lower is not None
                assert partition.upper is not None
                self.report.downsampled += await downsample(
                    self._connection, partition.lower, partition.upper, patience_seconds=patience
                )
                self.report.minutes_removed[partition.name] = await remove_minutes(
                    self._connection, table, partition, patience_seconds=patience
                )
        if table.is_hypertable:
            await self._compress(table)

    async def finish(self) -> None:
        """What is about no one table."""
        with self._left_if_in_the_way("foreign keys of detached partitions"):
            await loosen_detached(self._connection, patience_seconds=self._patience_seconds)

    async def _compress(self, table: PartitionedTable) -> None:
        new = {each.name for each in to_compress(table, now=self._now)}
        for chunk in await written_to(self._connection, table, now=self._now):
            with self._left_if_in_the_way(chunk.name):
                await compress(self._connection, chunk, patience_seconds=self._patience_seconds)
                if chunk.name in new:
                    self.report.compressed.append(chunk.name)
                    log.info("chunk compressed", extra={"chunk": chunk.name})

    @property
    def _leaving(self) -> list[str]:
        return self.report.detached if self._keep_detached else self.report.dropped

    async def _minutes(self, table: PartitionedTable) -> list[tuple[Partition, int]]:
        if table.name != CANDLES or self._minutes_days is None:
            return []
        return await minutes_past_retention(
            self._connection, table, keep_days=self._minutes_days, now=self._now
        )

    @contextmanager
    def _left_if_in_the_way(self, name: str) -> Iterator[None]:
        try:
            yield
        except (AlreadyExists, LockTimeout, TransactionConflict) as error:
            log.warning("left for the next run", extra={"partition": name, "error": str(error)})
            self.report.left.append(f"{name}: {error}")
