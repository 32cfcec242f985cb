"""What a journal counts."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class JournalStats:
    """Figures of one process's journal, since it was opened.

    `pending` facts wait for the database and take `bytes` on disk. `journaled` were put in, `adopted` were
    left by processes that ended. `applied` took effect, `duplicates` had done so before. `refused` lie in
    `refused.jsonl`, whenever they were refused. `damaged` are files that cannot be read to the end.
    `last_error` is why delivery does not get on, None while it does.
    """

    pending: int = 0
    bytes: int = 0
    journaled: int = 0
    adopted: int = 0
    applied: int = 0
    duplicates: int = 0
    refused: int = 0
    damaged: tuple[str, ...] = ()
    last_error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)
