"""The bytes of a durable log: segments of records, each with its checksum.

A segment begins with a header (magic, version, number of its first record, CRC-32). A record is a marker, the
length of its payload, its number, the number its batch began with, a CRC-32 over all that, and the payload.
What was written in one go and synced in one go is a batch: a record of a later batch proves that the ones
before it had been synced.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gal_friday.errors import LogCorrupted

VERSION = 1
_MAGIC, _MARKER = b"GFRIDLOG", b"\xf1rec"
_HEADER = struct.Struct("<8sHQ")
_RECORD = struct.Struct("<4sIQQ")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CHECKSUM.size
RECORD_BYTES = _RECORD.size + _CHECKSUM.size
_NAME = re.compile(r"\d{20}\.log")


@dataclass(frozen=True, slots=True)
class Record:
    """A payload, and its number in the log."""

    sequence: int
    payload: bytes


class Damage(Exception):
    """Bytes that are not what was written there."""

    def __init__(
        self, offset: int, explanation: str, *, expected: int | None = None, found: int | None = None
    ) -> None:
        super().__init__(offset, explanation)
        self.offset = offset
        self.explanation = explanation
        self.expected_checksum = expected
        self.found_checksum = found

    def in_file(self, path: Path) -> LogCorrupted:
        """The error that names the place; checksums as they are written in hexadecimal."""
        return LogCorrupted(
            self.explanation,
            file=str(path),
            offset=self.offset,
            expected_checksum=_hex(self.expected_checksum),
            found_checksum=_hex(self.found_checksum),
        )


def segment_path(directory: Path, first: int) -> Path:
    """Where the segment is whose first record has the number *first*."""
    return directory / f"{first:020}.log"


def segment_paths(directory: Path) -> dict[int, Path]:
    """The segments in *directory* by the number of their first record, oldest first."""
    found = sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
    return {int(path.stem): path for path in found}


def header(first: int) -> bytes:
    """What a segment begins with."""
    plain = _HEADER.pack(_MAGIC, VERSION, first)
    return plain + _CHECKSUM.pack(zlib.crc32(plain))


def check_header(content: bytes, first: int) -> None:
    """Raise Damage unless *content* begins as a segment does whose first record is *first*."""
    if len(content) < HEADER_BYTES:
        raise Damage(0, "the header is not whole")
    plain = content[: _HEADER.size]
    (expected,) = _CHECKSUM.unpack_from(content, _HEADER.size)
    if (found := zlib.crc32(plain)) != expected:
        raise Damage(0, "the header is not as it was written", expected=expected, found=found)
    magic, version, number = _HEADER.unpack(plain)
    if (magic, version, number) != (_MAGIC, VERSION, first):
        raise Damage(0, f"a segment of another kind or version: {magic!r} {version}, from record {number}")


def encode(payload: bytes, sequence: int, batch: int) -> bytes:
    """A record as it is written."""
    plain = _RECORD.pack(_MARKER, len(payload), sequence, batch)
    return b"".join((plain, _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(plain))), payload))


def records(content: bytes, sequence: int, offset: int) -> Iterator[tuple[Record, int]]:
    """The records of *content* from the one numbered *sequence* at *offset*, each with where it ends.

    Raises Damage at the first that is not as it was written.
    """
    while offset < len(content):
        number, _, payload, end = _decode(content, offset)
        if number != sequence:
            raise Damage(offset, f"record {number} stands where {sequence} belongs")
        yield Record(number, payload), end
        sequence, offset = sequence + 1, end


def was_synced(content: bytes, sequence: int, offset: int) -> bool:
    """Whether a record further on proves that the one numbered *sequence*, at *offset*, had been synced."""
    while (offset := content.find(_MARKER, offset + 1)) >= 0:
        try:
            _, batch, _, _ = _decode(content, offset)
        except Damage:  # a payload may contain the marker
            continue
        if batch > sequence:
            return True
    return False


def salvaged(content: bytes) -> Iterator[Record]:
    """Every record of *content* that is as it was written, whatever lies between them."""
    offset = content.find(_MARKER)
    while offset >= 0:
        try:
            sequence, _, payload, end = _decode(content, offset)
        except Damage:
            end = offset + 1
        else:
            yield Record(sequence, payload)
        offset = content.find(_MARKER, end)


def _decode(content: bytes, offset: int) -> tuple[int, int, bytes, int]:
    """Number, batch, payload and end of the record at *offset*. Raises Damage."""
    start = offset + RECORD_BYTES
    if len(content) < start:
        raise Damage(offset, "the record is not whole")
    _, length, sequence, batch = _RECORD.unpack_from(content, offset)
    (expected,) = _CHECKSUM.unpack_from(content, offset + _RECORD.size)
    if len(content) < start + length:
        raise Damage(offset, "the record is not whole")
    payload = content[start : start + length]
    found = zlib.crc32(payload, zlib.crc32(content[offset : offset + _RECORD.size]))
    if found != expected:
        raise Damage(offset, "the record is not as it was written", expected=expected, found=found)
    return sequence, batch, payload, start + length


def _hex(checksum: int | None) -> str | None:
    return None if checksum is None else f"{checksum:08x}"
