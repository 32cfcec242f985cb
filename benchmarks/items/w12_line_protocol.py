"""W12: candles, ticks and metrics become line protocol, and go to a server.

The server is another process that takes whatever it is sent: what is measured is the client.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.client.write.point import Point as UntypedPoint
from influxdb_client.domain.write_precision import WritePrecision
from pydantic import SecretStr

from benchmarks.harness.item import Item, Operation, Variant
from benchmarks.harness.workbench import Workbench
from benchmarks.items.candles import MINUTE
from benchmarks.rows import EXCHANGE, NOON, PAIR
from benchmarks.time_series_away import a_server
from gal_friday.config import InfluxSettings
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.timeseries.line_protocol import encode
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.metrics import SystemMetrics

ENCODED, MADE, SENT = "encoded", "made, encoded", "made, encoded, sent"
TOKEN: Final = "any"  # noqa: S105 -- the server asks for none
#: As many lines go in one request.
BATCH: Final = 5_000
NS = WritePrecision.NS
#: It has no type hints.
Point: Any = UntypedPoint

#: When, a price, a quantity, a number.
Given = tuple[datetime, Decimal, Decimal, int]
Making = Callable[[Given], Any]


def candle(given: Given) -> Ohlcv:
    at, price, quantity, number = given
    return Ohlcv(EXCHANGE, PAIR, "1m", at, price, price, price, price, quantity, price, number)


def tick(given: Given) -> Tick:
    at, price, quantity, number = given
    return Tick(EXCHANGE, PAIR, at, str(number), price, quantity, "BUY")


def metrics(given: Given) -> SystemMetrics:
    at, price, quantity, number = given
    return SystemMetrics(
        "host-1", at, cpu_usage_pct=quantity, api_call_latency_ms=price, event_queue_depth=number
    )


def candle_point(given: Given) -> Any:
    at, price, quantity, number = given
    return (
        Point("market_data_ohlcv")
        .tag("exchange", EXCHANGE)
        .tag("trading_pair", PAIR)
        .tag("interval", "1m")
        .field("open", float(price))
        .field("high", float(price))
        .field("low", float(price))
        .field("close", float(price))
        .field("volume", float(quantity))
        .field("is_final", value=True)
        .field("vwap", float(price))
        .field("trades_count", number)
        .time(at, NS)
    )


def tick_point(given: Given) -> Any:
    at, price, quantity, number = given
    return (
        Point("ticks")
        .tag("exchange", EXCHANGE)
        .tag("trading_pair", PAIR)
        .tag("side", "BUY")
        .field("price", float(price))
        .field("quantity", float(quantity))
        .field("trade_id", str(number))
        .time(at, NS)
    )


def metrics_point(given: Given) -> Any:
    at, price, quantity, number = given
    return (
        Point("system_metrics")
        .tag("host_id", "host-1")
        .field("cpu_usage_pct", float(quantity))
        .field("api_call_latency_ms", float(price))
        .field("event_queue_depth", number)
        .time(at, NS)
    )


def made(given: Sequence[Given], kinds: Sequence[Making]) -> list[Any]:
    """A point of each kind in turn."""
    return [kinds[number % len(kinds)](each) for number, each in enumerate(given)]


OURS: Final[Sequence[Making]] = (candle, tick, metrics)
THEIRS: Final[Sequence[Making]] = (candle_point, tick_point, metrics_point)


async def prepare(bench: Workbench) -> Sequence[Sequence[Given]]:
    cent = Decimal("0.01")
    numbers = range(bench.size)
    return [[(NOON + n * MINUTE, 50_000 + n % 1_000 * cent, 1 + n % 90 * cent, n) for n in numbers]]


ITEM = Item(
    key="W12",
    title="candles, ticks and metrics as line protocol",
    unit="points/s",
    prepare=prepare,
    size=30_000,
    quick_size=3_000,
    floor="influxdb-client",
    variants=(Variant(ENCODED), Variant(MADE), Variant(SENT)),
)


@ITEM.peer("influxdb-client")
@asynccontextmanager
async def points(bench: Workbench) -> AsyncIterator[Operation[Sequence[Given]]]:
    known = made((await prepare(bench))[0], THEIRS)

    async def encoded(given: Sequence[Given]) -> None:
        assert "\n".join(point.to_line_protocol() for point in known[: len(given)]).encode()

    async def made_and_encoded(given: Sequence[Given]) -> None:
        assert "\n".join(point.to_line_protocol() for point in made(given, THEIRS)).encode()

    with a_server("healthy") as url:
        async with InfluxDBClientAsync(url, token=TOKEN, org="any", enable_gzip=True) as client:
            writing: Any = client.write_api()

            async def sent(given: Sequence[Given]) -> None:
                for begin in range(0, len(given), BATCH):
                    batch = made(given[begin : begin + BATCH], THEIRS)
                    assert await writing.write("any", record=batch, write_precision=NS)

            yield {ENCODED: encoded, MADE: made_and_encoded}.get(bench.variant, sent)


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[Sequence[Given]]]:
    known = made((await prepare(bench))[0], OURS)

    async def encoded(given: Sequence[Given]) -> None:
        assert encode(known[: len(given)])

    async def made_and_encoded(given: Sequence[Given]) -> None:
        assert encode(made(given, OURS))

    with a_server("healthy") as url:
        async with TimeSeriesDB(InfluxSettings(url=url, token=SecretStr(TOKEN), org="any")) as store:

            async def sent(given: Sequence[Given]) -> None:
                await store.write_points(made(given, OURS))

            yield {ENCODED: encoded, MADE: made_and_encoded}.get(bench.variant, sent)
