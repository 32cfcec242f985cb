"""Points of any measurement."""

from collections.abc import Sequence
from datetime import datetime

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import within
from gal_friday.dal.models.timeseries import SeriesPoint


class SeriesPointRepository(BaseRepository[SeriesPoint]):
    model = SeriesPoint

    @one_statement
    async def between(
        self,
        measurement: str,
        start: datetime,
        end: datetime,
        *,
        tags: dict[str, str] | None = None,
        limit: int | None = None,
    ) -> Sequence[SeriesPoint]:
        """Points from *start* up to, not including, *end* whose tags contain *tags*, oldest first."""
        return await self.find_all(
            SeriesPoint.measurement == measurement,
            *within(SeriesPoint.timestamp, start, end),
            SeriesPoint.tags.contains(tags or {}),
            order_by=[SeriesPoint.timestamp, SeriesPoint.nanosecond],
            limit=limit,
        )
