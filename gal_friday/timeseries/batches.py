"""Batches: points on their way to a store, as gzip'd line protocol."""

import gzip
import struct
import time
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from gal_friday.errors import InvalidValue

# Line protocol repeats itself so much that a higher level costs more time than it saves room.
_LEVEL = 1
_HEAD = struct.Struct("<QI")


@dataclass(frozen=True, slots=True)
class Batch:
    """*points* many points, put together at *made_ns* (nanoseconds since 1970), as gzip'd *content*."""

    made_ns: int
    points: int
    content: bytes

    @classmethod
    def of(cls, lines: bytes, points: int) -> Self:
        """The batch of *lines*, which are *points* many. Takes its time: for a thread."""
        return cls(time.time_ns(), points, gzip.compress(lines, _LEVEL, mtime=0))

    def lines(self) -> bytes:
        """The points as line protocol. Raises InvalidValue where the content is not whole."""
        try:
            return gzip.decompress(self.content)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidValue(f"not gzip'd line protocol: {error}") from None

    def encode(self) -> bytes:
        """The batch as a record of a durable log."""
        return _HEAD.pack(self.made_ns, self.points) + self.content

    @classmethod
    def decode(cls, record: bytes) -> Self:
        """The batch in *record*; where that is none, its lines cannot be read."""
        if len(record) < _HEAD.size:
            return cls(0, 0, record)
        made_ns, points = _HEAD.unpack_from(record)
        return cls(made_ns, points, record[_HEAD.size :])


def points_in(record: bytes) -> int:
    """How many points *record* has; 0 where it is no batch."""
    return int(_HEAD.unpack_from(record)[1]) if len(record) >= _HEAD.size else 0


def made_at(record: bytes) -> datetime | None:
    """When *record* was put together, None where it does not say."""
    if len(record) < _HEAD.size:
        return None
    made_ns, _ = _HEAD.unpack_from(record)
    return datetime.fromtimestamp(made_ns / 1e9, UTC)
