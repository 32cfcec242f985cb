"""What InfluxDB's errors mean."""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gal_friday.errors import (
    BucketMissing,
    InvalidValue,
    PersistenceError,
    TimeSeriesError,
    TimeSeriesUnavailable,
    TokenRefused,
)
from gal_friday.timeseries.line_parser import parse

#: A server that asks for more is asked again sooner.
LONGEST_WAIT_SECONDS = 300.0
_BUSY = frozenset({408, 429, 502, 503, 504})
_ABOUT_LINES = frozenset({400, 413, 422})
_DROPPED = re.compile(r"dropped=(\d+)")
_UNREADABLE = "unable to parse '"
_CONFLICT = re.compile(
    r'input field "(?P<field>.*)" on measurement "(?P<measurement>.*)" is type (?P<kind>\w+), already exists'
)
_TYPES = {float: "float", int: "integer", bool: "boolean", str: "string"}


class LinesRefused(Exception):
    """The server refused lines of a batch: all of it (400, 413), or as many as it says (422)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

    def is_about_all(self, lines: Sequence[bytes]) -> bool:
        """Whether every one of *lines* was refused, and each for itself."""
        dropped = _DROPPED.search(self.message)
        return len(lines) == 1 or (dropped is not None and int(dropped[1]) >= len(lines))

    def named(self, lines: Iterable[bytes]) -> dict[bytes, str]:
        """Those of *lines* that the message names as no line protocol, each with what is wrong with it."""
        if _UNREADABLE not in self.message:
            return {}
        found = {}
        for line in lines:
            _, begin, rest = self.message.partition(f"{_UNREADABLE}{line.decode(errors='replace')}': ")
            if begin:
                found[line] = rest.partition(f"\n{_UNREADABLE}")[0]
        return found

    def suspects(self, lines: Iterable[bytes]) -> Sequence[bytes]:
        """Those of *lines* with a field of the type that the message says the server has another type for."""
        conflict = _CONFLICT.search(self.message)
        if conflict is None:
            return []
        return [line for line in lines if _has_field(line, **conflict.groupdict())]


def understood(
    status: int, message: str, retry_after: str | None, *, url: str, is_write: bool = False
) -> PersistenceError | LinesRefused:
    """What an answer of *status* says."""
    if is_write and status in _ABOUT_LINES:
        return LinesRefused(status, message)
    if status in (401, 403):
        return TokenRefused(message, url=url, status=status)
    if status == 404:
        return BucketMissing(message, url=url)
    if status in _BUSY or (is_write and status >= 500):
        seconds = retry_after_seconds(retry_after)
        return TimeSeriesUnavailable(message, url=url, status=status, retry_after_seconds=seconds)
    return TimeSeriesError(message, url=url, status=status)


def message_of(body: bytes) -> str:
    """What the server says in the *body* of an error."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


def retry_after_seconds(header: str | None) -> float | None:
    """The seconds a Retry-After header asks for, which are a number or a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)


def _has_field(line: bytes, *, field: str, measurement: str, kind: str) -> bool:
    try:
        (point,) = parse(line)
    except InvalidValue:
        return False
    return point.measurement == measurement and _type_of(point.fields().get(field)) == kind


def _type_of(value: object) -> str | None:
    return _TYPES.get(type(value))
