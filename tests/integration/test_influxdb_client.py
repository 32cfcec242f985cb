"""TimeSeriesDB: what it writes, asks and says on InfluxDB 2.x, the tests' own and a real one."""

import gzip
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

import gal_friday
from gal_friday.config import InfluxSettings
from gal_friday.dal.influx.answers import LONGEST_WAIT_SECONDS, retry_after_seconds
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.errors import (
    BucketMissing,
    ConfigurationError,
    InvalidValue,
    PersistenceError,
    PointsRefused,
    TimeSeriesError,
    TimeSeriesUnavailable,
    TokenRefused,
)
from gal_friday.timeseries.measurements import Ohlcv
from gal_friday.timeseries.points import Point
from tests.concurrency import at_once
from tests.influx.endpoint import InfluxEndpoint
from tests.influx.servers import REAL, real_server, remove, served, servers
from tests.waiting import until

NOW_NS = int((datetime.now(UTC) - timedelta(hours=1)).timestamp()) * 1_000_000_000
HOSTILE = ('x" OR "1"="1', "a} |> yield() //", "${r}", "é\\b", "a,b=c d", '"', "\\d", "#")


@pytest.fixture(params=servers())
async def settings(request: pytest.FixtureRequest) -> AsyncIterator[InfluxSettings]:
    async with served(request.param) as settings:
        yield settings


@pytest.fixture
async def db(settings: InfluxSettings) -> AsyncIterator[TimeSeriesDB]:
    async with TimeSeriesDB(settings) as db:
        yield db


@pytest.fixture
async def endpoint() -> AsyncIterator[InfluxEndpoint]:
    async with InfluxEndpoint() as endpoint:
        yield endpoint


def opened(endpoint: InfluxEndpoint, **settings: Any) -> TimeSeriesDB:
    return TimeSeriesDB(InfluxSettings(**{**endpoint.settings, **settings}))


def a_point(number: int = 0, measurement: str = "m", **fields: float | str) -> Point:
    return Point(measurement, {"exchange": "kraken"}, fields or {"value": number + 0.5}, NOW_NS + number)


def a_candle(minute: int, interval: str = "1m", price: str = "100.1") -> Ohlcv:
    at = datetime(2026, 3, 1, tzinfo=UTC) + minute * timedelta(minutes=1)
    value = Decimal(price)
    return Ohlcv("kraken", "XBT/USD", interval, at, value, value + 1, value - 1, value, Decimal("0.3"))


async def test_what_is_written_is_read_back_whatever_its_types_and_tags(db: TimeSeriesDB) -> None:
    points = [
        Point(
            "m", {"tag": tag}, {"f": 0.1, "i": -(2**63), "t": True, "s": f"{tag}\n", "e": ""}, NOW_NS + number
        )
        for number, tag in enumerate(HOSTILE)
    ]
    await db.write_points(points)
    assert list(await db.query_data("m", start=NOW_NS, end=NOW_NS + 100)) == points
    for point in points:
        assert list(await db.query_data("m", tags=point.tags(), start=NOW_NS, end=NOW_NS + 100)) == [point]
        assert await db.latest("m", tags=point.tags()) == point
    assert await db.query_data("m", tags={'a"b': "x"}, start=NOW_NS, end=NOW_NS + 100) == []
    assert await db.query_data("other", start=NOW_NS, end=NOW_NS + 100) == []


async def test_a_span_ends_before_its_end_and_fields_are_chosen(db: TimeSeriesDB) -> None:
    await db.write_points([a_point(0, a=1.5, b=2.5), a_point(1, b=3.5), a_point(2, a=4.5)])
    found = await db.query_data("m", start=NOW_NS, end=NOW_NS + 2, fields=["a", "c"])
    assert list(found) == [a_point(0, a=1.5)]
    for wrong in ([], [""], ["a\n"]):
        with pytest.raises(InvalidValue):
            await db.query_data("m", start=NOW_NS, end=NOW_NS + 2, fields=wrong)
    with pytest.raises(InvalidValue):
        await db.query_data("m", start=NOW_NS, end=NOW_NS)


async def test_the_newest_point_has_the_fields_of_its_time_only(db: TimeSeriesDB) -> None:
    assert await db.latest("m") is None
    await db.write_points([a_point(0, a=1.5, b=2.5), a_point(7, b=3.5), a_point(3, a=9.5)])
    assert await db.latest("m") == a_point(7, b=3.5)
    assert await db.latest("m", tags={"exchange": "other"}) is None


async def test_candles_come_back_to_the_last_digit_and_only_of_the_pair_asked_for(db: TimeSeriesDB) -> None:
    candles = [a_candle(minute, price=f"{minute + 2}.00000001") for minute in range(5)]
    await db.write_market_data(*candles, a_candle(0, "5m"))
    found = await db.query_ohlcv("kraken", "XBT/USD", "1m", candles[1].timestamp_ns, candles[4].timestamp_ns)
    assert list(found) == candles[1:4]
    assert await db.query_ohlcv("kraken", 'XBT" or "', "1m", 0, candles[4].timestamp_ns) == []


async def test_deleting_takes_the_points_asked_for_and_no_others(db: TimeSeriesDB) -> None:
    points = [Point("m", {"tag": tag}, {"f": 0.5}, NOW_NS + number) for number, tag in enumerate(HOSTILE)]
    await db.write_points([*points, Point("other", {}, {"f": 0.5}, NOW_NS)])
    for number, point in enumerate(points):
        at_its_end = (NOW_NS - 1, NOW_NS + number)
        await db.delete_range("m", *at_its_end, tags=point.tags())
        assert len(await db.query_data("m", start=NOW_NS, end=NOW_NS + 100)) == len(points) - number
        await db.delete_range("m", NOW_NS, NOW_NS + 100, tags=point.tags())
    assert await db.query_data("m", start=NOW_NS, end=NOW_NS + 100) == []
    assert len(await db.query_data("other", start=NOW_NS, end=NOW_NS + 100)) == 1
    for wrong in ({"a\n": "b"}, {"a": ""}, {"a": "b\n"}, {"_time": "b"}):
        with pytest.raises(InvalidValue):
            await db.delete_range("m", NOW_NS, NOW_NS + 100, tags=wrong)


async def refused_of(db: TimeSeriesDB, lines: str) -> PointsRefused:
    with pytest.raises(PointsRefused) as raised:
        await db.write_lines(gzip.compress(lines.encode()))
    return raised.value


async def test_a_field_that_changes_its_type_is_refused_and_the_rest_is_written(db: TimeSeriesDB) -> None:
    await db.write_points([a_point(value=1.5, other=2.5)])
    lines = [
        f"m,n={number} value={number}{'i' if number % 3 else ''} {NOW_NS + number}" for number in range(30)
    ]
    error = await refused_of(db, "\n".join(lines))
    assert [line for line, _ in error.refused] == [lines[number] for number in range(30) if number % 3]
    assert error.facts | {"reason": ""} == {
        "points": 20,
        "stored": 10,
        "number": 2,
        "line": lines[1],
        "reason": "",
    }
    assert "field type conflict" in str(error.facts["reason"])
    assert len(await db.query_data("m", start=NOW_NS, end=NOW_NS + 100)) == 11


async def test_lines_that_are_none_are_named_and_the_rest_is_written(db: TimeSeriesDB) -> None:
    await db.write_points([a_point(value=1.5)])
    lines = [f"m,e=1 value=1 {NOW_NS + 1}", "m value=", f'm,e=2 s="a\nb" {NOW_NS + 2}', "nonsense"]
    error = await refused_of(
        db, "\n".join([*lines, f"m,e=3 value=1i {NOW_NS + 3}", f"m,e=4 value=2 {NOW_NS + 4}"])
    )
    assert {line for line, _ in error.refused} == {lines[1], lines[3], f"m,e=3 value=1i {NOW_NS + 3}"}
    assert len(await db.query_data("m", start=NOW_NS, end=NOW_NS + 100)) == 4
    alone = await refused_of(db, f"m,e=5 value=t {NOW_NS + 5}")
    assert (alone.facts["points"], alone.facts["stored"]) == (1, 0)


async def test_a_batch_that_is_not_whole_is_an_error_of_its_own(settings: InfluxSettings) -> None:
    hasty = settings.model_copy(update={"write_timeout_seconds": 0.2})
    whole = gzip.compress(f"m value=1 {NOW_NS}\n".encode() * 99)
    async with TimeSeriesDB(hasty) as db:
        for broken in (whole[: len(whole) // 2], b"no gzip at all", b"\x1f\x8b"):
            with pytest.raises(InvalidValue):
                await db.write_lines(broken)
        assert await db.query_data("m", start=NOW_NS, end=NOW_NS + 100) == []


async def test_a_token_a_bucket_or_an_organisation_unknown_is_named_for_what_it_is(
    settings: InfluxSettings,
) -> None:
    async def attempts(**changed: Any) -> Sequence[PersistenceError]:
        errors = []
        async with TimeSeriesDB(InfluxSettings(**{**settings.model_dump(), **changed})) as db:
            for attempt in (
                db.write_points([a_point()]),
                db.query_data("m", start=NOW_NS, end=NOW_NS + 1),
                db.latest("m"),
                db.delete_range("m", NOW_NS, NOW_NS + 1),
            ):
                with pytest.raises(PersistenceError) as raised:
                    await attempt
                errors.append(raised.value)
        assert all("secret" not in str(error) for error in errors)
        return errors

    assert {type(error) for error in await attempts(token="another-secret")} == {TokenRefused}
    assert {type(error) for error in await attempts(bucket="none-such")} == {BucketMissing}
    assert {type(error) for error in await attempts(org="none-such")} <= {BucketMissing, TimeSeriesError}


@pytest.mark.parametrize("kind", servers())
async def test_buckets_and_tasks_are_made_once_however_often_and_by_however_many(kind: str) -> None:
    async with served(kind, retention_days=30) as first:
        name = f"{first.bucket}-upkeep"
        both = first.model_copy(update={"bucket": name, "long_term_bucket": f"{name}-long"})
        async with TimeSeriesDB(both) as db:
            await at_once(lambda _: db.ensure_bucket(), 3)
            await db.ensure_bucket()
            other = both.model_copy(update={"retention_days": 7})
            async with TimeSeriesDB(other) as again:
                await again.ensure_bucket()
            found = (await db._call("GET", "/api/v2/buckets", query={"name": name, "org": str(first.org)}))[
                "buckets"
            ]
            assert [rule["everySeconds"] for rule in found[0]["retentionRules"]] == [30 * 86_400]
            for task in ("gal_friday candles 1m to 1h", "gal_friday candles 1h to 1d"):
                tasks = await db._call("GET", "/api/v2/tasks", query={"name": task, "org": str(first.org)})
                assert len([each for each in tasks["tasks"] if name in each["description"]]) == 1
            if kind == REAL:
                await remove(db, both)


async def test_a_task_whose_text_is_another_is_brought_up_to_date(endpoint: InfluxEndpoint) -> None:
    async with opened(endpoint, long_term_bucket="long") as db:
        await db.ensure_bucket()
        (hours, days) = endpoint.tasks.values()
        text, hours["flux"] = hours["flux"], "older"
        endpoint.tasks["f"] = {**days, "id": "f"}  # made by another process at the same time
        await db.ensure_bucket()
        assert [task["flux"] for task in endpoint.tasks.values()] == [text, days["flux"]]
        assert endpoint.buckets["long"]["retentionRules"] == []


async def test_a_bucket_whose_name_could_mean_something_in_flux_gets_no_tasks(
    endpoint: InfluxEndpoint,
) -> None:
    async with opened(endpoint, long_term_bucket='x") |> drop()') as db:
        with pytest.raises(InvalidValue):
            await db.ensure_bucket()


async def test_hours_no_longer_in_the_bucket_come_from_the_long_term_one(endpoint: InfluxEndpoint) -> None:
    async with opened(endpoint, long_term_bucket="long") as db, opened(endpoint, bucket="long") as long_term:
        await db.ensure_bucket()
        await long_term.write_market_data(a_candle(0, "1h"), a_candle(60, "1h", "7"))
        found = await db.query_ohlcv("kraken", "XBT/USD", "1h", 0, NOW_NS * 2)
        assert [candle.close for candle in found] == [Decimal("100.1"), Decimal(7)]


async def run_task(db: TimeSeriesDB, settings: InfluxSettings, name: str, when: datetime) -> None:
    """Let the task run as if it was scheduled for *when*, to its end."""
    found = await db._call("GET", "/api/v2/tasks", query={"name": name, "org": str(settings.org)})
    (task,) = [each for each in found["tasks"] if f" {settings.bucket}" in each["description"]]
    path = f"/api/v2/tasks/{task['id']}/runs"
    run = await db._call("POST", path, body={"scheduledFor": when.isoformat().replace("+00:00", "Z")})

    async def is_done() -> bool:
        state = await db._call("GET", f"{path}/{run['id']}")
        assert state["status"] != "failed", await db._call("GET", f"{path}/{run['id']}/logs")
        return bool(state["status"] == "success")

    await until(is_done, "the task has run", seconds=60)


def assert_sums_up(candle: Ohlcv, parts: Sequence[Ohlcv]) -> None:
    assert (candle.open, candle.close) == (parts[0].open, parts[-1].close)
    assert (candle.high, candle.low) == (max(each.high for each in parts), min(each.low for each in parts))
    assert candle.volume == sum(each.volume for each in parts)
    assert candle.trades_count == sum(each.trades_count or 0 for each in parts)
    priced = [(each.vwap, each.volume) for each in parts if each.vwap is not None and each.volume]
    if not priced:
        assert candle.vwap is None
        return
    value = sum((vwap * volume for vwap, volume in priced), Decimal(0))
    exact = value / sum((volume for _, volume in priced), Decimal(0))
    assert candle.vwap is not None
    assert abs(candle.vwap / exact - 1) < Decimal("1e-2" if len(parts) > 60 else "1e-12")


async def test_a_busy_server_is_left_alone_as_long_as_it_asks(
    endpoint: InfluxEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.instead.extend([(429, {"Retry-After": "0"}), (503, {"Retry-After": "1"}), None, (502, {})])
    async with opened(endpoint) as db:
        await db.write_points([a_point()])
    waits = [record.wait_seconds for record in caplog.records if hasattr(record, "wait_seconds")]
    assert len(waits) == 4
    assert waits[1] >= 1
    assert list(endpoint.points.values()) == [{"value": 0.5}]


async def test_a_server_that_asks_for_too_long_is_an_error_at_once(endpoint: InfluxEndpoint) -> None:
    endpoint.instead.append((429, {"Retry-After": "3600"}))
    async with opened(endpoint) as db:
        with pytest.raises(TimeSeriesUnavailable) as raised:
            await db.write_points([a_point()])
        assert raised.value.facts["retry_after_seconds"] == LONGEST_WAIT_SECONDS
    assert not endpoint.points


def test_what_a_retry_after_header_asks_for() -> None:
    assert retry_after_seconds("7") == 7
    assert retry_after_seconds("99999999") == LONGEST_WAIT_SECONDS
    later = retry_after_seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert later is not None
    assert 55 < later <= 60
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after_seconds("soon") is None
    assert retry_after_seconds(None) is None


async def test_a_server_that_never_answers_or_is_not_there_is_an_error_in_bounded_time(
    endpoint: InfluxEndpoint,
) -> None:
    async with opened(endpoint, write_timeout_seconds=0.1, query_timeout_seconds=0.1) as db:
        endpoint.fall_silent()
        for attempt in (db.write_points([a_point()]), db.latest("m")):
            with pytest.raises(TimeSeriesUnavailable):
                await attempt
        await endpoint.stop()
        with pytest.raises(TimeSeriesUnavailable) as raised:
            await db.write_points([a_point()])
        assert endpoint.url in str(raised.value)


async def test_what_only_an_answer_of_another_kind_explains_is_an_error_that_says_it(
    endpoint: InfluxEndpoint,
) -> None:
    async with opened(endpoint) as db:
        endpoint.instead.extend([(418, {}), (418, {})])
        for attempt in (db.write_points([a_point()]), db.latest("m")):
            with pytest.raises(TimeSeriesError) as raised:
                await attempt
            assert raised.value.facts["status"] == 418


async def test_a_batch_too_large_for_the_server_is_sent_in_parts() -> None:
    async with InfluxEndpoint(largest_body=200) as endpoint, opened(endpoint) as db:
        with pytest.raises(PointsRefused) as raised:
            await db.write_points([*(a_point(number) for number in range(40)), a_point(99, text="x" * 300)])
        assert len(raised.value.refused) == 1
        assert len(endpoint.points) == 40


async def test_no_line_is_refused_where_parts_of_a_batch_are_taken() -> None:
    async with InfluxEndpoint(largest_body=200) as endpoint, opened(endpoint) as db:
        await db.write_points([a_point(number) for number in range(40)])
        assert len(endpoint.points) == 40


async def test_old_points_are_refused_for_being_old(endpoint: InfluxEndpoint) -> None:
    endpoint.forgets_before_ns = NOW_NS + 11
    async with opened(endpoint) as db:
        with pytest.raises(PointsRefused) as raised:
            await db.write_points([a_point(number) for number in range(40)])
        assert len(raised.value.refused) == 11
        assert len(endpoint.points) == 29


async def test_without_a_server_named_there_is_no_such_store() -> None:
    with pytest.raises(ConfigurationError):
        TimeSeriesDB(InfluxSettings())


def test_one_module_alone_knows_the_client_library() -> None:
    root = Path(gal_friday.__file__).parent
    users = [path.name for path in root.rglob("*.py") if "influxdb_client" in _imported_by(path)]
    assert users == ["influxdb_client.py"]


def _imported_by(path: Path) -> set[str]:
    words = [line.split() for line in path.read_text().splitlines()]
    return {line[1].partition(".")[0] for line in words if len(line) > 1 and line[0] in ("import", "from")}


if real_server():  # the tests' own runs no tasks

    @pytest.mark.influxdb
    async def test_the_server_makes_hours_of_minutes_and_days_of_hours() -> None:
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
        minutes = [
            Ohlcv(
                "kraken",
                pair,
                "1m",
                midnight + number * timedelta(minutes=1),
                *(Decimal(number + 1), Decimal(number + 3), Decimal("0.5"), Decimal(number + 2)),
                Decimal(number % 7),
                vwap=Decimal(number + 1) if pair == "A/B" and number % 3 else None,
                trades_count=number,
            )
            for pair in ("A/B", "C/D")
            for number in range(24 * 60)
        ]
        async with served(REAL) as given:
            both = given.model_copy(update={"long_term_bucket": f"{given.bucket}-long"})
            async with TimeSeriesDB(both) as db:
                await db.ensure_bucket()
                await db.write_market_data(*minutes)
                for _ in range(2):  # a repetition changes nothing
                    for name in ("gal_friday candles 1m to 1h", "gal_friday candles 1h to 1d"):
                        await run_task(db, both, name, midnight + timedelta(days=1))
                end = midnight + timedelta(days=1)
                for pair in ("A/B", "C/D"):
                    of_pair = [candle for candle in minutes if candle.trading_pair == pair]
                    hours = await db.query_ohlcv("kraken", pair, "1h", midnight, end)
                    days = await db.query_ohlcv("kraken", pair, "1d", midnight, end)
                    assert len(hours) == 24
                    for number, hour in enumerate(hours):
                        assert_sums_up(hour, of_pair[60 * number : 60 * number + 60])
                    assert_sums_up(days[0], of_pair)
                await remove(db, both)
