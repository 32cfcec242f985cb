"""Which updates of a series are kept, where all of them are too many."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Protocol

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.points import FieldValue, Measured

_Series = tuple[object, ...]


class Sampling(Protocol):
    """A policy. It remembers each series apart; one object serves one stream.

    >>> kept = filter(EveryInterval(timedelta(seconds=1)).takes, books)  # doctest: +SKIP
    """

    def takes(self, point: Measured) -> bool:
        """Whether *point*, the next of its series, is kept."""
        ...


class EveryUpdate:
    """Everything is kept."""

    def takes(self, point: Measured) -> bool:
        return True


class EveryNth:
    """The first of each series, and then every *n*-th after it."""

    def __init__(self, n: int) -> None:
        if n < 1:
            raise InvalidValue("give a number of at least one", n=n)
        self._n = n
        self._seen: dict[_Series, int] = {}

    def takes(self, point: Measured) -> bool:
        series = _series(point)
        seen = self._seen.get(series, 0)
        self._seen[series] = (seen + 1) % self._n
        return seen == 0


class OnChange:
    """What differs from the last one kept: in any field, or in one of *fields*."""

    def __init__(self, fields: Collection[str] | None = None) -> None:
        if fields is not None and (isinstance(fields, str) or not fields):
            raise InvalidValue("give the names of the fields whose change counts", fields=fields)
        self._fields = fields
        self._last: dict[_Series, Mapping[str, FieldValue]] = {}

    def takes(self, point: Measured) -> bool:
        series, fields = _series(point), point.fields()
        if self._fields is not None:
            fields = {name: fields[name] for name in self._fields if name in fields}
        if self._last.get(series) == fields:
            return False
        self._last[series] = fields
        return True


class EveryInterval:
    """The first of each series in each *interval*, by the points' own time, counted from 1970 on.

    A clock that was set back begins a new interval: nothing is left out for longer than one.
    """

    def __init__(self, interval: timedelta) -> None:
        if interval <= timedelta(0):
            raise InvalidValue("an interval is above zero", interval=interval)
        self._interval_ns = interval // timedelta(microseconds=1) * 1_000
        self._last: dict[_Series, int] = {}

    def takes(self, point: Measured) -> bool:
        series, number = _series(point), point.timestamp_ns // self._interval_ns
        if self._last.get(series) == number:
            return False
        self._last[series] = number
        return True


def _series(point: Measured) -> _Series:
    return point.measurement, *sorted(point.tags().items())
