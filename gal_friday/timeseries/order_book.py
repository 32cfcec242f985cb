"""The order book: its best levels on each side, and what follows from them."""

from collections.abc import Iterable, Sequence
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import ClassVar

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.instants import Instant
from gal_friday.timeseries.points import FieldValue, Measurement, finite

Number = Decimal | float | int
#: A price and the volume offered at it.
Level = tuple[Number, Number]


@dataclass(frozen=True, slots=True)
class OrderBook(Measurement):
    """The book of one pair: *bids* from the highest, *asks* from the lowest, (price, volume) each.

    The fields are the first *levels* of each side (default: all given), as the nearest 64-bit floats; whether
    this is a snapshot or an update; and, from all levels given, `spread`, `mid_price`, `wap` and, for each N
    of *depths*, `imbalance_N`. What needs a side that is empty is left out.

    Raises InvalidValue for a price that is no finite number, a volume that is none above zero, levels out of
    order, or a book that is crossed or locked: its best bid at or above its best ask.
    """

    measurement: ClassVar[str] = "market_data_l2"

    exchange: str
    trading_pair: str
    at: InitVar[Instant]
    bids: Sequence[Level]
    asks: Sequence[Level]
    is_snapshot: bool = True
    levels: int | None = None
    depths: Sequence[int] = (5,)
    timestamp_ns: int = field(init=False)

    def __post_init__(self, at: Instant) -> None:
        put = object.__setattr__
        put(self, "depths", tuple(self.depths))
        if self.levels is not None and self.levels < 0:
            raise InvalidValue("give a number of levels to keep", levels=self.levels)
        if any(depth < 1 for depth in self.depths):
            raise InvalidValue("an imbalance is over at least one level", depths=self.depths)
        put(self, "bids", _side("bid", self.bids, falling=True))
        put(self, "asks", _side("ask", self.asks, falling=False))
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise InvalidValue("the book is crossed", bid=self.bids[0][0], ask=self.asks[0][0])
        self._is({"exchange": self.exchange, "trading_pair": self.trading_pair}, self._values(), at)

    def _values(self) -> dict[str, FieldValue]:
        fields: dict[str, FieldValue] = {"is_snapshot": self.is_snapshot}
        for side, levels in (("bid", self.bids), ("ask", self.asks)):
            for number, (price, volume) in enumerate(levels[: self.levels]):
                fields[f"{side}_price_level_{number}"] = float(price)
                fields[f"{side}_volume_level_{number}"] = float(volume)
        if self.bids and self.asks:
            fields |= {"spread": self.spread, "mid_price": self.mid_price, "wap": self.wap}
        if self.bids or self.asks:
            fields |= {f"imbalance_{depth}": self.imbalance(depth) for depth in self.depths}
        return fields

    @property
    def spread(self) -> float:
        """Best ask - best bid, in quote currency. Raises InvalidValue where a side is empty."""
        (bid, _), (ask, _) = self._best()
        return float(Decimal(ask) - Decimal(bid))

    @property
    def mid_price(self) -> float:
        """(best bid + best ask) / 2. Raises InvalidValue where a side is empty."""
        (bid, _), (ask, _) = self._best()
        return float((Decimal(bid) + Decimal(ask)) / 2)

    @property
    def wap(self) -> float:
        """The weighted average price, each best price weighted by the volume that stands against it.

        (bid × ask volume + ask × bid volume) / (bid volume + ask volume): the micro-price of Gatheral and
        Oomen, "Zero-intelligence realized variance estimation" (Finance and Stochastics 14, 2010). Raises
        InvalidValue where a side is empty.
        """
        (bid, bid_volume), (ask, ask_volume) = ((float(price), float(size)) for price, size in self._best())
        return (bid * ask_volume + ask * bid_volume) / (bid_volume + ask_volume)

    def imbalance(self, depth: int) -> float:
        """How much more is bid for than asked in the first *depth* levels: from -1 to 1.

        (bid volume - ask volume) / (bid volume + ask volume), the volume imbalance of Cartea, Donnelly and
        Jaimungal, "Enhancing trading strategies with order book signals" (Applied Mathematical Finance 25,
        2018). A side with fewer levels counts with those it has. Raises InvalidValue for an empty book.
        """
        bid = sum(float(volume) for _, volume in self.bids[:depth])
        ask = sum(float(volume) for _, volume in self.asks[:depth])
        if not bid + ask:
            raise InvalidValue("the book is empty", trading_pair=self.trading_pair)
        return (bid - ask) / (bid + ask)

    def _best(self) -> tuple[Level, Level]:
        if not self.bids or not self.asks:
            raise InvalidValue("a side of the book is empty", trading_pair=self.trading_pair)
        return self.bids[0], self.asks[0]


def _side(name: str, levels: Iterable[Level], *, falling: bool) -> tuple[Level, ...]:
    side = tuple((price, volume) for price, volume in levels)
    for number, (price, volume) in enumerate(side):
        finite(f"{name}_price_level_{number}", price)
        if finite(f"{name}_volume_level_{number}", volume) <= 0:
            raise InvalidValue("a level without volume is none", side=name, level=number, value=volume)
    for number, ((before, _), (price, _)) in enumerate(pairwise(side), 1):
        if price >= before if falling else price <= before:
            raise InvalidValue(
                "levels begin with the best, and no price is there twice",
                side=name,
                level=number,
                value=price,
            )
    return side
