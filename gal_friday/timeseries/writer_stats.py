"""What a writer counts."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class WriterStats:
    """Figures of one process's writer, since it was opened, in points.

    Of those `accepted`, `buffered` are in memory. `spooled` went to the disk; `pending` wait there now and
    take `bytes`, among them what is left of those `adopted` from processes that ended. `delivered` are with
    the store. `refused` were set aside, as the store takes them never; `dropped` are lost, for want of
    room. `failures` counts the times a batch did not get to the store or to the disk, `last_error` says
    why, None while they do. `damaged` are files that cannot be read to the end.
    """

    accepted: int = 0
    buffered: int = 0
    adopted: int = 0
    spooled: int = 0
    pending: int = 0
    bytes: int = 0
    delivered: int = 0
    refused: int = 0
    dropped: int = 0
    failures: int = 0
    damaged: tuple[str, ...] = ()
    last_error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)
