"""Facts the database refused: set aside in a file, each with the reason, until a person has looked."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from gal_friday.dal.models.types import dumps
from gal_friday.durable_log.files import sync, sync_directory, unwritable, write_all
from gal_friday.errors import LogInUse
from gal_friday.locks import Deadline, FileLock

FILE = "refused.jsonl"
_LOCK_SECONDS = 30.0


class RefusedFacts:
    """The file `refused.jsonl` in a journal's directory: one JSON object a line. Everything here blocks."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def add(self, fact: bytes, reason: str) -> None:
        """Put *fact* aside, to outlast a power cut. Raises LogFull, LogUnwritable and LogInUse."""
        entry = {"refused_at": datetime.now(UTC).isoformat(), "reason": reason, "fact": shown(fact)}
        try:
            with self.locked() as file:
                end = os.lseek(file.fd, 0, os.SEEK_END)
                is_cut = end and os.pread(file.fd, 1, end - 1) != b"\n"  # a crash broke the last line off
                write_all(file.fd, b"\n" * bool(is_cut) + dumps(entry).encode() + b"\n", end)
                sync(file.fd)
                sync_directory(self.path.parent)
        except OSError as error:
            raise unwritable(error, self.path.parent) from error

    def locked(self) -> FileLock:
        """The file, made if missing, in the hands of this process until it is closed. Raises LogInUse."""
        deadline = Deadline(_LOCK_SECONDS)
        while True:
            file = FileLock(self.path)
            if not file.exclusive(deadline):
                file.close()
                raise LogInUse(file=str(self.path))
            if self.path.exists() and os.fstat(file.fd).st_ino == self.path.stat().st_ino:
                return file
            file.close()  # it was emptied and removed meanwhile

    def lines(self) -> list[bytes]:
        """What was set aside, as it is in the file, oldest first. Raises LogUnwritable."""
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unwritable(error, self.path.parent) from error

    def facts(self) -> list[bytes]:
        """The facts alone, as they were in the journal; a line that a crash broke off is none."""
        return [fact for line in self.lines() if (fact := _fact_in(line)) is not None]


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
