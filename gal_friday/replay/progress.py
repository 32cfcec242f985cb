"""How far a run is: the one value that says where it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gal_friday.replay.strategy import Averages

STATE_KEY = "replay"


@dataclass(frozen=True, slots=True)
class Progress:
    """*cursor* candles are done, and the averages stand where they left them."""

    cursor: int = 0
    averages: Averages = field(default_factory=Averages)

    def as_json(self) -> dict[str, Any]:
        """For a JSON column."""
        return {"cursor": self.cursor, "averages": self.averages.as_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls(value["cursor"], Averages.from_json(value["averages"]))
