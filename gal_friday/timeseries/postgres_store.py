"""PostgresTimeSeriesStore: time series beside everything else, where there is no InfluxDB."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import delete

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Candle, MarketTrade
from gal_friday.dal.retry_policy import Work
from gal_friday.dal.series_rows import rows_of
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import AppendOnlyViolated, InvalidValue, PointsRefused
from gal_friday.timeseries.instants import Instant, moment, span
from gal_friday.timeseries.line_protocol import line
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.points import Measured, Point, as_point
from gal_friday.timeseries.points_in_tables import candle_of, ohlcv_of_bar, trade_of
from gal_friday.timeseries.postgres_reading import candles_between, latest_point, points_between
from gal_friday.timeseries.shapes import Shape
from gal_friday.timeseries.store import TimeSeriesStore

T = TypeVar("T")

_TYPE_NAMES: Mapping[type, str] = {float: "float", int: "integer", bool: "boolean", str: "string"}


class PostgresTimeSeriesStore(TimeSeriesStore):
    """Candles in `market_data`, ticks in `market_trades`, both exact; every other point in `series_points`.

    A call is one transaction. Its candles are stored as `MarketDataRepository.store_candles` does, each as a
    whole; a tick that is there stays as it is.

    The type of a field is that in the 1,000 newest points of its measurement, read when this store first
    writes to it, and in what it has written since. Two processes that begin a field at the same time with two
    types are not noticed.

    Removing points takes the rights of the tables' owner: the trader's login gets PermissionDenied. Ticks are
    never removed one by one: AppendOnlyViolated.
    """

    def __init__(self, pool: DatabaseConnectionPool) -> None:
        """The pool stays the caller's: closing the store leaves it open."""
        self._pool = pool
        self._types: dict[str, dict[str, str]] = {}

    async def write_points(self, points: Iterable[Measured]) -> None:
        points = list(points)

        async def store(uow: UnitOfWork) -> _Sorted:
            known = await self._known_types(uow, points)
            sorted_out = _Sorted(points, known)
            if sorted_out.candles:
                await uow.market_data.store_candles(sorted_out.candles)
            if sorted_out.trades:
                await uow.market_trades.upsert_many(sorted_out.trades)
            if sorted_out.others:
                await uow.series_points.merge(rows_of(sorted_out.others))
            return sorted_out

        sorted_out = await self._pool.retrying(store)
        self._types.update(sorted_out.types)
        if refused := sorted_out.refused:
            first_line, reason = refused[0]
            raise PointsRefused(refused=refused, points=len(refused), line=first_line[:500], reason=reason)

    async def query_ohlcv(
        self, exchange: str, pair: str, timeframe: str, start: Instant, end: Instant
    ) -> Sequence[Ohlcv]:
        """Candles that begin in the span, oldest first; see TimeSeriesStore.

        Where none of *timeframe* is stored, or it still changes, it is made of shorter ones: see
        `MarketDataRepository.query_ohlcv`, which tells of gaps as well. One that is not whole is not final.
        """
        # Candles begin at whole microseconds.
        first, beyond = (moment(at + 999) for at in span(start, end))
        found = await self._read(
            lambda uow: uow.market_data.query_ohlcv(exchange, pair, timeframe, first, beyond)
        )
        return [ohlcv_of_bar(found, bar) for bar in found.bars]

    async def query_data(
        self,
        measurement: str,
        *,
        tags: Mapping[str, str] | None = None,
        start: Instant,
        end: Instant,
        fields: Collection[str] | None = None,
    ) -> Sequence[Point]:
        first, beyond = span(start, end)
        return await self._read(
            lambda uow: points_between(
                uow, measurement, tags or {}, start_ns=first, end_ns=beyond, fields=fields
            )
        )

    async def latest(self, measurement: str, *, tags: Mapping[str, str] | None = None) -> Point | None:
        return await self._read(lambda uow: latest_point(uow, measurement, tags or {}))

    async def delete_range(
        self, measurement: str, start: Instant, end: Instant, *, tags: Mapping[str, str] | None = None
    ) -> None:
        first, beyond = span(start, end)
        if measurement == Tick.measurement:
            raise AppendOnlyViolated("ticks go with their partition", measurement=measurement)

        async def remove(uow: UnitOfWork) -> None:
            if measurement == Ohlcv.measurement:
                chosen = delete(Candle).where(*candles_between(tags or {}, first, beyond))
                await uow.session.execute(chosen, execution_options={"synchronize_session": False})
            else:
                await uow.series_points.delete_points(measurement, tags or {}, start_ns=first, end_ns=beyond)

        await self._pool.retrying(remove)
        self._types.pop(measurement, None)

    async def close(self) -> None:
        self._types.clear()

    async def _read(self, ask: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        async def attempt() -> T:
            async with self._pool.transaction(read_only=True) as uow:
                return await ask(uow)

        return await self._pool.retry(attempt, work=Work.READ)

    async def _known_types(self, uow: UnitOfWork, points: Iterable[Measured]) -> dict[str, dict[str, str]]:
        """The types of the fields of every measurement among *points*, for the caller to change."""
        measurements = {point.measurement for point in points} - {Ohlcv.measurement, Tick.measurement}
        return {
            measurement: dict(self._types[measurement])
            if measurement in self._types
            else await uow.series_points.field_types(measurement)
            for measurement in sorted(measurements)
        }


class _Sorted:
    """Points by where they go; those that can be stored nowhere, as lines, with the reason."""

    def __init__(self, points: Iterable[Measured], types: dict[str, dict[str, str]]) -> None:
        self.types = types
        self.candles: list[Candle] = []
        self.trades: list[MarketTrade] = []
        self.others: list[Point] = []
        self.refused: list[tuple[str, str]] = []
        fitting: set[Shape] = set()
        for measured in points:
            try:
                if measured.measurement == Ohlcv.measurement:
                    self.candles.append(candle_of(measured))
                elif measured.measurement == Tick.measurement:
                    self.trades.append(trade_of(measured))
                else:
                    point = as_point(measured)
                    if point.shape not in fitting:
                        _check_types(point, types[point.measurement])
                        fitting.add(point.shape)
                    self.others.append(point)
            except InvalidValue as error:
                self.refused.append((line(measured), str(error)))


def _check_types(point: Point, known: dict[str, str]) -> None:
    """Learn the types of fields that are new. Raises InvalidValue where one is known with another type."""
    types = {name: _TYPE_NAMES[kind] for name, kind in point.shape.types.items()}
    for name, kind in types.items():
        if (stored := known.get(name, kind)) != kind:
            raise InvalidValue(
                "a field keeps the type of its first value",
                measurement=point.measurement,
                field=name,
                stored=stored,
                given=kind,
            )
    known.update(types)
