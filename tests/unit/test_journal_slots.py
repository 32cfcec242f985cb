"""Slots of the journal: what lies in them, and in which order it is delivered."""

from pathlib import Path

import pytest

from gal_friday.dal.journal.refused import RefusedFacts
from gal_friday.dal.journal.slots import standing
from gal_friday.dal.journal.stats import JournalStats
from gal_friday.errors import LogUnwritable
from tests.journaling import a_log, only_segment


def files_in(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_what_lies_in_a_journal_is_told_without_touching_it(tmp_path: Path) -> None:
    assert standing(tmp_path / "journal") == JournalStats()
    RefusedFacts(tmp_path).add(b"{}", "why")
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
