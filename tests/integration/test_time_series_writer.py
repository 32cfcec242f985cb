"""TimeSeriesWriter: whoever measures never waits, and what was measured gets to its store, once, in order."""

import asyncio
import json
import logging
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gal_friday.config import InfluxSettings, SpoolSettings
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.durable_log.slots import slot_directories
from gal_friday.errors import InvalidValue, LogUnwritable, TimeSeriesUnavailable, TokenRefused
from gal_friday.timeseries.batches import Batch
from gal_friday.timeseries.delivery import TRIES
from gal_friday.timeseries.line_parser import parse
from gal_friday.timeseries.points import Measured, Point
from gal_friday.timeseries.spool import Spool
from gal_friday.timeseries.writer import TimeSeriesWriter
from tests.influx.endpoint import TOKEN, InfluxEndpoint
from tests.journaling import Writer, files_no_larger_than
from tests.waiting import until

CUTS = 1_000
KILLS = 3
PLENTY = 64 * 1024 * 1024
#: Of a server that answers: on a slow machine no point is sent again because that took long.
UNHURRIED = {"write_timeout_seconds": 30, "patience_seconds": 30}


@pytest.fixture
async def endpoint() -> AsyncIterator[InfluxEndpoint]:
    async with InfluxEndpoint() as endpoint:
        yield endpoint


@asynccontextmanager
async def writing(
    endpoint: InfluxEndpoint, directory: Path, **settings: Any
) -> AsyncIterator[TimeSeriesWriter]:
    server = {**endpoint.settings, "write_timeout_seconds": 0.5}
    server |= {name: settings.pop(name) for name in ("token", "write_timeout_seconds") if name in settings}
    spool = SpoolSettings(**{"patience_seconds": 5, **settings})
    async with (
        TimeSeriesDB(InfluxSettings(**server)) as db,
        await TimeSeriesWriter.open(db, directory, spool) as writer,
    ):
        yield writer


def a_point(number: int, **fields: float | str) -> Point:
    return Point("m", {"exchange": "kraken"}, fields or {"value": float(number)}, number + 1)


def numbers_in(endpoint: InfluxEndpoint) -> list[int]:
    return sorted(at - 1 for _, _, at in endpoint.points)


async def emptied(writer: TimeSeriesWriter) -> None:
    async def is_empty() -> bool:
        return not (writer.stats().pending or writer.stats().buffered)

    await until(is_empty, "everything is with the store")


async def test_points_go_in_batches_of_a_size_or_after_a_time(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    settings = {**UNHURRIED, "batch_size": 10, "flush_interval_seconds": 0.01}
    async with writing(endpoint, tmp_path / "spool", **settings) as writer:
        for number in range(35):
            writer.write(a_point(number))
        await emptied(writer)
        stats = writer.stats()
        assert (stats.accepted, stats.delivered, stats.spooled, stats.last_error) == (35, 35, 0, None)
        assert len(endpoint.requests) == 4
        writer.write_all(a_point(number) for number in range(100, 1_700))
        writer.write_all([])
        await writer.flush()
    assert numbers_in(endpoint) == [*range(35), *range(100, 1_700)]
    assert set(endpoint.times.values()) == {1}
    assert not (tmp_path / "spool").exists()


async def test_writing_never_waits_while_the_server_says_nothing(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    endpoint.fall_silent()
    async with writing(endpoint, tmp_path, patience_seconds=0.05, batch_size=10) as writer:
        for number in range(200):
            writer.write(a_point(number))  # there is no await to wait in
        await writer.flush()
        stats = writer.stats()
        assert (stats.buffered, stats.pending, stats.spooled, stats.delivered) == (0, 200, 200, 0)
        assert stats.bytes > 0
        assert stats.failures
        endpoint.answer()
        await emptied(writer)
    assert numbers_in(endpoint) == list(range(200))


async def test_while_anything_waits_the_next_goes_behind_it_and_all_is_delivered_in_order(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    await endpoint.stop()
    async with writing(endpoint, tmp_path, batch_size=1) as writer:
        for number in range(20):
            writer.write(Point("m", {}, {"value": float(number)}, 1))  # of one time: the last one counts
            await writer.flush()
        with pytest.raises(TimeSeriesUnavailable):
            await writer.drain()
        await endpoint.start()
        await emptied(writer)
        await writer.drain()
        assert list(endpoint.points.values()) == [{"value": 19.0}]
        assert writer.stats().delivered == 20


async def test_while_the_server_flaps_nothing_is_lost_and_nothing_is_doubled(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    source = random.Random(7)
    async with writing(endpoint, tmp_path, batch_size=20, flush_interval_seconds=0.01) as writer:
        number = 0
        for _ in range(30):
            match source.randrange(5):
                case 0:
                    endpoint.instead.extend([(503, {"Retry-After": "0"}), None, (429, {})])
                case 1:
                    endpoint.answers_lost += 1
                case 2:
                    await endpoint.stop()
                case 3 if endpoint._runner is None:
                    await endpoint.start()
            for _ in range(source.randrange(60)):
                writer.write(a_point(number))
                number += 1
            await writer.flush()
        if endpoint._runner is None:
            await endpoint.start()
        endpoint.instead.clear()
        await emptied(writer)
        assert writer.stats().accepted == writer.stats().delivered == number
        assert writer.stats().dropped == 0
    assert numbers_in(endpoint) == list(range(number))
    assert endpoint.points == {
        ("m", (("exchange", "kraken"),), n + 1): {"value": float(n)} for n in range(number)
    }


async def test_what_was_left_is_delivered_by_who_comes_next_and_by_one_only(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    await endpoint.stop()
    async with writing(endpoint, tmp_path) as one, writing(endpoint, tmp_path) as other:
        one.write(*map(a_point, range(10)))
        other.write(*map(a_point, range(10, 30)))
        await one.flush()
        await other.flush()
    assert len(slot_directories(tmp_path)) == 2
    await endpoint.start()
    async with writing(endpoint, tmp_path, **UNHURRIED) as heir:
        assert heir.stats().adopted == 30
        await emptied(heir)
    assert numbers_in(endpoint) == list(range(30))
    assert set(endpoint.times.values()) == {1}
    assert slot_directories(tmp_path) == []


async def test_a_refused_point_is_set_aside_with_the_reason_and_the_rest_is_written(
    endpoint: InfluxEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with writing(endpoint, tmp_path) as writer:
        writer.write(a_point(0, value=1.5), a_point(1, value="text"), a_point(2, value=2.5))
        await writer.flush()
        assert (writer.stats().delivered, writer.stats().refused) == (2, 1)
    (entry,) = map(json.loads, (tmp_path / "refused.jsonl").read_text().splitlines())
    assert entry["line"] == 'm,exchange=kraken value="text" 2'
    assert "field type conflict" in entry["reason"]
    (record,) = [record for record in caplog.records if record.message == "points were refused"]
    assert record.levelno == logging.ERROR
    assert numbers_in(endpoint) == [0, 2]


async def test_a_point_that_cannot_be_stored_is_refused_at_once_and_none_of_its_call_is_taken(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    class Wrong:
        measurement = "m\n"
        timestamp_ns = 1

        def tags(self) -> dict[str, str]:
            return {}

        def fields(self) -> dict[str, float]:
            return {"a": 1.0}

    async with writing(endpoint, tmp_path) as writer:
        with pytest.raises(InvalidValue):
            writer.write(a_point(0), Wrong())
        assert writer.stats().accepted == 0
    with pytest.raises(LogUnwritable):
        writer.write(a_point(0))


async def test_past_the_limit_of_the_disk_the_oldest_go_counted_and_logged(
    endpoint: InfluxEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = random.Random(3)
    await endpoint.stop()
    async with writing(endpoint, tmp_path, batch_size=50, max_bytes=64 * 1024) as writer:
        for number in range(4_000):
            writer.write(a_point(number, value=source.random(), text=f"{source.getrandbits(256):x}"))
            if number % 500 == 499:
                await writer.flush()
        stats = writer.stats()
        assert stats.dropped > 0
        assert stats.pending + stats.dropped == 4_000
        assert stats.bytes <= 64 * 1024
        assert "the oldest records were dropped" in caplog.text
        await endpoint.start()
        await emptied(writer)
        # One that was on its way when it was dropped may have arrived all the same: then it is not counted.
        assert len(endpoint.points) == 4_000 - writer.stats().dropped
    assert set(range(stats.dropped, 4_000)) <= set(numbers_in(endpoint))


async def test_where_neither_store_nor_disk_takes_points_memory_is_bounded_and_the_oldest_go(
    endpoint: InfluxEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.fall_silent()
    async with writing(
        endpoint, tmp_path, patience_seconds=0.01, batch_size=500, max_buffered_bytes=64 * 1024
    ) as writer:
        with files_no_larger_than(10):
            for number in range(5_000):
                writer.write(a_point(number))
                assert writer._bytes <= 64 * 1024
                if number % 100 == 0:
                    await asyncio.sleep(0)
            dropped = writer.stats().dropped
            assert dropped
            assert "the oldest were dropped" in caplog.text
        endpoint.answer()
        await emptied(writer)
        stats = writer.stats()
        assert stats.delivered + stats.dropped == 5_000
    assert len(endpoint.points) == 5_000 - stats.dropped
    assert numbers_in(endpoint)[-1] == 4_999


async def test_where_the_disk_takes_nothing_the_store_counts(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    endpoint.instead.append((503, {"Retry-After": "60"}))
    async with writing(endpoint, tmp_path) as writer:
        with files_no_larger_than(10):
            writer.write(a_point(0))
            await writer.flush()
        assert writer.stats().delivered == 1
    assert numbers_in(endpoint) == [0]


async def test_at_the_end_what_nobody_takes_is_lost_aloud(
    endpoint: InfluxEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await endpoint.stop()
    with files_no_larger_than(10):
        async with writing(endpoint, tmp_path) as writer:
            writer.write(a_point(0), a_point(1))
    assert writer.stats().dropped == 2
    assert "points are lost at the end" in caplog.text


async def test_memory_filling_up_cuts_the_patience_short(endpoint: InfluxEndpoint, tmp_path: Path) -> None:
    endpoint.fall_silent()
    settings = {"patience_seconds": 3_600, "max_buffered_bytes": 64 * 1024, "write_timeout_seconds": 3_600}
    async with writing(endpoint, tmp_path, batch_size=100, **settings) as writer:
        for begin in range(0, 5_000, 100):
            writer.write_all(a_point(number) for number in range(begin, begin + 100))

            async def has_room() -> bool:
                return writer._bytes < 32 * 1024

            await until(has_room, "memory is freed")
        assert writer.stats().dropped == 0
        endpoint.answer()
        await emptied(writer)
    assert numbers_in(endpoint) == list(range(5_000))


async def test_a_token_refused_holds_points_back_and_loses_none(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    async with writing(endpoint, tmp_path, token="wrong") as writer:
        writer.write(a_point(0))
        await writer.flush()
        with pytest.raises(TokenRefused):
            await writer.drain()
        assert writer.stats().pending == 1
        assert TOKEN not in str(writer.stats())
        assert writer.stats().as_json()["last_error"]
    async with writing(endpoint, tmp_path) as writer:
        await writer.drain()
    assert numbers_in(endpoint) == [0]


async def test_a_server_that_asks_for_time_is_given_it_by_the_delivery_too(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    endpoint.instead.extend([(503, {"Retry-After": "1"})] * 2)
    async with writing(endpoint, tmp_path) as writer:
        asked = asyncio.get_running_loop().time()
        writer.write(a_point(0))
        await writer.flush()
        await emptied(writer)
        assert asyncio.get_running_loop().time() - asked > 0.4


class PointsOnly:
    """A store that takes points, not batches: InfluxDB, by the way any store offers."""

    def __init__(self, db: TimeSeriesDB, error: Exception | None = None) -> None:
        self._db = db
        self.error = error
        self.asked = 0

    async def write_points(self, points: Sequence[Measured]) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        await self._db.write_points(points)


async def test_any_store_is_served(endpoint: InfluxEndpoint, tmp_path: Path) -> None:
    given = InfluxSettings(**endpoint.settings, write_timeout_seconds=0.2)
    point = Point("m \\d", {"a,b": "c=d e"}, {"f": 1e300, "i": -5, "t": False, "s": 'q"\\\n,= '}, -7)
    await endpoint.stop()
    async with TimeSeriesDB(given) as db:
        async with await TimeSeriesWriter.open(PointsOnly(db), tmp_path, SpoolSettings()) as writer:
            writer.write(point, a_point(0, value=1.5), a_point(1, value="x"))
            await writer.flush()
            assert writer.stats().pending == 3
            await endpoint.start()
            await emptied(writer)
            assert writer.stats().refused == 1
        assert await db.latest("m \\d") == point


async def test_a_batch_that_no_error_explains_is_set_aside_after_a_while_and_stops_nothing(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    given = InfluxSettings(**endpoint.settings)
    async with TimeSeriesDB(given) as db:
        store = PointsOnly(db, RuntimeError("a bug"))
        async with await TimeSeriesWriter.open(store, tmp_path, SpoolSettings()) as writer:
            writer.write(a_point(0))
            await writer.flush()
            await emptied(writer)
            assert store.asked == TRIES
            assert writer.stats().refused == 1
            store.error = None
            writer.write(a_point(1))
            await writer.drain()
    assert numbers_in(endpoint) == [1]
    assert "a bug" in (tmp_path / "refused.jsonl").read_text()


@pytest.mark.parametrize(
    "record",
    [b"short", Batch.of(b"m v=1 1", 1).encode()[:-5], Batch.of(b"\xff\xfe", 1).encode()],
    ids=["short", "cut", "no text"],
)
async def test_a_record_that_is_no_batch_is_set_aside_and_stops_nothing(
    endpoint: InfluxEndpoint, tmp_path: Path, record: bytes
) -> None:
    spool = await Spool.open(tmp_path, max_bytes=PLENTY)
    await spool._slots.own.append([record])
    await spool.keep(Batch.of(b"m,exchange=kraken value=1 2", 1))
    await spool.close()
    async with writing(endpoint, tmp_path) as writer:
        await emptied(writer)
        await writer.drain()
    assert numbers_in(endpoint) == [1]
    assert len((tmp_path / "refused.jsonl").read_text().splitlines()) == 1


async def test_cut_at_a_thousand_random_bytes_what_was_flushed_before_the_cut_is_delivered_once(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    """The bytes of the log are its own suite's business; here it is which points a cut leaves."""
    source = random.Random(11)
    spool = await Spool.open(tmp_path / "whole", max_bytes=PLENTY)
    ends = []
    for begin in range(0, 40, 4):
        lines = [f"m,exchange=kraken value={number} {number + 1}" for number in range(begin, begin + 4)]
        await spool.keep(Batch.of("\n".join(lines).encode(), 4))
        ends.append(spool.size)
    await spool.close()
    (segment,) = (tmp_path / "whole" / "0").glob("*.log")
    content = segment.read_bytes()
    for number in range(CUTS):
        cut = source.randrange(len(content) + 1)
        directory = tmp_path / str(number)
        (directory / "0").mkdir(parents=True)
        (directory / "0" / segment.name).write_bytes(content[:cut])
        kept = list(range(4 * sum(end <= cut for end in ends)))
        if number % 50:
            spool = await Spool.open(directory, max_bytes=PLENTY)
            assert (spool.pending, spool.is_empty) == (len(kept), not kept)
            found = [Batch.decode(each.record.payload) for each in await spool.first(100)]
            points = [point for batch in found for point in parse(batch.lines())]
            assert [point.timestamp_ns - 1 for point in points] == kept
            await spool.close()
        else:
            endpoint.points.clear()
            endpoint.times.clear()
            async with writing(endpoint, directory, **UNHURRIED) as writer:
                await writer.drain()
            assert numbers_in(endpoint) == kept
            assert set(endpoint.times.values()) <= {1}
        shutil.rmtree(directory, ignore_errors=True)


async def test_killed_at_any_moment_a_writer_has_lost_nothing_it_called_safe(
    endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    source = random.Random(5)
    acknowledged: set[int] = set()
    for kill in range(KILLS):
        if kill % 2:
            await endpoint.stop()
        process = Writer("tests.point_writer", endpoint.url, str(tmp_path), str(kill * 1_000_000))
        count = source.randrange(3, 20)
        lines = await asyncio.to_thread(process.acknowledged, count)
        lines = [*lines, *await asyncio.to_thread(process.kill)]
        acknowledged |= {int(line) for line in lines}
        if kill % 2:
            await endpoint.start()
    async with writing(endpoint, tmp_path) as writer:
        await emptied(writer)
    missing = acknowledged - set(numbers_in(endpoint))
    assert not missing
    for (_, _, at), fields in endpoint.points.items():
        assert fields == {"value": float(at - 1)}
    assert slot_directories(tmp_path) == []
