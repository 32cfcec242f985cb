"""What a signal is judged by: the account as one statement saw it, and what is asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from gal_friday.dal.models.enums import RiskScope, Side
from gal_friday.dal.models.signals import Signal
from gal_friday.money import ZERO, canonical, exact, quantity_rounded_down
from gal_friday.services.risk.books import Book, BookKey, Pair

#: Where a decision keeps the price it was made at, among what it is based on.
PRICE_KEY = "price"


@dataclass(frozen=True, slots=True)
class Limits:
    """A row of risk_limits that applies; None where it limits nothing."""

    scope: RiskScope
    key: str
    max_position_quantity: Decimal | None = None
    max_notional: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_drawdown: Decimal | None = None
    max_open_positions: int | None = None
    max_leverage: Decimal | None = None

    def as_json(self) -> dict[str, Any]:
        """What it limits, for a JSON column."""
        values = {field.name: getattr(self, field.name) for field in fields(self)[2:]}
        return {name: spelled(value) for name, value in values.items() if value is not None}

    def cover(self, strategy_id: str | None, trading_pair: str | None) -> bool:
        """Whether what this strategy does in this pair counts towards them."""
        match self.scope:
            case RiskScope.STRATEGY:
                return strategy_id == self.key
            case RiskScope.PAIR:
                return trading_pair == self.key
            case _:
                return True


@dataclass(frozen=True, slots=True)
class DayResult:
    """What one strategy gained or lost in one pair on the UTC day, realised, less commission."""

    strategy_id: str | None
    trading_pair: str | None
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """How the pair is traded, as far as it is known."""

    multiplier: Decimal = Decimal(1)
    quantity_step: Decimal | None = None
    min_notional: Decimal | None = None


@dataclass(frozen=True)
class Situation:
    """What is asked for, and the account as it stands.

    Amounts are in *currency*, the quote currency of the pair: what the account has in others does not count.
    *quantity* is in contracts and *price* per base unit; *books* has all currencies.
    """

    signal: Signal
    quantity: Decimal
    price: Decimal
    currency: str
    instrument: Instrument
    books: Mapping[BookKey, Book]
    results: Sequence[DayResult]
    limits: Sequence[Limits]
    closed_equity: Decimal
    peak_equity: Decimal
    halts: Mapping[RiskScope, str | None]
    decided_at: datetime

    @property
    def side(self) -> Side:
        """What the signal wants to do."""
        return self.signal.side

    @cached_property
    def pair(self) -> Pair:
        """What the signal wants to trade, and where."""
        return Pair(self.signal.exchange, self.signal.trading_pair)

    @cached_property
    def book(self) -> Book:
        """The book the signal is about, as it is."""
        key = self.signal.strategy_id, self.pair
        return self.books.get(key) or Book(*key, self.currency)

    @cached_property
    def reduction(self) -> Decimal:
        """The part of *quantity* that only makes smaller what is held and not on its way out already."""
        units = self.book.units_to_reduce(self.side)
        if units >= self.quantity * self.instrument.multiplier:
            return self.quantity
        return self.contracts(units)

    @cached_property
    def unrealized_pnl(self) -> Decimal:
        """What all open positions in the currency would bring at their last marks, before commission."""
        return self._unrealized_pnl_of(self.books.values())

    @cached_property
    def equity(self) -> Decimal:
        """Closed equity and unrealised profit and loss."""
        return self.closed_equity + self.unrealized_pnl

    @cached_property
    def drawdown(self) -> Decimal:
        """How far equity is below its peak, an amount of at least zero."""
        return max(self.peak_equity - self.equity, ZERO)

    def ordering(self, quantity: Decimal) -> Book:
        """The book with *quantity* contracts ordered."""
        return self.book.plus(self.side, quantity * self.instrument.multiplier, self.price)

    def contracts(self, units: Decimal) -> Decimal:
        """Base units as contracts, 18 decimals, rounded down; none for less than none."""
        return quantity_rounded_down(max(units, ZERO), self.instrument.multiplier, decimals=18)

    def others(self, limits: Limits) -> Iterator[Book]:
        """The books *limits* cover, of any currency, but for the signal's own."""
        return (
            book
            for book in self.books.values()
            if book is not self.book and limits.cover(book.strategy_id, book.pair.trading_pair)
        )

    def day_result(self, limits: Limits) -> Decimal:
        """What *limits* cover gained or lost: realised on the UTC day, and what is open at its last mark."""
        realized = (
            result.amount
            for result in self.results
            if result.currency == self.currency and limits.cover(result.strategy_id, result.trading_pair)
        )
        return sum(realized, ZERO) + self._unrealized_pnl_of([self.book, *self.others(limits)])

    def _unrealized_pnl_of(self, books: Iterable[Book]) -> Decimal:
        return sum((book.unrealized_pnl for book in books if book.currency == self.currency), ZERO)

    def limits_as_json(self) -> dict[str, Any]:
        """The limits by scope and key, for a JSON column."""
        recorded: dict[str, Any] = {}
        for limits in self.limits:
            recorded.setdefault(limits.scope.value, {})[limits.key] = limits.as_json()
        return recorded

    def as_json(self) -> dict[str, Any]:
        """What the decision is based on, for a JSON column; units are base units."""
        book = self.book
        with exact():
            figures = {
                PRICE_KEY: self.price,
                "currency": self.currency,
                "closed_equity": self.closed_equity,
                "unrealized_pnl": self.unrealized_pnl,
                "equity": self.equity,
                "peak_equity": self.peak_equity,
                "held_units": book.held,
                "buying_units": book.buying.units,
                "selling_units": book.selling.units,
                "reduction": self.reduction,
                "open_positions": sum(each.counts() for each in self.books.values()),
            }
        return {name: spelled(value) for name, value in figures.items()}


def spelled(value: Any) -> Any:
    """An amount as its exact text, as it will come back from a JSON column; anything else as it is."""
    return format(canonical(value), "f") if isinstance(value, Decimal) else value
