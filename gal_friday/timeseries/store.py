"""What every store of time series can do; which one it is, settings decide."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from gal_friday.timeseries.instants import Instant
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.metrics import PortfolioMetrics, SystemMetrics
from gal_friday.timeseries.order_book import OrderBook
from gal_friday.timeseries.points import Measured, Point


class TimeSeriesStore(Protocol):
    """Where points go, and are asked for again.

    A point is known by its measurement, tags and time: one that is written again has the fields of both, and
    the later value where both have it. So a repetition changes nothing, and what was not acknowledged may be
    written again. A field keeps the type of its first value.

    Times are aware datetimes or nanoseconds since 1970; from *start* up to, not including, *end*. Every
    method raises InvalidValue for what cannot be stored or asked, and what its server has cause for.
    """

    async def write_points(self, points: Iterable[Measured]) -> None:
        """Store *points*; once it returns they are stored.

        Raises PointsRefused where some of them cannot be stored, like one in which a field changes its type:
        the others are stored then.
        """
        ...

    async def write_market_data(self, *data: Ohlcv | Tick | OrderBook) -> None:
        """Store candles, trades and order books. Raises as `write_points` does."""
        await self.write_points(data)

    async def write_metrics(self, *metrics: PortfolioMetrics | SystemMetrics) -> None:
        """Store metrics of the portfolio or of the bot. Raises as `write_points` does."""
        await self.write_points(metrics)

    async def query_ohlcv(
        self, exchange: str, pair: str, timeframe: str, start: Instant, end: Instant
    ) -> Sequence[Ohlcv]:
        """Candles that begin in the span, oldest first."""
        ...

    async def query_data(
        self,
        measurement: str,
        *,
        tags: Mapping[str, str] | None = None,
        start: Instant,
        end: Instant,
        fields: Collection[str] | None = None,
    ) -> Sequence[Point]:
        """Points whose tags contain *tags*, oldest first; with *fields*, those that have any of them, without
        the others.
        """
        ...

    async def latest(self, measurement: str, *, tags: Mapping[str, str] | None = None) -> Point | None:
        """The newest point whose tags contain *tags*, or None."""
        ...

    async def delete_range(
        self, measurement: str, start: Instant, end: Instant, *, tags: Mapping[str, str] | None = None
    ) -> None:
        """Remove points whose tags contain *tags*."""
        ...

    async def close(self) -> None:
        """Give back what the store holds; it cannot be used any more."""
        ...
