"""A log on disk: what was acknowledged is there whatever cut it off, and damage is never passed over."""

import asyncio
import errno
import os
import random
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from gal_friday.durable_log import files as log_files
from gal_friday.durable_log.contents import look_into, owner_of, salvage
from gal_friday.durable_log.log import DurableLog
from gal_friday.durable_log.segments import HEADER_BYTES, RECORD_BYTES, header
from gal_friday.errors import LogCorrupted, LogFull, LogInUse, LogUnwritable
from tests.concurrency import at_once
from tests.journaling import (
    PLENTY,
    Writer,
    a_log,
    copy_of,
    files_no_larger_than,
    only_segment,
    payloads_in,
    segments_in,
)
from tests.waiting import until

CUTS = 1_000
KILLS = int(os.environ.get("GAL_FRIDAY_TEST_JOURNAL_KILLS", "20"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


async def a_segment(directory: Path, payloads: Sequence[bytes]) -> bytes:
    """The bytes of a segment that holds *payloads*, each synced by itself."""
    async with a_log(directory) as log:
        for payload in payloads:
            await log.append([payload])
    return only_segment(directory).read_bytes()


async def test_what_is_appended_is_read_in_order_until_it_is_delivered(directory: Path) -> None:
    async with a_log(directory, segment_bytes=500) as log:
        assert [await log.append([b"a", b"b"]), await log.append([b"c"])] == [1, 3]
        assert [each.payload for each in await log.read(limit=2)] == [b"a", b"b"]
        await log.advance(2)
        for number in range(50):
            await log.append([b"%d" % number])
        assert (log.pending, log.delivered) == (51, 2)
        read = [each for after in range(2, 53, 7) for each in await log.read(after, limit=7)]
        assert [each.sequence for each in read] == list(range(3, 54))
        assert [each.payload for each in read] == [b"c", *(b"%d" % number for number in range(50))]
        await log.advance(40)
        assert min(int(path.stem) for path in segments_in(directory)) > 30
        assert log.bytes == sum(path.stat().st_size for path in segments_in(directory))
        await log.advance(53)
        assert (log.pending, log.bytes, await log.read()) == (0, 0, [])
    assert segments_in(directory) == []


async def test_numbers_go_on_after_everything_was_delivered(directory: Path) -> None:
    for number in range(1, 4):
        async with a_log(directory) as log:
            assert await log.append([b"x"]) == number
            await log.advance(number)
            await log.advance(1)  # it never goes back
            assert log.delivered == number


async def test_what_was_read_and_not_delivered_is_read_again(directory: Path) -> None:
    async with a_log(directory) as log:
        await log.append([b"a", b"b"])
        await log.read()
        await log.advance(1)
    assert await payloads_in(directory) == [b"b"]


async def test_an_empty_log_leaves_nothing_behind(directory: Path) -> None:
    for waits in (True, False):
        log = await DurableLog.open(directory, max_bytes=PLENTY)
        if waits:
            await log.append([b"a"])
        else:
            await log.advance(1)
        await log.close(remove_if_empty=True)
        assert await asyncio.to_thread(directory.exists) is waits


async def test_those_who_append_at_the_same_time_share_one_sync(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, real = 0, log_files.sync

    def counted(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        real(fd)

    monkeypatch.setattr(log_files, "sync", counted)
    async with a_log(directory) as log:
        assert sorted(await at_once(lambda number: log.append([b"%d" % number]), 64)) == list(range(1, 65))
    assert syncs <= 2


async def test_a_slow_disk_does_not_hold_up_the_event_loop(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_is_back = threading.Event()
    monkeypatch.setattr(log_files, "sync", lambda _: disk_is_back.wait())
    async with a_log(directory) as log:
        appending = asyncio.create_task(log.append([b"a"]))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not appending.done()
        assert log.pending == 1
        disk_is_back.set()
        assert await appending == 1


async def test_a_record_cut_off_at_any_byte_is_gone_and_the_ones_before_it_are_not(
    directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    payloads = [b"first", b"second", b"the last one"]
    content = await a_segment(directory, payloads)
    start = len(content) - RECORD_BYTES - len(payloads[-1])
    for cut in range(start, len(content)):
        torn = copy_of(directory, tmp_path / f"torn-{cut}")
        only_segment(torn).write_bytes(content[:cut])
        caplog.clear()
        assert await payloads_in(torn) == payloads[:-1]
        assert [record.offset for record in caplog.records] == ([start] if cut > start else [])  # type: ignore[attr-defined]  # of `extra`
        async with a_log(torn) as log:
            assert await log.append([b"next"]) == 3
        assert await payloads_in(torn) == [*payloads[:-1], b"next"]


async def test_cut_at_a_thousand_random_bytes_nothing_is_lost_and_nothing_is_doubled(directory: Path) -> None:
    source = random.Random(1)
    payloads = [b"%d-" % number + source.randbytes(source.randrange(200)) for number in range(60)]
    content = await a_segment(directory, payloads)
    segment = only_segment(directory)
    ends = [HEADER_BYTES]
    for payload in payloads:
        ends.append(ends[-1] + RECORD_BYTES + len(payload))
    for _ in range(CUTS):
        cut = source.randrange(len(content) + 1)
        segment.write_bytes(content[:cut])
        whole = sum(end <= cut for end in ends[1:])
        assert await payloads_in(directory) == payloads[:whole]


async def test_a_bit_that_flipped_is_named_unless_nothing_was_written_after_it(directory: Path) -> None:
    source = random.Random(2)
    payloads = [b"%d-" % number + source.randbytes(source.randrange(100)) for number in range(20)]
    content = await a_segment(directory, payloads)
    segment = only_segment(directory)
    last = len(content) - RECORD_BYTES - len(payloads[-1])
    for _ in range(200):
        place = source.randrange(last)
        damaged = bytearray(content)
        damaged[place] ^= 1 << source.randrange(8)
        segment.write_bytes(damaged)
        with pytest.raises(LogCorrupted) as caught:
            await DurableLog.open(directory, max_bytes=PLENTY)
        assert caught.value.facts["file"] == str(segment)
        assert 0 <= caught.value.facts["offset"] <= place  # type: ignore[operator]  # facts are objects
        assert caught.value.facts["expected_checksum"] != caught.value.facts[
            "found_checksum"
        ] or "whole" in str(caught.value)
        assert segment.read_bytes() == damaged, "nothing is repaired by guessing"
        rest = [each.payload for each in salvage(directory)]
        assert len(rest) >= len(payloads) - 1
        assert Counter(rest) <= Counter(payloads)


async def test_a_write_of_several_records_that_was_never_synced_is_cut_off_whole_or_in_part(
    directory: Path,
) -> None:
    """A power cut may leave the end of a write on the disk and not its beginning."""
    async with a_log(directory) as log:
        await log.append([b"synced"])
        await log.append([b"not", b"synced", b"at all"])
    content = bytearray(only_segment(directory).read_bytes())
    place = content.index(b"not")
    content[place : place + 3] = bytes(3)
    only_segment(directory).write_bytes(content)
    assert await payloads_in(directory) == [b"synced"]


async def test_damage_in_a_segment_that_is_not_the_last_is_never_a_torn_tail(directory: Path) -> None:
    async with a_log(directory, segment_bytes=150) as log:
        for number in range(12):
            await log.append([b"%d" % number * 20])
    first, second, *_ = segments_in(directory)
    content = first.read_bytes()
    for damaged in (content[:-1], content[: -RECORD_BYTES - 20], content[:5], b"", bytes(len(content))):
        first.write_bytes(damaged)
        with pytest.raises(LogCorrupted):
            await DurableLog.open(directory, max_bytes=PLENTY)
    first.write_bytes(content)
    kept = second.read_bytes()
    second.unlink()
    with pytest.raises(LogCorrupted, match="missing"):
        await DurableLog.open(directory, max_bytes=PLENTY)
    second.write_bytes(kept)
    assert len(await payloads_in(directory)) == 12


async def test_the_first_segment_cannot_go_unnoticed(directory: Path) -> None:
    async with a_log(directory, segment_bytes=150) as log:
        for number in range(12):
            await log.append([b"%d" % number * 20])
        await log.advance(1)
    min(segments_in(directory)).unlink()
    with pytest.raises(LogCorrupted, match="missing"):
        await DurableLog.open(directory, max_bytes=PLENTY)


async def test_a_segment_of_another_kind_or_version_is_refused(directory: Path) -> None:
    content = await a_segment(directory, [b"a", b"b"])
    only_segment(directory).write_bytes(header(7) + content[HEADER_BYTES:])
    with pytest.raises(LogCorrupted, match="another kind"):
        await DurableLog.open(directory, max_bytes=PLENTY)


async def test_a_record_that_rots_while_it_waits_is_named_when_it_is_read(directory: Path) -> None:
    async with a_log(directory) as log:
        await log.append([b"a"])
        await log.append([b"b"])
        content = only_segment(directory).read_bytes()
        only_segment(directory).write_bytes(content[:-1] + b"c")
        with pytest.raises(LogCorrupted) as caught:
            await log.read(1)
        assert caught.value.facts["offset"] == len(content) - RECORD_BYTES - 1
        only_segment(directory).write_bytes(content[:HEADER_BYTES])
        with pytest.raises(LogCorrupted, match="missing"):
            await log.read()


async def test_a_damaged_cursor_is_an_error_that_says_what_to_do(directory: Path) -> None:
    async with a_log(directory) as log:
        await log.append([b"a", b"b"])
        await log.advance(1)
    (directory / "delivered").write_text("2 00000000\n")
    with pytest.raises(LogCorrupted, match="delete the file"):
        await DurableLog.open(directory, max_bytes=PLENTY)
    assert [each.payload for each in salvage(directory)] == [b"a", b"b"]
    (directory / "delivered").unlink()
    assert await payloads_in(directory) == [b"a", b"b"]


async def test_a_crash_between_the_cursor_and_the_removal_of_segments_does_no_harm(
    directory: Path, tmp_path: Path
) -> None:
    async with a_log(directory, segment_bytes=150) as log:
        for number in range(12):
            await log.append([b"%d" % number * 20])
        before = copy_of(directory, tmp_path / "before")
        await log.advance(12)
    (before / "delivered").write_bytes((directory / "delivered").read_bytes())
    assert await payloads_in(before) == []
    assert segments_in(before) == []
    async with a_log(before) as log:
        assert await log.append([b"next"]) == 13


async def test_a_log_has_one_owner_who_is_named(directory: Path) -> None:
    async with a_log(directory):
        with pytest.raises(LogInUse) as caught:
            await DurableLog.open(directory, max_bytes=PLENTY)
        assert caught.value.facts["pid"] == os.getpid() == owner_of(directory)
    writer = Writer("tests.log_writer", str(directory))
    writer.acknowledged(1)
    with pytest.raises(LogInUse) as caught:
        await DurableLog.open(directory, max_bytes=PLENTY)
    assert caught.value.facts["pid"] == writer.pid
    writer.kill()
    assert owner_of(directory) is None
    assert await payloads_in(directory)


async def test_a_writer_killed_at_any_moment_has_lost_nothing_it_acknowledged(directory: Path) -> None:
    source = random.Random(3)
    acknowledged: set[str] = set()
    stored: set[str] = set()
    for _ in range(KILLS):
        writer = Writer("tests.log_writer", str(directory))
        before = await asyncio.to_thread(writer.acknowledged, source.randrange(1, 200))
        lines = {*before, *await asyncio.to_thread(writer.kill)}
        async with a_log(directory) as log:
            records = await log.read(limit=1_000_000)
            assert len({each.sequence for each in records}) == len(records)
            found = Counter(each.payload.decode().rpartition("-")[0] for each in records)
            assert lines <= found.keys()
            assert set(found.values()) == {1}
            await log.advance(records[-1].sequence)
        acknowledged |= lines
        stored |= found.keys()
    assert acknowledged <= stored


async def test_a_full_disk_is_an_error_and_what_was_written_in_part_is_gone(directory: Path) -> None:
    async with a_log(directory) as log:
        await log.append([b"a" * 1000])
        with files_no_larger_than(1500):
            for _ in range(3):
                with pytest.raises(LogFull):
                    await log.append([b"b" * 1000])
            assert only_segment(directory).stat().st_size == HEADER_BYTES + RECORD_BYTES + 1000
            assert await log.append([b"c"]) == 2
        assert await log.append([b"d" * 1000]) == 3
    assert [payload[:1] for payload in await payloads_in(directory)] == [b"a", b"c", b"d"]


async def test_a_disk_that_is_full_from_the_beginning_leaves_no_file(directory: Path) -> None:
    async with a_log(directory) as log:
        with files_no_larger_than(10), pytest.raises(LogFull):
            await log.append([b"a"])
        assert segments_in(directory) == []
        assert await log.append([b"a"]) == 1


@pytest.mark.parametrize("truncate_fails", [False, True])
async def test_after_a_failed_sync_nothing_is_claimed_and_another_file_is_begun(
    directory: Path, monkeypatch: pytest.MonkeyPatch, truncate_fails: bool
) -> None:
    """The kernel reports a failed write once, and takes the pages for clean afterwards."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with a_log(directory) as log:
        await log.append([b"a"])
        with monkeypatch.context() as broken:
            broken.setattr(log_files, "sync", fail)
            if truncate_fails:
                broken.setattr(os, "ftruncate", fail)
            for _ in range(2):
                with pytest.raises(LogUnwritable, match="Input/output error"):
                    await log.append([b"lost"])
            assert log.pending == 1
            with pytest.raises(LogUnwritable):
                await log.advance(1)
        assert await log.append([b"b"]) == 2
        assert [each.payload for each in await log.read()] == [b"a", b"b"]
    assert [path.name for path in segments_in(directory)] == [f"{n:020}.log" for n in (1, 2)]
    assert await payloads_in(directory) == [b"a", b"b"]


async def test_beyond_its_size_a_log_refuses_or_drops_the_oldest_and_counts_them(directory: Path) -> None:
    async with a_log(directory / "refusing", max_bytes=2_000) as log:
        for _ in range(8):
            await log.append([b"x" * 200])
        small, large = await asyncio.gather(
            log.append([b"small"]), log.append([b"x" * 1000]), return_exceptions=True
        )
        assert small == 9
        assert isinstance(large, LogFull)
        assert large.facts["max_bytes"] == 2_000
        await log.advance(8)
        assert await log.append([b"x" * 200]) == 10
    async with a_log(directory / "dropping", max_bytes=2_000, drop_oldest=True) as log:
        for number in range(30):
            await log.append([b"%d" % number * 100])
        assert log.dropped + log.pending == 30
        assert 0 < log.bytes <= 2_000
        assert (await log.read())[-1].payload == b"29" * 100
        left = log.pending
    async with a_log(directory / "dropping", max_bytes=2_000, drop_oldest=True) as log:
        assert log.pending == left
        with pytest.raises(LogFull):
            await log.append([b"x" * 3_000])
        assert (log.pending, log.dropped) == (0, left)


async def test_whoever_gives_up_waiting_leaves_the_log_in_order(directory: Path) -> None:
    async with a_log(directory) as log:
        tasks = [asyncio.create_task(log.append([b"%d" % number])) for number in range(10)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [answers[number] for number in range(1, 10, 2)] == [2, 4, 6, 8, 10]
        assert len(await log.read()) == 10
    with pytest.raises(LogUnwritable, match="closed"):
        await log.append([b"late"])


async def test_an_opening_that_is_broken_off_gives_the_log_back(directory: Path) -> None:
    for _ in range(5):
        opening = asyncio.create_task(DurableLog.open(directory, max_bytes=PLENTY))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    async def is_free() -> bool:
        try:
            log = await DurableLog.open(directory, max_bytes=PLENTY)
        except LogInUse:
            return False
        await log.close()
        return True

    await until(is_free, "the lock is given back")


async def test_a_place_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LogUnwritable):
        await DurableLog.open(tmp_path / "file" / "log", max_bytes=PLENTY)
    assert look_into(tmp_path).pending == 0


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_done_to_a_log_it_is_what_a_list_would_be(directory: Path, seed: int) -> None:
    source = random.Random(seed)
    expected: list[bytes] = []
    delivered = 0
    log = await DurableLog.open(directory, max_bytes=PLENTY, segment_bytes=300)
    for step in range(300):
        match source.choice(("append", "append", "read", "advance", "reopen", "crash")):
            case "append":
                batch = [
                    b"%d-%d" % (step, n) + bytes(source.randrange(60)) for n in range(source.randrange(1, 4))
                ]
                assert await log.append(batch) == len(expected) + 1
                expected += batch
            case "read":
                after = source.randrange(delivered, len(expected) + 1)
                limit = source.randrange(1, 9)
                read = [each.payload for each in await log.read(after, limit=limit)]
                assert read == expected[after : after + len(read)]
                assert read or after == len(expected)
            case "advance" if expected:
                delivered = source.randrange(delivered, len(expected) + 1)
                await log.advance(delivered)
            case "reopen":
                await log.close()
                log = await DurableLog.open(directory, max_bytes=PLENTY, segment_bytes=300)
            case "crash":
                await log.close()
                if segments := segments_in(directory):
                    with segments[-1].open("ab") as file:
                        file.write(source.randbytes(source.randrange(40)))
                log = await DurableLog.open(directory, max_bytes=PLENTY, segment_bytes=300)
        assert log.pending == len(expected) - delivered
    await log.close()
