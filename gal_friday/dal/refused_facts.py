"""Facts the database refused: set aside in a file, each with the reason, until a person has looked."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from gal_friday.dal.models.types import dumps
from gal_friday.locks import Deadline, FileLock
from gal_friday.log_files import sync, sync_directory

FILE = "refused.jsonl"
_LOCK_SECONDS = 30.0


class RefusedFacts:
    """The file `refused.jsonl` in a journal's directory: one JSON object a line. Everything here blocks."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def add(self, fact: bytes, reason: str) -> None:
        """Put *fact* aside, to outlast a power cut. Raises OSError."""
        entry = {"refused_at": datetime.now(UTC).isoformat(), "reason": reason, "fact": shown(fact)}
        is_new = not self.path.exists()
        with FileLock(self.path) as file:
            file.exclusive(Deadline(_LOCK_SECONDS))
            end = os.lseek(file.fd, 0, os.SEEK_END)
            is_cut = end and os.pread(file.fd, 1, end - 1) != b"\n"  # a crash broke the last line off
            os.pwrite(file.fd, b"\n" * bool(is_cut) + dumps(entry).encode() + b"\n", end)
            sync(file.fd)
        if is_new:
            sync_directory(self.path.parent)

    def lines(self) -> list[bytes]:
        """What was set aside, as it is in the file, oldest first."""
        return self.path.read_bytes().splitlines() if self.path.exists() else []

    def facts(self) -> list[bytes]:
        """The facts alone, as they were in the journal; a line that a crash broke off is none."""
        return [fact for line in self.lines() if (fact := _fact_in(line)) is not None]

    def forget(self) -> None:
        """Remove the file: its facts are in the journal again."""
        self.path.unlink(missing_ok=True)


def shown(fact: bytes) -> object:
    """*fact* as the JSON it is, or as text where it is none."""
    try:
        return json.loads(fact)
    except ValueError:
        return fact.decode(errors="backslashreplace")


def _fact_in(line: bytes) -> bytes | None:
    try:
        fact = json.loads(line)["fact"]
    except (ValueError, KeyError, TypeError):
        return None
    return fact.encode() if isinstance(fact, str) else dumps(fact).encode()
