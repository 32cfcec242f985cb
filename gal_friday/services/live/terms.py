"""What an engine is asked for, and what came of it."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from gal_friday.dal.models import Order, PortfolioPosition, PyramidingState, RiskDecision, Signal, SignalLog


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryTerms:
    """The size of an entry and what is remembered about it.

    `quantity` is in contracts (base units, unless the instrument has a multiplier), `stop` the price it is
    to be protected at, `reference_price` what it is judged by and shown at until it is filled (default: the
    signal's proposed price, then the price it was received with). `position_id` names it (default: a name
    that follows from the signal); `atr`, `limiter` and `expiry` are kept with it.
    """

    quantity: Decimal
    stop: Decimal | None = None
    reference_price: Decimal | None = None
    position_id: str | None = None
    atr: Decimal | None = None
    limiter: str | None = None
    expiry: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The contract a position is moved to: its pair, its last day, and the stop there (default: none)."""

    trading_pair: str
    reference_price: Decimal
    expiry: date | None = None
    stop: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What became of a signal: its entry in the ledger, and what was stored with it.

    Where `is_new` is false it had been taken before: this is what was stored then, and nothing was changed.
    `refusal` says why nothing was intended. `order` and `position` are as they stand after the exchange was
    asked; an exit has one of each for every entry it closes.
    """

    receipt: SignalLog
    is_new: bool
    refusal: str | None = None
    signal: Signal | None = None
    decision: RiskDecision | None = None
    pyramid: PyramidingState | None = None
    positions: tuple[PortfolioPosition, ...] = ()
    orders: tuple[Order, ...] = ()

    @property
    def position(self) -> PortfolioPosition | None:
        """The first of its positions."""
        return self.positions[0] if self.positions else None

    @property
    def order(self) -> Order | None:
        """The first of its orders."""
        return self.orders[0] if self.orders else None
