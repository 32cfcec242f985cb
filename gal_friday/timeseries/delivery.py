"""Batches into a store: what it refuses is set aside, what stands in its way is raised."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from gal_friday.dal.journal.delivery import is_away
from gal_friday.errors import (
    BucketMissing,
    InvalidValue,
    PointsRefused,
    TimeSeriesError,
    TimeSeriesUnavailable,
    TokenRefused,
)
from gal_friday.timeseries.batches import Batch
from gal_friday.timeseries.line_parser import parse, split
from gal_friday.timeseries.points import Measured, Point
from gal_friday.timeseries.spool import Spool

#: So often a batch is tried before it is to blame for an error that names no point.
TRIES = 5
_HELD_UP = (TimeSeriesUnavailable, TokenRefused, BucketMissing, TimeSeriesError)

log = logging.getLogger(__name__)


class TakesPoints(Protocol):
    """A store, as far as writing goes."""

    async def write_points(self, points: Sequence[Measured]) -> None:
        """Store *points*. Raises PointsRefused where some cannot be: the others are stored then."""
        ...


@runtime_checkable
class TakesLines(Protocol):
    """A store that takes a batch as it is."""

    async def write_lines(self, content: bytes) -> None:
        """Store the points of gzip'd line protocol. Raises as `write_points` does."""
        ...


class BatchDelivery:
    """Takes batches to a store."""

    def __init__(self, store: TakesPoints, spool: Spool) -> None:
        self._store = store
        self._spool = spool
        self._suspect: Batch | None = None
        self._tries = 0

    async def deliver(self, batch: Batch) -> int:
        """Let the store have *batch*; how many of its points were refused for good, and set aside.

        Raises why the store takes nothing now. What names no point, and does not say that the store is away,
        counts as the batch's fault after TRIES.
        """
        try:
            if isinstance(self._store, TakesLines):
                await self._store.write_lines(batch.content)
            else:
                await self._store.write_points(await asyncio.to_thread(_points_of, batch))
        except PointsRefused as error:
            return await self._set_aside([(line.encode(), reason) for line, reason in error.refused])
        except Exception as error:
            if not self._is_to_blame(batch, error):
                raise
            lines = await asyncio.to_thread(_lines_of, batch)
            await self._set_aside([(line, str(error)) for line in lines])
            return batch.points
        return 0

    def _is_to_blame(self, batch: Batch, error: Exception) -> bool:
        if isinstance(error, InvalidValue):
            return True
        if is_held_up(error):
            return False
        self._tries = self._tries + 1 if self._suspect == batch else 1
        self._suspect = batch
        return self._tries >= TRIES

    async def _set_aside(self, refused: Sequence[tuple[bytes, str]]) -> int:
        kept = await self._spool.set_aside(refused)
        line, reason = refused[0]
        log.error(
            "points were refused" if kept else "points were refused, and there is no room to set them aside",
            extra={
                "points": len(refused),
                "first": line[:200].decode(errors="backslashreplace"),
                "reason": reason,
                "file": str(self._spool.refused.path),
            },
        )
        return len(refused)


def is_held_up(error: BaseException) -> bool:
    """Whether *error* says that the store takes nothing now, whatever the points."""
    return isinstance(error, _HELD_UP) or is_away(error)


def _points_of(batch: Batch) -> Sequence[Point]:
    return parse(batch.lines())


def _lines_of(batch: Batch) -> Sequence[bytes]:
    """The lines of *batch*; where they cannot be read, its content."""
    try:
        return split(batch.lines())
    except (InvalidValue, UnicodeDecodeError):
        return [batch.content]
