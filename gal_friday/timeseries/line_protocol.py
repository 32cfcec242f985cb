"""Points as InfluxDB's line protocol, byte for byte as influxdb-client writes them, several times as fast.

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/

Where influxdb-client writes something else than was meant, InvalidValue is raised, when the point is made:

- a control character in a measurement, tag or field name or in a tag's value: it turns a newline into a
  backslash and an n;
- a backslash at the end of one of those, or before a comma, an equals sign, a space or another backslash: it
  adds a space to a tag's value, and elsewhere the next character loses its meaning;
- an empty tag, NaN, infinities: it leaves them out without a word;
- a point without fields: it writes nothing;
- an integer over 64 bits: it writes a line that the server refuses;
- a measurement that begins with #: it writes a comment, and a SyntaxWarning.
"""

import json
from collections.abc import Iterable
from itertools import islice
from types import ModuleType
from typing import Any

from gal_friday.timeseries.points import Measured, as_point

_orjson: ModuleType | None
try:
    import orjson as _orjson
except ModuleNotFoundError:  # not every interpreter has it: floats take ten times as long to write then
    _orjson = None

_STRING_ESCAPES = str.maketrans({'"': r"\"", "\\": r"\\"})


def encode(points: Iterable[Measured]) -> bytes:
    """*points* as lines with nanoseconds, joined by newlines; nothing at the end. Raises InvalidValue."""
    templates, _, texts = _parts(points)
    return ("\n".join(templates) % tuple(texts)).encode()


def lines(points: Iterable[Measured]) -> list[str]:
    """*points* as a line each, without newlines between them; a text may have its own. Raises as `encode`."""
    templates, counts, texts = _parts(points)
    rest = iter(texts)
    return [template % tuple(islice(rest, count)) for template, count in zip(templates, counts, strict=True)]


def line(point: Measured) -> str:
    """*point* as a line. Raises InvalidValue."""
    return lines([point])[0]


def _parts(points: Iterable[Measured]) -> tuple[list[str], list[int], list[str]]:
    """A template for each point, how many texts go into it, and all texts one after the other."""
    templates: list[str] = []
    counts: list[int] = []
    values: list[Any] = []
    strings: list[tuple[int, str]] = []
    for point in map(as_point, points):
        shape = point.shape
        start = len(values)
        templates.append(shape.template)
        values += point.values()
        values.append(point.timestamp_ns)
        counts.append(len(values) - start)
        for number, _ in shape.strings:
            strings.append((start + number, values[start + number]))
            values[start + number] = 0
    # All numbers are written at once, and then all lines: making many small strings is what takes time.
    texts = _number_texts(values)
    for place, string in strings:
        texts[place] = f'"{string.translate(_STRING_ESCAPES)}"'
    return templates, counts, texts


def _number_texts(values: list[Any]) -> list[str]:
    """Finite floats, integers and booleans as influxdb-client writes them, without the i of integers."""
    if not values:
        return []
    joined = _json(values)[1:-1] + ","
    texts = joined.replace(".0,", ",")[:-1].split(",")
    exponents = joined.count("e") - joined.count("true") - joined.count("false")
    if exponents or "0.0000" in joined:  # JSON writers differ in when they use one, and how
        for place, text in enumerate(texts):
            if text.startswith(("0.0000", "-0.0000")) or ("e" in text and text not in ("true", "false")):
                texts[place] = repr(float(text))
    return texts


def _json(values: list[Any]) -> str:
    if _orjson is None:
        return json.dumps(values, separators=(",", ":"))
    text: bytes = _orjson.dumps(values)
    return text.decode()
