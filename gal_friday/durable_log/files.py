"""The files of a durable log. Everything here blocks, and is for one thread at a time."""

import errno
import logging
import os
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from gal_friday.durable_log.contents import CURSOR, LOCK, Segment, damage_named, look_into, pid_in
from gal_friday.durable_log.segments import HEADER_BYTES, Record, encode, header, records, segment_path
from gal_friday.errors import LogCorrupted, LogFull, LogInUse, LogUnwritable
from gal_friday.locks import FileLock

if sys.platform != "win32":
    import fcntl

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

log = logging.getLogger(__name__)


class LogFiles:
    """A log's files in the hands of their owner."""

    def __init__(self, directory: Path, *, max_bytes: int, segment_bytes: int, drop_oldest: bool) -> None:
        """Take possession of *directory*, made if missing, and bring its contents in order.

        Raises LogInUse, LogCorrupted, and LogUnwritable.
        """
        self.directory = directory
        self.dropped = 0
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._drop_oldest = drop_oldest
        self._fd: int | None = None  # of the last segment, while it is being written to
        self._place = (0, 0)  # where reading goes on: number of a record, its offset
        try:
            self._lock = _locked(directory)
        except OSError as error:
            raise unwritable(error, directory) from error
        try:
            self.contents = look_into(directory)
            self._tidy()
        except OSError as error:
            self._lock.close()
            raise unwritable(error, directory) from error
        except BaseException:
            self._lock.close()
            raise

    def append(self, groups: Sequence[Sequence[bytes]]) -> list[int | LogFull]:
        """Write all of *groups* and sync once; for each its first record's number, or why it has no room.

        Raises LogFull or LogUnwritable where the file system does not take them; then none of them count.
        """
        batch = sequence = self.contents.last + 1
        chosen: list[bytes] = []
        answers: list[int | LogFull] = []
        size = 0
        for payloads in groups:
            encoded = b"".join(
                encode(payload, number, batch) for number, payload in enumerate(payloads, sequence)
            )
            needed = size + len(encoded)
            if full := self._make_room(needed + HEADER_BYTES):
                answers.append(full)
                continue
            answers.append(sequence)
            chosen.append(encoded)
            size = needed
            sequence += len(payloads)
        if chosen:
            try:
                self._write(b"".join(chosen), batch, sequence - 1)
            except OSError as error:
                raise unwritable(error, self.directory) from error
        return answers

    def read(self, after: int, limit: int) -> list[Record]:
        """At most *limit* records after the one numbered *after*, in order.

        Raises LogCorrupted, and LogUnwritable where the file system does not give them.
        """
        found: list[Record] = []
        try:
            for segment in self.contents.segments:
                if segment.last > after and len(found) < limit:
                    found += self._read_from(segment, after + 1, limit - len(found))
                    after = found[-1].sequence
        except OSError as error:
            raise unwritable(error, self.directory) from error
        return found

    def advance(self, sequence: int) -> None:
        """Put on disk that everything up to *sequence* is delivered, and remove the segments that had it."""
        if sequence <= self.contents.delivered:
            return
        try:
            _write_cursor(self.directory / CURSOR, sequence)
            self.contents.delivered = sequence
            while self.contents.segments and self.contents.segments[0].last <= sequence:
                self._remove_oldest()
        except OSError as error:
            raise unwritable(error, self.directory) from error

    def close(self, *, remove_if_empty: bool = False) -> None:
        """Give the log up; with *remove_if_empty* its directory goes unless something waits in it."""
        self._seal()
        if remove_if_empty and not self.contents.segments:
            (self.directory / CURSOR).unlink(missing_ok=True)
            (self.directory / LOCK).unlink()
            with suppress(OSError):  # something else lies there
                self.directory.rmdir()
        self._lock.close()

    def _read_from(self, segment: Segment, first: int, limit: int) -> list[Record]:
        first = max(first, segment.first)
        sequence, offset = self._place if self._place[0] == first else (segment.first, HEADER_BYTES)
        if first == segment.first:
            offset = HEADER_BYTES
        with segment.path.open("rb") as file:
            file.seek(offset)
            content = bytes(offset) + file.read(segment.size - offset)
        following = damage_named(records(content, sequence, offset), segment.path)
        found = list(islice(following, first - sequence, first - sequence + limit))
        if not found:
            raise LogCorrupted("records are missing at the end of this file", file=str(segment.path))
        last, end = found[-1]
        self._place = (last.sequence + 1, end)
        return [record for record, _ in found]

    def _tidy(self) -> None:
        """Cut off what a crash left unfinished and sync the rest: one may die between write and sync."""
        for path in self.contents.outdated:
            path.unlink()
        if torn := self.contents.torn:
            log.warning(
                "a write broken off was cut off", extra=torn.facts | {"explanation": torn.explanation}
            )
        segments = self.contents.segments
        if segments:
            with segments[-1].path.open("r+b") as file:
                file.truncate(segments[-1].size)
                sync(file.fileno())
        if segments and segments[0].first > self.contents.delivered + 1:
            lost = segments[0].first - self.contents.delivered - 1
            if not self._drop_oldest and self.contents.delivered:
                raise LogCorrupted(
                    "records are missing before this file",
                    file=str(segments[0].path),
                    expected=self.contents.delivered + 1,
                )
            self.dropped = lost if self.contents.delivered else 0
            self.contents.delivered = segments[0].first - 1

    def _make_room(self, needed: int) -> LogFull | None:
        """Room for *needed* more bytes, by dropping the oldest segments where that is the policy."""
        while self.contents.bytes + needed > self._max_bytes:
            if not self._drop_oldest or not self.contents.segments:
                return LogFull(
                    directory=str(self.directory),
                    bytes=self.contents.bytes,
                    needed=needed,
                    max_bytes=self._max_bytes,
                    pending=self.contents.pending,
                )
            dropped = self.contents.segments[0]
            lost = dropped.last - max(self.contents.delivered, dropped.first - 1)
            self.dropped += lost
            log.error("the oldest records were dropped", extra={"file": str(dropped.path), "records": lost})
            self.contents.delivered = max(self.contents.delivered, dropped.last)
            self._remove_oldest()
        return None

    def _remove_oldest(self) -> None:
        if len(self.contents.segments) == 1:
            self._seal()
        self.contents.segments.pop(0).path.unlink()

    def _write(self, data: bytes, first: int, last: int) -> None:
        if self._fd is not None and self.contents.segments[-1].size + len(data) > self._segment_bytes:
            self._seal()
        is_new = self._fd is None
        if is_new:
            self._begin(first)
            data = header(first) + data
        segment, fd = self.contents.segments[-1], self._fd
        assert fd is not None
        try:
            write_all(fd, data, segment.size)
        except OSError:
            self._undo(segment, may_go_on=True)
            raise
        try:
            sync(fd)
            if is_new:
                sync_directory(self.directory)
        except OSError:
            # What the kernel failed to write it takes for written from now on: this file is not used again.
            self._undo(segment, may_go_on=False)
            raise
        segment.last, segment.size = last, segment.size + len(data)

    def _begin(self, first: int) -> None:
        path = segment_path(self.directory, first)
        path.unlink(missing_ok=True)  # nothing in it ever counted
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.contents.segments.append(Segment(path, first, first - 1, 0))

    def _undo(self, segment: Segment, *, may_go_on: bool) -> None:
        """Cut off what was not written whole; where that fails, the next segment's first number tells."""
        assert self._fd is not None
        try:
            os.ftruncate(self._fd, segment.size)
        except OSError as error:
            log.warning("a broken write stays", extra={"file": str(segment.path), "error": str(error)})
            may_go_on = False
        if not segment.size:
            self._seal()
            self.contents.segments.pop()
            with suppress(OSError):
                segment.path.unlink()
        elif not may_go_on:
            self._seal()

    def _seal(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def sync(fd: int) -> None:
    """Return once what was written to *fd* is on the medium."""
    if sys.platform == "darwin":  # fsync(2) there leaves it in the drive's cache
        with suppress(OSError):  # file systems that have no F_FULLFSYNC
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
        os.fsync(fd)
    else:
        os.fdatasync(fd)


def sync_directory(directory: Path) -> None:
    """Return once the names in *directory* are on the medium."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(directory: Path) -> None:
    """Make *directory* and those above it that are missing, for the owner alone, to outlast a power cut."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        with suppress(PermissionError):  # where one may pass and make, and not look
            sync_directory(directory.parent)


def _locked(directory: Path) -> FileLock:
    while True:
        try:
            make_directory(directory)
            lock = FileLock(directory / LOCK)
        except FileNotFoundError:  # it was given up and removed meanwhile
            continue
        if not lock.try_exclusive():
            lock.close()
            raise LogInUse(directory=str(directory), pid=pid_in(directory / LOCK) or None)
        with suppress(FileNotFoundError):
            if os.fstat(lock.fd).st_ino == (directory / LOCK).stat().st_ino:
                os.ftruncate(lock.fd, 0)
                os.pwrite(lock.fd, f"{os.getpid()}\n".encode(), 0)
                return lock
        lock.close()


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of *data* to *fd* at *offset*, however much goes at a time."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _write_cursor(path: Path, sequence: int) -> None:
    number = str(sequence).encode()
    replacement = path.with_suffix(".new")
    with replacement.open("wb") as file:
        file.write(b"%s %08x\n" % (number, zlib.crc32(number)))
        file.flush()
        sync(file.fileno())
    replacement.replace(path)
    sync_directory(path.parent)


def unwritable(error: OSError, directory: Path) -> LogFull | LogUnwritable:
    """*error* of the file system, at *directory*, as ours."""
    kind = LogFull if error.errno in _NO_ROOM else LogUnwritable
    return kind(str(error), directory=str(directory))
