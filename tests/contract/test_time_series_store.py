"""What every store of time series promises."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gal_friday.errors import InvalidValue, PointsRefused
from gal_friday.timeseries.instants import nanoseconds
from gal_friday.timeseries.line_protocol import line, lines
from gal_friday.timeseries.measurements import Features, ModelPrediction, Ohlcv, Tick
from gal_friday.timeseries.metrics import PortfolioMetrics, SystemMetrics
from gal_friday.timeseries.order_book import OrderBook
from gal_friday.timeseries.points import FieldValue, Measured, Point, as_point
from gal_friday.timeseries.store import TimeSeriesStore
from tests.concurrency import at_once

# Today: servers that keep points for some days only take them then.
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
NOON_NS = nanoseconds(NOON)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
PAIR = "BTC/USD"


def a_point(measurement: str, number: int = 0, /, host: str = "a", **fields: FieldValue) -> Point:
    return Point(measurement, {"host": host}, fields or {"value": float(number)}, NOON_NS + number)


async def everything(store: TimeSeriesStore, measurement: str) -> Sequence[Point]:
    return await store.query_data(measurement, start=NOON - HOUR, end=NOON + HOUR)


async def test_a_point_comes_back_as_it_was_written(store: TimeSeriesStore, name: str) -> None:
    tags = {"venue": 'kraken, ="x"', "pair": "BTC/USD", "é": "ü\\n"}
    fields: dict[str, FieldValue] = {
        "whole": 1.0,
        "small": 1e-300,
        "large": 1.5e300,
        "beyond integers": 1e16,
        "count": 2**63 - 1,
        "least": -(2**63),
        "up": True,
        "down": False,
        "text": 'a "quoted" back\\slash, é and\na second line %s {}',
        "empty": "",
    }
    point = Point(name, tags, fields, NOON_NS + 1)
    await store.write_points([point])
    assert await everything(store, name) == [point]


async def test_a_repetition_changes_nothing(store: TimeSeriesStore, name: str) -> None:
    points = [a_point(name, number) for number in range(3)]
    for _ in range(2):
        await store.write_points(points)
    await store.write_points([*points, *points])
    assert await everything(store, name) == points


async def test_a_point_written_again_has_the_fields_of_both_and_the_later_values(
    store: TimeSeriesStore, name: str
) -> None:
    await store.write_points([a_point(name, x=1.0, y=1.0)])
    await store.write_points([a_point(name, y=2.0, z=2.0), a_point(name, z=3.0)])
    assert await everything(store, name) == [a_point(name, x=1.0, y=2.0, z=3.0)]


async def test_points_a_nanosecond_apart_are_two_and_come_oldest_first(
    store: TimeSeriesStore, name: str
) -> None:
    points = [a_point(name, number) for number in (0, 1, 999, 1_000, 1_001)]
    await store.write_points(reversed(points))
    assert await everything(store, name) == points


async def test_a_span_has_its_start_and_not_its_end(store: TimeSeriesStore, name: str) -> None:
    points = [a_point(name, number) for number in range(5)]
    await store.write_points(points)
    assert await store.query_data(name, start=NOON_NS + 1, end=NOON_NS + 4) == points[1:4]
    assert await store.query_data(name, start=NOON_NS + 4, end=NOON_NS + 5) == points[4:]
    assert await store.query_data(name, start=NOON, end=NOON + MINUTE) == points


@pytest.mark.parametrize(
    ("start", "end"),
    [(NOON, NOON), (NOON + MINUTE, NOON), (NOON.replace(tzinfo=None), NOON), (NOON, 2**63)],
)
async def test_a_span_without_room_or_without_time_zone_is_refused(
    store: TimeSeriesStore, name: str, start: datetime, end: datetime
) -> None:
    with pytest.raises(InvalidValue):
        await store.query_data(name, start=start, end=end)
    with pytest.raises(InvalidValue):
        await store.query_ohlcv(name, PAIR, "1m", start, end)
    with pytest.raises(InvalidValue):
        await store.delete_range(name, start, end)


async def test_points_are_asked_for_by_their_tags(store: TimeSeriesStore, name: str) -> None:
    on_a, on_b = a_point(name, 0, "a"), a_point(name, 1, "b")
    core = Point(name, {"host": "a", "core": "0"}, {"value": 2.0}, NOON_NS + 2)
    await store.write_points([on_a, on_b, core])

    async def found(**tags: str) -> Sequence[Point]:
        return await store.query_data(name, tags=tags, start=NOON, end=NOON + MINUTE)

    assert await found() == [on_a, on_b, core]
    assert await found(host="a") == [on_a, core]
    assert await found(host="a", core="0") == [core]
    assert await found(host="c") == []
    assert await found(rack="a") == []
    assert await found(host='a" or true or "') == []


async def test_only_the_fields_asked_for_come_back_and_points_that_have_any(
    store: TimeSeriesStore, name: str
) -> None:
    await store.write_points(
        [a_point(name, 0, x=1.0, y=True), a_point(name, 1, y=False), a_point(name, 2, z="t")]
    )
    found = await store.query_data(name, start=NOON, end=NOON + MINUTE, fields=["x", "y"])
    assert found == [a_point(name, 0, x=1.0, y=True), a_point(name, 1, y=False)]
    assert await store.query_data(name, start=NOON, end=NOON + MINUTE, fields=["w"]) == []


async def test_the_latest_point_is_that_of_the_tags(store: TimeSeriesStore, name: str) -> None:
    assert await store.latest(name) is None
    points = [a_point(name, 0, "a"), a_point(name, 1, "b"), a_point(name, 1_000, "a")]
    await store.write_points(points)
    assert await store.latest(name) == points[2]
    assert await store.latest(name, tags={"host": "b"}) == points[1]
    assert await store.latest(name, tags={"host": "c"}) is None


async def test_a_field_that_changes_its_type_is_refused_and_the_rest_is_stored(
    store: TimeSeriesStore, name: str
) -> None:
    before = a_point(name, 0, "a", value=1.0, other=1)
    await store.write_points([before])
    wrong = [a_point(name, 1, value=1, new=True), a_point(name, 2, value="one"), a_point(name, 3, other=True)]
    right = a_point(name, 4, value=2.0, another=1)  # InfluxDB keeps the type of `new`, though not its point
    with pytest.raises(PointsRefused) as caught:
        await store.write_points([*wrong, right])
    assert await everything(store, name) == [before, right]
    reasons = dict(caught.value.refused)
    assert sorted(reasons) == sorted(lines(wrong))
    for point, field in zip(wrong, ("value", "value", "other"), strict=True):
        assert field in reasons[line(point)]
    assert all(word in reasons[line(wrong[0])] for word in (name, "float", "integer"))


async def test_of_two_types_in_one_call_the_first_stands(store: TimeSeriesStore, name: str) -> None:
    first, second = a_point(name, 0, value=1), a_point(name, 1, value=1.5)
    with pytest.raises(PointsRefused, match="value"):
        await store.write_points([first, second])
    assert await everything(store, name) == [first]


async def test_what_is_removed_is_gone_and_the_rest_stays(store: TimeSeriesStore, name: str) -> None:
    points = [a_point(name, number * 1_000, host) for number in range(4) for host in "ab"]
    await store.write_points(points)
    await store.delete_range(name, NOON_NS, NOON_NS + 2_000, tags={"host": "a"})
    left = [point for point in points if point.tags()["host"] == "b" or point.timestamp_ns >= NOON_NS + 2_000]
    assert await everything(store, name) == left
    await store.delete_range(name, NOON - MINUTE, NOON + MINUTE)
    assert await everything(store, name) == []
    await store.delete_range(name, NOON - MINUTE, NOON + MINUTE)


async def test_a_removed_field_may_come_back_with_another_type(store: TimeSeriesStore, name: str) -> None:
    await store.write_points([a_point(name, value=1.0)])
    await store.delete_range(name, NOON - HOUR, NOON + HOUR)
    await store.write_points([a_point(name, value="one")])
    assert await everything(store, name) == [a_point(name, value="one")]


async def test_every_measurement_is_written_and_read(store: TimeSeriesStore, name: str) -> None:
    measured: list[Measured] = [
        OrderBook(name, PAIR, NOON, bids=[(Decimal("99.5"), 2), (99, 1)], asks=[(100.5, Decimal("0.1"))]),
        Features(name, PAIR, "default_v1", NOON, {"rsi_14": 55, "spread_pct": Decimal("0.01")}),
        ModelPrediction(name, PAIR, "m1", "close_in_5m", NOON, Decimal("0.62"), 0.8),
        PortfolioMetrics(name, NOON, total_equity=Decimal("5000000.01"), position_quantities={PAIR: 1}),
        SystemMetrics(name, NOON, cpu_usage_pct=12.5, event_queue_depth=3, websocket_connected=True),
    ]
    await store.write_points(measured)
    for one in measured:
        assert await store.latest(one.measurement, tags=one.tags()) == as_point(one)


def a_candle(exchange: str, number: int, interval: str = "1m", close: str = "100.5") -> Ohlcv:
    low, high = Decimal("99.5"), Decimal("101.25")
    return Ohlcv(
        exchange,
        PAIR,
        interval,
        NOON + number * MINUTE,
        *(Decimal(100), high, low, Decimal(close), Decimal("12.34567891")),
        vwap=Decimal("100.1"),
        trades_count=42,
    )


async def test_candles_are_asked_for_by_exchange_pair_timeframe_and_time(
    store: TimeSeriesStore, name: str
) -> None:
    candles = [a_candle(name, number) for number in range(4)]
    five = a_candle(name, 0, "5m")
    await store.write_market_data(*reversed(candles), five)
    await store.write_market_data(candles[0])
    assert await store.query_ohlcv(name, PAIR, "1m", NOON + MINUTE, NOON + 3 * MINUTE) == candles[1:3]
    assert await store.query_ohlcv(name, PAIR, "5m", NOON, NOON + HOUR) == [five]
    assert await store.query_ohlcv(name, "ETH/USD", "1m", NOON, NOON + HOUR) == []


async def test_a_candle_written_again_is_the_later_one(store: TimeSeriesStore, name: str) -> None:
    await store.write_market_data(a_candle(name, 0, close="100"))
    await store.write_market_data(a_candle(name, 0, close="101"))
    (stored,) = await store.query_ohlcv(name, PAIR, "1m", NOON, NOON + MINUTE)
    assert stored.close == Decimal(101)


async def test_candles_are_points_too(store: TimeSeriesStore, name: str) -> None:
    candles = [a_candle(name, number) for number in range(3)]
    await store.write_points([as_point(candle) for candle in candles])
    tags = {"exchange": name, "interval": "1m"}
    measurement = Ohlcv.measurement
    found = await store.query_data(
        measurement, tags=tags, start=NOON, end=NOON + HOUR, fields=["close", "vwap"]
    )
    assert [point.fields() for point in found] == [{"close": 100.5, "vwap": 100.1}] * 3
    assert await store.latest(measurement, tags=tags) == as_point(candles[2])
    assert await store.latest(measurement, tags={**tags, "colour": "red"}) is None
    assert await store.query_ohlcv(name, PAIR, "1m", NOON, NOON + HOUR) == candles
    await store.delete_range(measurement, NOON, NOON + 2 * MINUTE, tags=tags)
    assert await store.query_ohlcv(name, PAIR, "1m", NOON, NOON + HOUR) == candles[2:]


def a_tick(exchange: str, trade_id: str, at: datetime = NOON, side: str | None = "BUY") -> Tick:
    return Tick(exchange, PAIR, at, trade_id, Decimal("100.12"), Decimal("0.5"), side)


async def test_trades_of_one_microsecond_are_all_there(store: TimeSeriesStore, name: str) -> None:
    ticks = [a_tick(name, str(number)) for number in range(10, 15)]
    later = a_tick(name, "9", NOON + MINUTE, side=None)
    await store.write_market_data(*ticks, later)
    await store.write_market_data(*ticks)
    measurement, tags = Tick.measurement, {"exchange": name}
    found = await store.query_data(measurement, tags=tags, start=NOON, end=NOON + MINUTE)
    assert [Tick.from_point(point) for point in found] == ticks
    assert await store.latest(measurement, tags=tags) == as_point(later)
    assert await store.latest(measurement, tags={**tags, "side": "BUY"}) == as_point(ticks[-1])
    assert await store.latest(measurement, tags={**tags, "side": "buy"}) is None
    second = ticks[1].timestamp_ns
    found = await store.query_data(measurement, tags=tags, start=second, end=second + 1, fields=["price"])
    assert [point.fields() for point in found] == [{"price": 100.12}]


async def test_metrics_are_written_in_one_call(store: TimeSeriesStore, name: str) -> None:
    metrics = [SystemMetrics(name, NOON + number * MINUTE, api_error_rate=0.5) for number in range(2)]
    await store.write_metrics(*metrics, PortfolioMetrics(name, NOON, total_equity=1))
    found = await store.query_data("system_metrics", tags={"host_id": name}, start=NOON, end=NOON + HOUR)
    assert found == [as_point(metric) for metric in metrics]


async def test_writers_of_the_same_points_in_any_order_do_not_stand_in_each_others_way(
    store: TimeSeriesStore, name: str
) -> None:
    points = [a_point(name, number, host) for number in range(100) for host in "ab"]

    async def write(number: int) -> None:
        await store.write_points(points[:: -1 if number % 2 else 1])

    await at_once(write, 4)
    assert len(await everything(store, name)) == len(points)


async def test_many_points_are_stored_in_one_call(store: TimeSeriesStore, name: str) -> None:
    points = [a_point(name, number, value=number / 7, count=number) for number in range(5_001)]
    await store.write_points(iter(points))
    assert await everything(store, name) == points


async def test_a_point_that_cannot_be_made_is_never_sent(store: TimeSeriesStore, name: str) -> None:
    class NotANumber:
        measurement = name
        timestamp_ns = NOON_NS

        def tags(self) -> dict[str, str]:
            return {}

        def fields(self) -> dict[str, FieldValue]:
            return {"value": math.nan}

    with pytest.raises((InvalidValue, PointsRefused)):
        await store.write_points([NotANumber()])
    await store.write_points([])
    assert await everything(store, name) == []


async def test_candles_nobody_stored_are_made_of_shorter_ones(store: TimeSeriesStore, name: str) -> None:
    def candle(
        interval: str,
        minute: int,
        prices: Sequence[int],
        *,
        volume: int,
        vwap: Decimal | int,
        final: bool = True,
    ) -> Ohlcv:
        opened, high, low, close = map(Decimal, prices)
        rest = (opened, high, low, close, Decimal(volume), Decimal(vwap), volume, final)
        return Ohlcv(name, "A/B", interval, NOON + minute * MINUTE, *rest)

    def minute(number: int, *, final: bool = True) -> Ohlcv:
        price = number + 10
        return candle(
            "1m", number, (price, price + 2, price - 1, price + 1), volume=number, vwap=price, final=final
        )

    stored = candle("5m", 10, (20, 22, 19, 21), volume=10, vwap=20)
    await store.write_market_data(*map(minute, range(6)), minute(7, final=False), stored)
    found = await store.query_ohlcv(name, "A/B", "5m", NOON - MINUTE, NOON + 15 * MINUTE)
    of_two = found[1].vwap
    assert of_two is not None
    assert abs(of_two - Decimal(15 * 5 + 17 * 7) / 12) < Decimal("1e-15")
    assert found == [
        candle("5m", 0, (10, 16, 9, 15), volume=10, vwap=13),
        candle("5m", 5, (15, 19, 14, 18), volume=12, vwap=of_two, final=False),
        stored,
    ]
    assert await store.query_ohlcv(name, "A/B", "7m", NOON, NOON + MINUTE) == []
