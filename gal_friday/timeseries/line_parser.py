"""Line protocol read back: what `line_protocol.encode` wrote, as points and as single lines.

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.points import FieldValue, Point

_NAME = r"(?:[^,= \\\n]|\\.)+"
_TEXT = r'"(?:[^"\\]|\\.)*"'
_FIELD = rf'{_NAME}=(?:{_TEXT}|[^," \n]+)'
_LINE = re.compile(
    rf"(?P<head>(?:[^, \\\n]|\\.)+(?:,{_NAME}={_NAME})*) "
    rf"(?P<fields>{_FIELD}(?:,{_FIELD})*) (?P<at>-?\d+)(?:\n|\Z)",
    re.DOTALL,
)
_FIELDS = re.compile(rf'({_NAME})=(?:"((?:[^"\\]|\\.)*)"|([^," \n]+))(?:,|\Z)', re.DOTALL)
_TAGS = re.compile(rf",({_NAME})=({_NAME})")
_MEASUREMENT = re.compile(r"(?:[^, \\\n]|\\.)+")
_ESCAPED = re.compile(r"\\([,= ])")
_ESCAPED_IN_TEXT = re.compile(r'\\(["\\])')
_BOOLEANS = {"true": True, "false": False}


def parse(lines: bytes) -> Sequence[Point]:
    """The points of *lines*. Raises InvalidValue with the first line that is none, and its number."""
    points = []
    for number, line in enumerate(_split(lines), 1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise InvalidValue("not a line of line protocol", number=number, line=line[:200])
        measurement, tags = _series(found["head"])
        fields = {_plain(name): _value(text, bare) for name, text, bare in _FIELDS.findall(found["fields"])}
        points.append(Point(measurement, dict(tags), fields, int(found["at"])))
    return points


def split(lines: bytes) -> Sequence[bytes]:
    """The single lines of *lines*; a text that has a newline in it stays whole."""
    return [line.encode() for line in _split(lines)]


def _split(lines: bytes) -> Iterator[str]:
    text = lines.decode()
    if '"' not in text:
        yield from text.split("\n")
        return
    offset = 0
    while offset < len(text):
        found = _LINE.match(text, offset)
        end = found.end() if found else (text.find("\n", offset) + 1 or len(text))
        yield text[offset:end].removesuffix("\n")
        offset = end


@lru_cache(65_536)
def _series(head: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Measurement and tags of what stands before a line's fields."""
    found = _MEASUREMENT.match(head)
    assert found is not None
    tags = tuple((_plain(key), _plain(value)) for key, value in _TAGS.findall(head, found.end()))
    return _plain(found[0]), tags


def _plain(name: str) -> str:
    return _ESCAPED.sub(r"\1", name)


def _value(text: str, bare: str) -> FieldValue:
    if not bare:
        return _ESCAPED_IN_TEXT.sub(r"\1", text)
    if bare in _BOOLEANS:
        return _BOOLEANS[bare]
    try:
        return int(bare[:-1]) if bare.endswith("i") else float(bare)
    except ValueError:
        raise InvalidValue("not a value of line protocol", value=bare) from None
