"""Timeframes: how long a candle is, and where in UTC it begins."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Self

from gal_friday.errors import InvalidValue

_FORM = re.compile(r"([1-9][0-9]*)([smhdwM])", re.ASCII)
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: ISO 8601: a week begins on Monday.
_FIRST_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_LONGEST = timedelta(days=3_660)
_MOST_MONTHS = 120


@dataclass(frozen=True, slots=True)
class Timeframe:
    """*count* seconds `s`, minutes `m`, hours `h`, days `d`, weeks `w` or calendar months `M`.

    Candles follow each other without a gap from 1970-01-01 in UTC on, those of weeks from a Monday on.
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The timeframe written as `1m`, `4h`, `1M`. Raises InvalidValue for others, or over ten years."""
        found = _FORM.fullmatch(str(text))
        if found is None or len(text) > 8:
            raise InvalidValue("not a timeframe: give a number and one of s m h d w M", timeframe=text)
        timeframe = cls(int(found[1]), found[2])
        if timeframe.is_too_long():
            raise InvalidValue("a timeframe is at most ten years long", timeframe=text)
        return timeframe

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

    @property
    def duration(self) -> timedelta | None:
        """How long each candle is; None for months, of which each has its own length."""
        return None if self.unit == "M" else _UNITS[self.unit] * self.count

    def is_too_long(self) -> bool:
        """Whether it is over ten years long."""
        if self.duration is None:
            return self.count > _MOST_MONTHS
        return self.duration > _LONGEST

    def floor(self, when: datetime) -> datetime:
        """Where the candle *when* falls in begins, in UTC. Raises InvalidValue for a naive datetime."""
        when = _aware(when)
        if self.duration is None:
            return _month(_months(when) // self.count * self.count)
        return when - (when - self._anchor()) % self.duration

    def next(self, when: datetime) -> datetime:
        """Where the candle after the one *when* falls in begins. Raises InvalidValue for a naive datetime."""
        begun = self.floor(when)
        if self.duration is None:
            return _month(_months(begun) + self.count)
        return begun + self.duration

    def is_multiple_of(self, finer: "Timeframe") -> bool:
        """Whether candles of *finer*, which may be of the same length, make up each of these exactly."""
        if finer.duration is None:
            return self.duration is None and self.count % finer.count == 0
        nothing = timedelta(0)
        if self.duration is None:  # months begin at any day, and never at the same of a week
            return finer.unit != "w" and _UNITS["d"] % finer.duration == nothing
        apart = self._anchor() - finer._anchor()  # noqa: SLF001 -- of its own class
        return self.duration % finer.duration == nothing and apart % finer.duration == nothing

    def _anchor(self) -> datetime:
        return _FIRST_MONDAY if self.unit == "w" else _EPOCH


@lru_cache(1_024)
def parse(text: str) -> Timeframe:
    """The timeframe written as `1m`, `4h`, `1M`; see `Timeframe.parse`."""
    return Timeframe.parse(text)


def _months(when: datetime) -> int:
    return (when.year - 1970) * 12 + when.month - 1


def _month(number: int) -> datetime:
    return datetime(1970 + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _aware(when: Any) -> datetime:
    if not isinstance(when, datetime) or when.utcoffset() is None:
        raise InvalidValue("a naive datetime names no point in time; give one with a time zone", value=when)
    return when.astimezone(UTC)
