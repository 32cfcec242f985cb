"""Slots of the journal: what lies in them, and in which order it is delivered."""

from pathlib import Path

import pytest

from gal_friday.dal.journal.facts import Fact, ReportedFill, heard_at
from gal_friday.dal.journal.slots import standing
from gal_friday.dal.journal.stats import JournalStats
from gal_friday.durable_log.merging import first_of
from gal_friday.durable_log.refused import RefusedRecords
from gal_friday.durable_log.slots import claim
from gal_friday.errors import LogUnwritable
from tests.factories import MINUTE, NOON
from tests.journaling import PLENTY, a_log, only_segment


def files_in(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_what_lies_in_a_journal_is_told_without_touching_it(tmp_path: Path) -> None:
    assert standing(tmp_path / "journal") == JournalStats()
    RefusedRecords(tmp_path).add(b"{}", "why")
    (tmp_path / "3").mkdir()
    async with a_log(tmp_path / "0") as ended, a_log(tmp_path / "1") as rotten:
        await ended.append([b"delivered", b"one", b"two"])
        await ended.advance(1)
        await rotten.append([b"a"])
        await rotten.append([b"b"])
    damaged = only_segment(tmp_path / "1")
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    async with a_log(tmp_path / "2") as owned:
        await owned.append([b"three"])
        before = files_in(tmp_path)
        stats = standing(tmp_path)
        assert files_in(tmp_path) == before
        assert (stats.pending, stats.refused, stats.damaged) == (3, 1, (str(damaged),))
        assert stats.bytes == ended.bytes + owned.bytes


def test_a_journal_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "refused.jsonl").mkdir()
    with pytest.raises(LogUnwritable):
        standing(tmp_path)


def test_a_refused_fact_that_finds_no_room_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "refused.jsonl").mkdir()
    with pytest.raises(LogUnwritable):
        RefusedRecords(tmp_path).add(b"{}", "why")


def a_line(minute: float, name: str) -> bytes:
    return Fact(ReportedFill({"fill_id": name}), None, None, NOON + minute * MINUTE).encode()


async def test_what_processes_left_is_taken_in_the_order_it_was_heard_whoever_heard_it(
    tmp_path: Path,
) -> None:
    """A process that hung had slot 0, those after it the next; whoever comes now has slot 0 as its own."""
    left = [
        [a_line(0, "a"), a_line(2, "c"), a_line(4, "e")],
        [a_line(1, "b"), a_line(0.5, "by a clock set back"), b"none", b'{"heard_at": "2026-01-01T00:00:00"}'],
        [a_line(3, "d"), a_line(5, "f")],
    ]
    for slot, lines in enumerate(left):
        async with a_log(tmp_path / str(slot)) as log:
            await log.append(lines)
    slots = await claim(tmp_path, max_bytes=PLENTY)
    logs = [slots.own, *slots.adopted]
    try:
        assert slots.own.directory.name == "0"
        payloads = [each.record.payload for each in await first_of(logs, 100, heard_at)]
        a, c, e, b, clock, none, naive, d, f = [line for lines in left for line in lines]
        assert payloads == [a, b, clock, none, naive, c, d, e, f]
        assert [each.record for each in await first_of(logs, 2, heard_at)] == [
            (await log.read(limit=1))[0] for log in logs[:2]
        ]
        for log in logs:
            await log.advance(10)
        assert await first_of(logs, 100, heard_at) == []
    finally:
        for log in logs:
            await log.close()
