"""Points as the rows of `series_points`, and back: a field keeps its type, a series its one name."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID, uuid5

from gal_friday.dal.models.types import dumps
from gal_friday.timeseries.instants import nanoseconds
from gal_friday.timeseries.points import FieldValue, Point

#: The names of series are made in it; another one would tear every series apart.
SERIES_NAMESPACE = UUID("b6f4a8f0-3c0e-5d0b-9a53-5f7c1f6f2d1e")


class SeriesRow(NamedTuple):
    """What becomes a row: its key, and the rest as JSON."""

    measurement: str
    series_hash: UUID
    timestamp_ns: int
    tags: str
    fields: str


def rows_of(points: Iterable[Point]) -> list[SeriesRow]:
    """The row of each point, several with one key merged, in the order of their keys.

    In that order whoever writes the same points locks them in the same order.
    """
    merged: dict[tuple[str, UUID, int, str], Mapping[str, FieldValue]] = {}
    for point in points:
        series_hash, tags = series_of(tuple(point.tags().items()))
        key = (point.measurement, series_hash, point.timestamp_ns, tags)
        before = merged.get(key)
        merged[key] = point.fields() if before is None else {**before, **point.fields()}
    return [SeriesRow(*key, fields_text(merged[key])) for key in sorted(merged)]


@lru_cache(65_536)
def series_of(tags: tuple[tuple[str, str], ...]) -> tuple[UUID, str]:
    """The name of the series with these *tags*, which come sorted, and they as canonical JSON."""
    text = dumps(dict(tags))
    return uuid5(SERIES_NAMESPACE, text), text


def fields_text(fields: Mapping[str, FieldValue]) -> str:
    """*fields* as JSON in which a float has a point, also once PostgreSQL has written its exponent out."""
    return "{" + ",".join(f"{dumps(name)}:{_value_text(value)}" for name, value in fields.items()) + "}"


def _value_text(value: FieldValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"{Decimal(text):f}.0" if type(value) is float and "e+" in text else text


def point_of(
    measurement: str,
    tags: Mapping[str, str],
    fields: Mapping[str, FieldValue],
    timestamp: datetime,
    nanosecond: int,
) -> Point:
    """The point of a row."""
    return Point(measurement, tags, fields, nanoseconds(timestamp) + nanosecond)
