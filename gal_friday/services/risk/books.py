"""What is held, and what it could become if everything on its way were filled.

Quantities here are base units (contracts × multiplier), prices are per base unit, values are in the quote
currency of the pair.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property

from gal_friday.dal.models.enums import Side
from gal_friday.money import ZERO, quantity_rounded_down


@dataclass(frozen=True, slots=True)
class Pair:
    """A trading pair at an exchange."""

    exchange: str
    trading_pair: str


@dataclass(frozen=True, slots=True)
class Holding:
    """An open position as stored: *quantity* in contracts, *price* its last mark if any, *cost* exact."""

    strategy_id: str | None
    pair: Pair
    currency: str
    multiplier: Decimal
    side: Side
    quantity: Decimal
    price: Decimal | None
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Intention:
    """What is yet to be traded: the rest of a working order, or what an approved signal may still order.

    *quantity* is in contracts; an order by cost has *amount*, the quote currency it has yet to spend. *price*
    is None for a market order nobody named a price for.
    """

    strategy_id: str | None
    pair: Pair
    currency: str
    multiplier: Decimal
    side: Side
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """How large a position can get, in base units and in quote currency; None where nobody can tell."""

    units: Decimal | None
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class Working:
    """All that is yet to be bought, or yet to be sold. None stands for what nobody can tell."""

    units: Decimal | None = ZERO
    value: Decimal | None = ZERO
    highest_price: Decimal = ZERO

    def plus(self, units: Decimal | None, price: Decimal | None) -> "Working":
        """With *units* more at *price*."""
        return Working(
            units=None if self.units is None or units is None else self.units + units,
            value=None
            if self.value is None or units is None or price is None
            else self.value + units * price,
            highest_price=max(self.highest_price, ZERO if price is None else price),
        )


@dataclass(frozen=True)
class Book:
    """What one strategy has in one pair at one exchange; *held* is negative when short."""

    strategy_id: str | None
    pair: Pair
    currency: str
    held: Decimal = ZERO
    held_value: Decimal = ZERO
    unrealized_pnl: Decimal = ZERO
    buying: Working = field(default_factory=Working)
    selling: Working = field(default_factory=Working)

    def plus(self, side: Side, units: Decimal | None, price: Decimal | None) -> "Book":
        """With *units* more to buy or sell at *price*."""
        if side is Side.BUY:
            return replace(self, buying=self.buying.plus(units, price))
        return replace(self, selling=self.selling.plus(units, price))

    def on(self, side: Side) -> tuple[Decimal, Working]:
        """What is held the way of *side*, negative where the opposite is, and what works on it."""
        return (self.held, self.buying) if side is Side.BUY else (-self.held, self.selling)

    def reach(self, side: Side) -> Exposure:
        """The position if all on *side* is filled and nothing on the other.

        What is held counts at its value and what is on its way at its own price. Where the opposite is held,
        that is used up first, and the excess counts at the highest price on its way.
        """
        held, working = self.on(side)
        if working.units is None:
            return Exposure(None, None)
        if held >= 0:
            value = None if working.value is None else self.held_value + working.value
            return Exposure(held + working.units, value)
        excess = max(ZERO, held + working.units)
        unpriced = excess and working.value is None
        return Exposure(excess, None if unpriced else excess * working.highest_price)

    @cached_property
    def exposure(self) -> Exposure:
        """The larger of what buying and what selling alone could lead to."""
        buying, selling = self.reach(Side.BUY), self.reach(Side.SELL)
        return Exposure(_larger(buying.units, selling.units), _larger(buying.value, selling.value))

    def counts(self) -> bool:
        """Whether it is a position, or may become one."""
        return self.exposure.units != 0

    def units_to_reduce(self, side: Side) -> Decimal:
        """How much on *side* only makes smaller what is held and not on its way out already."""
        held, working = self.on(side)
        return max(ZERO, -held - (working.units or ZERO))

    def units_within(self, side: Side, most_units: Decimal) -> Decimal:
        """How much more on *side* keeps `reach` within *most_units*."""
        held, working = self.on(side)
        assert working.units is not None
        return most_units - held - working.units

    def units_worth(self, side: Side, price: Decimal, most_value: Decimal) -> Decimal:
        """How much more on *side* at *price* keeps `reach` within *most_value*, which is zero or more."""
        held, working = self.on(side)
        assert working.units is not None
        assert working.value is not None
        if held >= 0:
            room = most_value - self.held_value - working.value
            return quantity_rounded_down(room, price, decimals=18) if room > 0 else ZERO
        highest = max(price, working.highest_price)
        return quantity_rounded_down(most_value, highest, decimals=18) - held - working.units


BookKey = tuple[str | None, Pair]


def books_of(
    holdings: Iterable[Holding], intentions: Iterable[Intention], prices: Mapping[Pair, Decimal]
) -> dict[BookKey, Book]:
    """The books by strategy and pair.

    *prices* serve market orders nobody named a price for; where there is none, the pair's last mark does. A
    position never marked is worth what it cost.
    """
    books: dict[BookKey, Book] = {}
    known = dict(prices)
    for holding in holdings:
        books[holding.strategy_id, holding.pair] = _book_of(holding)
        if holding.price is not None:
            known.setdefault(holding.pair, holding.price)
    for intention in intentions:
        key = intention.strategy_id, intention.pair
        price = known.get(intention.pair) if intention.price is None else intention.price
        book = books.get(key) or Book(*key, intention.currency)
        books[key] = book.plus(intention.side, _units_of(intention, price), price)
    return books


def _book_of(holding: Holding) -> Book:
    units = holding.quantity * holding.multiplier
    value = holding.cost if holding.price is None else units * holding.price
    is_long = holding.side is Side.BUY
    return Book(
        holding.strategy_id,
        holding.pair,
        holding.currency,
        held=units if is_long else -units,
        held_value=value,
        unrealized_pnl=value - holding.cost if is_long else holding.cost - value,
    )


def _units_of(intention: Intention, price: Decimal | None) -> Decimal | None:
    if intention.quantity is not None:
        return intention.quantity * intention.multiplier
    if intention.amount is None or not price:
        return None
    return quantity_rounded_down(max(intention.amount, ZERO), price)


def _larger(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else max(one, other)
