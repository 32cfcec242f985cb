"""What points of one series with the same fields have in common: checked once, then remembered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.names import (
    escaped_field_key,
    escaped_measurement,
    escaped_tag_key,
    escaped_tag_value,
)

_Values = Callable[[Mapping[str, Any]], tuple[Any, ...]]
_PLAIN = frozenset({float, int, bool, str})


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Measurement, tags, and the names and types of the fields.

    `template` is the line they make: a `%s` for each value, by the name of the field, and one for the time.
    """

    measurement: str
    tags: Mapping[str, str]
    types: Mapping[str, type]
    template: str
    values: _Values
    floats: _Values
    integers: _Values
    strings: Sequence[tuple[int, str]]
    is_plain: bool


@lru_cache(16_384)
def shape_of(
    measurement: str, tags: tuple[tuple[str, str], ...], names: tuple[str, ...], types: tuple[type, ...]
) -> Shape:
    """Raises InvalidValue for a name or a tag that is empty or cannot be written, and for no field at all."""
    if not names:
        raise InvalidValue("a point has at least one field", measurement=measurement)
    head = escaped_measurement(measurement) + "".join(f",{_tag(*tag)}" for tag in sorted(tags))
    type_of = dict(zip(names, types, strict=True))
    ordered = sorted(names)
    places = (_place(name, type_of[name]) for name in ordered)
    return Shape(
        measurement=str.__str__(measurement),
        tags=MappingProxyType({str.__str__(key): str.__str__(value) for key, value in sorted(tags)}),
        types=MappingProxyType(type_of),
        template=f"{_literal(head)} {','.join(places)} %s",
        values=_getter(ordered),
        floats=_getter([name for name in ordered if type_of[name] is float]),
        integers=_getter([name for name in ordered if type_of[name] is int]),
        strings=[(number, name) for number, name in enumerate(ordered) if type_of[name] is str],
        is_plain=_PLAIN.issuperset(types),
    )


def _tag(key: str, value: str) -> str:
    try:
        return f"{escaped_tag_key(key)}={escaped_tag_value(value)}"
    except InvalidValue as error:
        raise InvalidValue(error.explanation, **{"tag": key, **error.facts}) from None


def _place(name: str, kind: type) -> str:
    return f"{_literal(escaped_field_key(name))}=%s{'i' if kind is int else ''}"


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _getter(names: Sequence[str]) -> _Values:
    if len(names) > 1:
        return itemgetter(*names)
    if not names:
        return lambda _: ()
    (name,) = names
    return lambda fields: (fields[name],)
