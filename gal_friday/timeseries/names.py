"""Names and tag values, checked and escaped for line protocol; remembered, as few of them are new.

Refused is what a reader of line protocol would take for something else, however it is escaped: control
characters (a newline ends the line), and a backslash at the end or before a comma, an equals sign, a space
or another backslash. Refused as well are lone surrogates, which no encoding has, and the names InfluxDB keeps
for itself: it would drop such points.
"""

import re
from functools import lru_cache

from gal_friday.errors import InvalidValue

#: As many characters as `series_points.measurement` holds.
MEASUREMENT_LENGTH = 128
_REMEMBERED = 65_536
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f]|\\(?=[\\,= ]|\Z)|[\ud800-\udfff]")
_RESERVED = frozenset({"time", "_time", "_field", "_measurement", "_value", "_start", "_stop"})
_MEASUREMENT_ESCAPES = str.maketrans({",": r"\,", " ": r"\ "})
_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})


@lru_cache(_REMEMBERED)
def escaped_measurement(name: str) -> str:
    """The name of a measurement for line protocol. Raises InvalidValue."""
    _check(name, "measurement")
    if name.startswith("#"):
        raise InvalidValue("a line that begins with # is a comment", measurement=name)
    if len(name) > MEASUREMENT_LENGTH:
        raise InvalidValue(f"{len(name)} characters are more than {MEASUREMENT_LENGTH}", measurement=name)
    return name.translate(_MEASUREMENT_ESCAPES)


@lru_cache(_REMEMBERED)
def escaped_tag_key(key: str) -> str:
    """The name of a tag for line protocol. Raises InvalidValue."""
    return _escaped_key(key, "tag")


@lru_cache(_REMEMBERED)
def escaped_field_key(key: str) -> str:
    """The name of a field for line protocol. Raises InvalidValue."""
    return _escaped_key(key, "field")


@lru_cache(_REMEMBERED)
def escaped_tag_value(value: str) -> str:
    """The value of a tag for line protocol. Raises InvalidValue."""
    _check(value, "tag_value")
    return value.translate(_ESCAPES)


def _escaped_key(key: str, kind: str) -> str:
    _check(key, kind)
    if key in _RESERVED:
        raise InvalidValue("InfluxDB keeps this name for itself", **{kind: key})
    return key.translate(_ESCAPES)


def _check(text: str, kind: str) -> None:
    if not isinstance(text, str):
        raise InvalidValue(f"a {type(text).__name__} is not text", **{kind: text})
    if not text:
        raise InvalidValue("empty", **{kind: text})
    if found := _UNREADABLE.search(text):
        raise InvalidValue("would be read back as another text", at=found.start(), **{kind: text})
