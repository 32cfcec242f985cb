"""Records that were refused: set aside in a file, each with the reason, until a person has looked."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gal_friday.durable_log.files import sync, sync_directory, unwritable, write_all
from gal_friday.errors import LogInUse
from gal_friday.locks import Deadline, FileLock

FILE = "refused.jsonl"
_LOCK_SECONDS = 30.0


class RefusedRecords:
    """The file `refused.jsonl` in a directory of slots: one JSON object a line. Everything here blocks.

    Each has its record under *name*.
    """

    def __init__(self, directory: Path, name: str = "fact", *, max_bytes: int | None = None) -> None:
        self.path = directory / FILE
        self._name = name
        self._max_bytes = max_bytes

    def add(self, record: bytes, reason: str) -> None:
        """Put *record* aside, to outlast a power cut. Raises LogFull, LogUnwritable and LogInUse."""
        self.add_all([(record, reason)])

    def add_all(self, refused: Sequence[tuple[bytes, str]]) -> bool:
        """Put records aside, each with its reason, in one write; False where the file may not grow further.

        Raises as `add` does.
        """
        now = datetime.now(UTC).isoformat()
        entries = [{"refused_at": now, "reason": why, self._name: shown(record)} for record, why in refused]
        lines = "".join(f"{_dumps(entry)}\n" for entry in entries).encode()
        try:
            with self.locked() as file:
                end = os.lseek(file.fd, 0, os.SEEK_END)
                if self._max_bytes is not None and end + len(lines) > self._max_bytes:
                    return False
                is_cut = end and os.pread(file.fd, 1, end - 1) != b"\n"  # a crash broke the last line off
                write_all(file.fd, b"\n" * bool(is_cut) + lines, end)
                sync(file.fd)
                sync_directory(self.path.parent)
        except OSError as error:
            raise unwritable(error, self.path.parent) from error
        return True

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

    def records(self) -> list[bytes]:
        """The records alone, as they were in their log; a line that a crash broke off is none."""
        return [record for line in self.lines() if (record := _record_in(line, self._name)) is not None]


def shown(record: bytes) -> object:
    """*record* as the JSON it is, or as text where it is none."""
    try:
        return json.loads(record)
    except ValueError:
        return record.decode(errors="backslashreplace")


def _record_in(line: bytes, name: str) -> bytes | None:
    try:
        record = json.loads(line)[name]
    except (ValueError, KeyError, TypeError):
        return None
    return record.encode() if isinstance(record, str) else _dumps(record).encode()


def _dumps(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
