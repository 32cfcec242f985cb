"""A file as text, packed or not, and how much of it has been read."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from gal_friday.adapters.market_files.content import refuse

_GZIP = b"\x1f\x8b"


@dataclass(slots=True)
class OpenedFile:
    """A file that is open: its *raw* bytes as they are on disk, and *unpacked*."""

    path: Path
    raw: BinaryIO
    unpacked: BinaryIO
    size: int
    _text: TextIO | None = None  # one that is dropped closes the file it reads

    def position(self) -> int:
        """Bytes of the file that have been read, of *size*."""
        return self.size if self.raw.closed else min(self.raw.tell(), self.size)

    def text(self) -> TextIO:
        """The file from its beginning as UTF-8 text, without a byte-order mark, line ends as they are."""
        self.unpacked.seek(0)
        self._text = io.TextIOWrapper(self.unpacked, encoding="utf-8-sig", newline="")
        return self._text


@contextmanager
def opened(path: Path) -> Iterator[OpenedFile]:
    """*path*, open for reading; gzip is told by its first bytes. Raises UnreadableFile."""
    try:
        raw = path.open("rb")
    except OSError as error:
        refuse(path, error.strerror or "cannot be opened")
    with raw:
        size = path.stat().st_size
        is_packed = raw.peek(2)[:2] == _GZIP
        # GzipFile is a binary file in all but its declared base class.
        unpacked: BinaryIO = gzip.GzipFile(fileobj=raw) if is_packed else raw  # type: ignore[assignment]
        yield OpenedFile(path, raw, unpacked, size)


@contextmanager
def reading(path: Path, place: str = "file") -> Iterator[None]:
    """Turns what reading the bytes of *path* can raise into UnreadableFile."""
    try:
        yield
    except EOFError:
        refuse(path, "the gzip is cut short", at=place)
    except (gzip.BadGzipFile, zlib.error) as error:
        refuse(path, f"the gzip is damaged: {error}", at=place)
    except UnicodeDecodeError as error:
        refuse(path, "is not UTF-8 text", at=place, byte=error.start)
    except OSError as error:
        refuse(path, error.strerror or "cannot be read", at=place)
