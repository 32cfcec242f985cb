"""JSON: a whole document, or the rows of a list one at a time, however long it is.

Numbers are taken as they are written; none passes through a float.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from gal_friday.adapters.market_files.content import refuse
from gal_friday.adapters.market_files.opening import reading

_CHUNK_CHARACTERS = 1 << 16
_LONGEST_ROW = 1 << 20
#: Far more than a row has: where less is at hand, more is read before a row is looked for.
_USUAL_ROW = 1 << 12
_SPACE = " \t\r\n"

# NaN becomes a Decimal too, and is refused where it stands.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=Decimal)


def document(path: Path, text: str) -> Any:
    """What *text* says. Raises UnreadableFile where it is not JSON."""
    with _decoding(path):
        return _DECODER.decode(text)


def rows(path: Path, text: TextIO) -> Iterator[tuple[int, Any]]:
    """Each item of the list that *text* is, with its number. Raises UnreadableFile where it is not JSON."""
    buffer = _Buffer(path, text)
    buffer.take("[")
    if buffer.peek() != "]":
        while True:
            buffer.number += 1
            yield buffer.number, buffer.value()
            if buffer.peek() == "]":
                break
            buffer.take(",")
    buffer.take("]")
    if buffer.peek():
        refuse(path, "is not JSON: something follows the list", at=buffer.place)


class _Buffer:
    """The text that has been read and not been taken yet."""

    def __init__(self, path: Path, text: TextIO) -> None:
        self.number = 0
        self._path, self._text = path, text
        self._held, self._at, self._ended = "", 0, False

    @property
    def place(self) -> str:
        return f"row {self.number}"

    def peek(self) -> str:
        """The next character that is not space, or nothing at the end."""
        while True:
            while self._at < len(self._held):
                if self._held[self._at] not in _SPACE:
                    return self._held[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._read()

    def take(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            problem = f"{expected!r} is missing" if found else "it ends in the middle"
            refuse(self._path, f"is not JSON: {problem}", at=self.place)
        self._at += 1

    def value(self) -> Any:
        self.peek()
        if len(self._held) - self._at < _USUAL_ROW:
            self._read()
        while True:
            with _decoding(self._path, self.place):
                try:
                    value, self._at = _DECODER.raw_decode(self._held, self._at)
                except json.JSONDecodeError:
                    if self._ended or len(self._held) - self._at > _LONGEST_ROW:
                        raise
                    self._read()
                else:
                    return value

    def _read(self) -> None:
        if not self._ended:
            with reading(self._path, self.place):
                more = self._text.read(_CHUNK_CHARACTERS)
            self._held, self._at = self._held[self._at :] + more, 0
            self._ended = not more


@contextmanager
def _decoding(path: Path, place: str | None = None) -> Iterator[None]:
    try:
        yield
    except RecursionError:
        refuse(path, "is nested too deep for candles or trades", at=place)
    except json.JSONDecodeError as error:
        refuse(path, f"is not JSON: {error.msg}", at=place or f"line {error.lineno}")
    except (ValueError, ArithmeticError) as error:  # a number of more digits than Python converts
        refuse(path, f"holds an impossible number: {error}", at=place)
