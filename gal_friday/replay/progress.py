"""How far a run is: the one value that says where it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Self

from gal_friday.money import canonical
from gal_friday.replay.strategy import Averages

STATE_KEY = "replay"


@dataclass(frozen=True, slots=True)
class Progress:
    """*cursor* candles are done; *day_start_equity* is what the account was worth when the UTC day began."""

    cursor: int = 0
    averages: Averages = field(default_factory=Averages)
    day: date | None = None
    day_start_equity: Decimal = Decimal(0)

    def as_json(self) -> dict[str, Any]:
        """For a JSON column."""
        return {
            "cursor": self.cursor,
            "averages": self.averages.as_json(),
            "day": self.day.isoformat() if self.day else None,
            "day_start_equity": str(canonical(self.day_start_equity)),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls(
            value["cursor"],
            Averages.from_json(value["averages"]),
            date.fromisoformat(value["day"]) if value["day"] else None,
            Decimal(value["day_start_equity"]),
        )
