"""A moving-average crossover: small, exact, and the same after every restart."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from gal_friday.errors import InvalidValue
from gal_friday.money import canonical, exact


class Crossing(StrEnum):
    UP = "UP"
    DOWN = "DOWN"


@dataclass(frozen=True, slots=True)
class Averages:
    """What the strategy remembers: the last closes, and whether the fast average was above the slow one.

    *above* is None until the averages first differ.
    """

    closes: tuple[Decimal, ...] = ()
    above: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """For a JSON column; every price as its exact text."""
        return {"closes": [str(canonical(close)) for close in self.closes], "above": self.above}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls(tuple(Decimal(close) for close in value["closes"]), value["above"])


@dataclass(frozen=True, slots=True)
class CrossoverStrategy:
    """Long while the average of the last *fast* closes is above that of the last *slow* ones, else flat.

    Raises InvalidValue unless 0 < fast < slow.
    """

    fast: int
    slow: int

    def __post_init__(self) -> None:
        if not 0 < self.fast < self.slow:
            raise InvalidValue(
                "the fast average is over fewer closes than the slow", fast=self.fast, slow=self.slow
            )

    def after(self, averages: Averages, close: Decimal) -> tuple[Averages, Crossing | None]:
        """What is remembered after one more close, and the crossing it made."""
        closes = (*averages.closes, close)[-self.slow :]
        if len(closes) < self.slow:
            return Averages(closes), None
        with exact():
            # sum/fast against sum/slow, without dividing
            distance = sum(closes[-self.fast :]) * self.slow - sum(closes) * self.fast
        above = averages.above if not distance else distance > 0
        if above == averages.above or averages.above is None:
            return Averages(closes, above), None
        return Averages(closes, above), Crossing.UP if above else Crossing.DOWN
