"""What lies in the directory of a durable log, and whose it is."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gal_friday.durable_log.segments import (
    HEADER_BYTES,
    Damage,
    Record,
    check_header,
    records,
    salvaged,
    segment_paths,
    was_synced,
)
from gal_friday.errors import LogCorrupted
from gal_friday.locks import is_held

LOCK, CURSOR = "lock", "delivered"


@dataclass(slots=True)
class Segment:
    """A file of records *first* to *last*, which end at byte *size*; what comes after does not count."""

    path: Path
    first: int
    last: int
    size: int


@dataclass(slots=True)
class Contents:
    """What lies in a log's directory; `torn` is where its last segment was being written when that ended."""

    delivered: int = 0
    segments: list[Segment] = field(default_factory=list)
    outdated: list[Path] = field(default_factory=list)
    torn: LogCorrupted | None = None

    @property
    def last(self) -> int:
        """The number of the last record."""
        return max(self.delivered, self.segments[-1].last if self.segments else 0)

    @property
    def pending(self) -> int:
        """How many records are yet to be delivered."""
        return self.last - max(self.delivered, self.segments[0].first - 1) if self.segments else 0

    @property
    def bytes(self) -> int:
        """What the segments take on disk."""
        return sum(segment.size for segment in self.segments)


def look_into(directory: Path) -> Contents:
    """What lies in *directory*, whoever owns it; changes nothing.

    Raises LogCorrupted, naming file, offset and checksums, for what cannot come from a crash.
    """
    contents = Contents(delivered=_read_cursor(directory / CURSOR))
    paths = segment_paths(directory)
    for first, following in zip(paths, [*list(paths)[1:], None], strict=False):
        path = paths[first]
        if following is not None and following <= contents.delivered + 1:
            contents.outdated.append(path)  # delivered before its removal was broken off
            continue
        if contents.segments and first != contents.last + 1:
            raise LogCorrupted(
                "records are missing before this file", file=str(path), expected=contents.last + 1
            )
        segment, torn = _scan(path, first, following)
        if torn is not None:
            contents.torn = torn
        if segment.last < first or segment.last <= contents.delivered:
            contents.outdated.append(path)
        else:
            contents.segments.append(segment)
    return contents


def salvage(directory: Path) -> Iterator[Record]:
    """Every record in *directory* that can be read and is not delivered, also around damage."""
    try:
        delivered = _read_cursor(directory / CURSOR)
    except LogCorrupted:
        delivered = 0
    for path in segment_paths(directory).values():
        yield from (each for each in salvaged(path.read_bytes()) if each.sequence > delivered)


def owner_of(directory: Path) -> int | None:
    """The process that owns the log in *directory*, 0 where it does not say; None if nobody does."""
    return pid_in(directory / LOCK) if is_held(directory / LOCK) else None


def pid_in(path: Path) -> int:
    """The process that has the lock *path* by its own word, else 0."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.strip().isdecimal() else 0


def _scan(path: Path, first: int, following: int | None) -> tuple[Segment, LogCorrupted | None]:
    """The segment in *path*; *following* is where the next one begins, None for the last one."""
    content = path.read_bytes()
    segment = Segment(path, first, first - 1, 0)
    try:
        check_header(content, first)
        segment.size = HEADER_BYTES
        for record, end in records(content, first, HEADER_BYTES):
            if record.sequence == following:
                break
            segment.last, segment.size = record.sequence, end
    except Damage as damage:
        if following is None and not was_synced(content, segment.last + 1, damage.offset):
            return segment, damage.in_file(path)
        if following is None or segment.last + 1 < following:
            raise damage.in_file(path) from None
    if following is not None and segment.last + 1 < following:
        raise LogCorrupted(
            "records are missing at the end of this file", file=str(path), expected=segment.last + 1
        )
    return segment, None


def damage_named(found: Iterator[tuple[Record, int]], path: Path) -> Iterator[tuple[Record, int]]:
    """*found*, and LogCorrupted where reading it from *path* finds Damage."""
    try:
        yield from found
    except Damage as damage:
        raise damage.in_file(path) from None


def _read_cursor(path: Path) -> int:
    """What was delivered. Raises LogCorrupted where the file is not as it was written."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    number, _, checksum = content.rstrip(b"\n").partition(b" ")
    if not number.isdigit() or checksum != b"%08x" % zlib.crc32(number):
        raise LogCorrupted(
            "delete the file to have everything delivered again",
            file=str(path),
            offset=0,
            expected_checksum=checksum.decode(errors="replace"),
            found_checksum=f"{zlib.crc32(number):08x}",
        )
    return int(number)
