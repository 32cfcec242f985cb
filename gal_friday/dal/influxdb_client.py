"""TimeSeriesDB: time series in InfluxDB 2.x."""

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

import aiohttp
from influxdb_client.client.flux_csv_parser import (
    FluxCsvParser,
    FluxCsvParserException,
    FluxQueryException,
    FluxSerializationMode,
)
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException
from influxdb_client.service.query_service import QueryService
from influxdb_client.service.write_service import WriteService

from gal_friday.config import InfluxSettings
from gal_friday.dal.influx.answers import LinesRefused, message_of, understood
from gal_friday.dal.influx.flux import LAST, POINTS
from gal_friday.dal.influx.predicates import deleting
from gal_friday.dal.influx.syntax_tree import Tree, matching, parameters
from gal_friday.dal.retry_policy import Work
from gal_friday.dal.retrying import retry
from gal_friday.errors import (
    ConfigurationError,
    InvalidValue,
    PointsRefused,
    TimeSeriesError,
    TimeSeriesUnavailable,
)
from gal_friday.timeseries.bars import candles_between, ceiling
from gal_friday.timeseries.instants import Instant, moment, span
from gal_friday.timeseries.line_parser import split
from gal_friday.timeseries.line_protocol import encode
from gal_friday.timeseries.longer_candles import longer_candles
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.metrics import PortfolioMetrics, SystemMetrics
from gal_friday.timeseries.order_book import OrderBook
from gal_friday.timeseries.points import FieldValue, Measured, Point
from gal_friday.timeseries.timeframes import parse

T = TypeVar("T")

#: What InfluxDB can keep, the last nanosecond excluded.
_EARLIEST, _LATEST = -(2**63 - 2), 2**63 - 2
#: Lines of one request of `write_points`.
_LINES_AT_ONCE = 5_000
_OURS = frozenset({"result", "table", "_time", "_value", "_field", "_measurement"})

log = logging.getLogger(__name__)


class TimeSeriesDB:
    """A TimeSeriesStore in a bucket of InfluxDB 2.x. To be made in a running event loop.

    Prices are floats there: what is read back is the shortest decimal that is the same float. Every method
    raises TimeSeriesUnavailable where the server stays away or busy for as long as an answer is waited for,
    TokenRefused, BucketMissing, and TimeSeriesError for any other answer.
    """

    def __init__(self, settings: InfluxSettings) -> None:
        if settings.url is None or settings.token is None or settings.org is None:
            raise ConfigurationError("no InfluxDB is configured", variable="GAL_FRIDAY_INFLUXDB__URL")
        self._settings = settings
        self._url = settings.url
        self._org = settings.org
        self._client: Any = InfluxDBClientAsync(
            settings.url,
            token=settings.token.get_secret_value(),
            org=settings.org,
            timeout=aiohttp.ClientTimeout(total=None),  # each request has its own
        )
        # The client's services are not annotated.
        self._writing: Any = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]
        self._asking: Any = QueryService(self._client.api_client)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def write_points(self, points: Iterable[Measured]) -> None:
        """Store *points*; see TimeSeriesStore."""
        given = list(points)
        for begin in range(0, len(given), _LINES_AT_ONCE):
            lines = encode(given[begin : begin + _LINES_AT_ONCE])
            await self.write_lines(await asyncio.to_thread(gzip.compress, lines, 1))

    async def write_market_data(self, *data: Ohlcv | Tick | OrderBook) -> None:
        """Store candles, trades and order books; see TimeSeriesStore."""
        await self.write_points(data)

    async def write_metrics(self, *metrics: PortfolioMetrics | SystemMetrics) -> None:
        """Store metrics of the portfolio or of the bot; see TimeSeriesStore."""
        await self.write_points(metrics)

    async def write_lines(self, content: bytes) -> None:
        """Store the points of gzip'd line protocol with nanoseconds.

        Raises PointsRefused with every line the server takes never, and why: the others are stored then; and
        InvalidValue where *content* is not whole.
        """
        try:
            await self._send(content)
        except TimeSeriesUnavailable:
            # What the server says of a batch that is not whole, too.
            await asyncio.to_thread(_lines_of, content)
            raise
        except LinesRefused as answer:
            lines = await asyncio.to_thread(_lines_of, content)
            refused = await self._sift(lines, answer)
            in_order = [(line, refused[line]) for line in lines if line in refused]
            if not in_order:  # it was too much at once
                return
            line, reason = in_order[0]
            raise PointsRefused(
                refused=[(each.decode(errors="replace"), why) for each, why in in_order],
                points=len(in_order),
                stored=len(lines) - len(in_order),
                number=lines.index(line) + 1,
                line=line[:200].decode(errors="replace"),
                reason=reason,
            ) from None

    async def query_ohlcv(
        self, exchange: str, pair: str, timeframe: str, start: Instant, end: Instant
    ) -> Sequence[Ohlcv]:
        """Candles that begin in the span, oldest first; see TimeSeriesStore.

        What `bucket` no longer has is taken from `long_term_bucket`. Where none of *timeframe* is stored, or
        it still changes, it is made of shorter ones; one that is not whole is not final.
        """
        asked = parse(timeframe)
        begin, until = (ceiling(asked, moment(at + 999)) for at in span(start, end))
        if begin == until:
            return []
        series = {"exchange": exchange, "trading_pair": pair}
        found = await self._candles({**series, "interval": timeframe}, begin, until)
        if len(found) < candles_between(asked, begin, until) or not all(each.is_final for each in found):
            found = await self._candles(series, begin, until)
        return longer_candles(asked, found, begin, until)

    async def query_data(
        self,
        measurement: str,
        *,
        tags: Mapping[str, str] | None = None,
        start: Instant,
        end: Instant,
        fields: Collection[str] | None = None,
    ) -> Sequence[Point]:
        """Points whose tags contain *tags*, oldest first; see TimeSeriesStore."""
        return await self._points(
            self._settings.bucket, measurement, tags or {}, span(start, end), fields=fields
        )

    async def latest(self, measurement: str, *, tags: Mapping[str, str] | None = None) -> Point | None:
        """The newest point whose tags contain *tags*, or None; see TimeSeriesStore."""
        ever = (_EARLIEST, _LATEST)
        found = await self._points(self._settings.bucket, measurement, tags or {}, ever, flux=LAST)
        return found[-1] if found else None

    async def delete_range(
        self, measurement: str, start: Instant, end: Instant, *, tags: Mapping[str, str] | None = None
    ) -> None:
        """Remove points whose tags contain *tags*; see TimeSeriesStore."""
        first, beyond = span(start, end)
        predicate = deleting(measurement, tags or {})
        api = self._client.delete_api()
        await self._asked(
            lambda: api.delete(_rfc3339(first), _rfc3339(beyond - 1), predicate, self._settings.bucket),
        )

    async def ensure_bucket(self) -> None:
        """Make the buckets and, with a `long_term_bucket`, the tasks that keep candles there, where missing.

        What is there already is left as it is, but for a task's text. It takes a token that may do that.
        """
        from gal_friday.dal.influx.upkeep import BucketUpkeep  # noqa: PLC0415 -- seldom needed

        await BucketUpkeep(self._settings, self._call).ensure()

    async def close(self) -> None:
        """Give back what the store holds; it cannot be used any more."""
        await self._client.close()

    async def _candles(self, tags: Mapping[str, str], begin: datetime, until: datetime) -> Sequence[Ohlcv]:
        """Candles of any timeframe, each once."""
        found: dict[tuple[str, int], Ohlcv] = {}
        for bucket in (self._settings.long_term_bucket, self._settings.bucket):
            if bucket is not None:
                points = await self._points(bucket, Ohlcv.measurement, tags, span(begin, until))
                candles = map(Ohlcv.from_point, points)
                found |= {(candle.interval, candle.timestamp_ns): candle for candle in candles}
        return list(found.values())

    async def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> Any:
        """What the server says to a request of its API."""
        api = self._client.api_client
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return await self._asked(
            lambda: api.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                response_type="object",
                _return_http_data_only=True,
            )
        )

    async def _send(self, content: bytes) -> None:
        await self._asked(
            lambda: self._writing.post_write_async(
                self._org,
                self._settings.bucket,
                content,
                precision="ns",
                content_encoding="gzip",
                async_req=False,
                _return_http_data_only=True,
            ),
            is_write=True,
        )

    async def _sift(self, lines: Sequence[bytes], answer: LinesRefused) -> dict[bytes, str]:
        """Those of *lines*, which the server refused with *answer*, that it takes never, with its reasons."""
        if answer.is_about_all(lines):
            return dict.fromkeys(lines, answer.message)
        refused = answer.named(lines)
        rest = [line for line in lines if line not in refused]
        suspects = set(answer.suspects(rest))
        parts = [[line for line in rest if (line in suspects) is suspected] for suspected in (False, True)]
        if not (refused or all(parts)):
            half = len(rest) // 2
            parts = [rest[:half], rest[half:]]
        for part in filter(None, parts):
            try:
                await self._send(await asyncio.to_thread(gzip.compress, b"\n".join(part), 1))
            except LinesRefused as again:
                refused |= await self._sift(part, again)
        return refused

    async def _points(
        self,
        bucket: str,
        measurement: str,
        tags: Mapping[str, str],
        within: tuple[int, int],
        *,
        fields: Collection[str] | None = None,
        flux: str = POINTS,
    ) -> Sequence[Point]:
        start, stop = within
        given = parameters(
            bucketName=bucket, startNs=start, stopNs=stop, matches=matching(measurement, tags, fields)
        )
        rows = await self._asked(
            lambda: self._rows(flux, given), timeout_seconds=self._settings.query_timeout_seconds
        )
        return _assembled(measurement, rows)

    async def _rows(self, flux: str, given: Tree) -> Sequence[Mapping[str, Any]]:
        dialect = {"header": True, "annotations": ["datatype", "group", "default"]}
        response = await self._asking.post_query_async(
            org=self._org,
            query={"type": "flux", "query": flux, "extern": given, "dialect": dialect},
            async_req=False,
            _preload_content=False,
            _return_http_data_only=True,
        )
        if response.status != 200:
            message = message_of(await response.read())
            raise understood(response.status, message, response.headers.get("Retry-After"), url=self._url)
        async with FluxCsvParser(response, FluxSerializationMode.stream) as parser:
            rows: Any = parser
            return [record.values async for record in rows.generator_async()]

    async def _asked(
        self, ask: Callable[[], Awaitable[T]], *, is_write: bool = False, timeout_seconds: float | None = None
    ) -> T:
        """What *ask* gives, tried again while the server is away or busy; a repetition changes nothing."""
        seconds = timeout_seconds or self._settings.write_timeout_seconds

        async def attempt() -> T:
            try:
                async with asyncio.timeout(seconds):
                    return await ask()
            except ApiException as error:
                raise understood(
                    error.status or 0,
                    str(error.message or error.reason),
                    error.retry_after,
                    url=self._url,
                    is_write=is_write,
                ) from None
            except (FluxQueryException, FluxCsvParserException) as error:
                raise TimeSeriesError(str(error.args[0] if error.args else error), url=self._url) from None
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                raise TimeSeriesUnavailable(reason, url=self._url) from None

        return await retry(attempt, work=Work.STATEMENT, timeout_seconds=seconds)


def _assembled(measurement: str, rows: Iterable[Mapping[str, Any]]) -> Sequence[Point]:
    """Points of rows that have a field each, oldest first."""
    found: dict[tuple[int, tuple[tuple[str, str], ...]], dict[str, FieldValue]] = {}
    for row in rows:
        tags = tuple(sorted((key, value) for key, value in row.items() if key not in _OURS and value))
        found.setdefault((row["_time"], tags), {})[row["_field"]] = _value(row["_value"])
    return [
        Point(measurement, dict(tags), fields, at) for (at, tags), fields in sorted(found.items(), key=_key)
    ]


def _key(
    item: tuple[tuple[int, tuple[tuple[str, str], ...]], Any],
) -> tuple[int, tuple[tuple[str, str], ...]]:
    return item[0]


def _value(value: FieldValue | None) -> FieldValue:
    if value is None:  # CSV does not tell an empty text from none, and a row without a value there is not
        return ""
    # The server's CSV has each newline as two characters, in a text too.
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def _lines_of(content: bytes) -> Sequence[bytes]:
    """Raises InvalidValue where *content* is no gzip'd text."""
    try:
        return split(gzip.decompress(content))
    except (OSError, EOFError, ValueError) as error:
        raise InvalidValue(f"not gzip'd line protocol: {error}") from None


def _rfc3339(ns: int) -> str:
    return f"{moment(ns):%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}Z"
