"""Books computed from scratch: what fills and adjustments, in the order they were applied, must have led to.

Written apart from the server's functions and from nothing but stored facts, so that each proves the other.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from gal_friday.dal.models import PositionSide, Side, TradeStatus
from gal_friday.money import (
    ZERO,
    average_price_rounded,
    cost_divided_rounded,
    cost_rounded,
    cost_share_rounded,
    exact,
    ratio_rounded,
)

#: A percentage the column does not hold is left out.
_LARGEST_PERCENTAGE = Decimal("1e11")


class AppliedFill(Protocol):
    """What the books need of a fill: a `Fill`, or a row with these columns."""

    @property
    def net_quantity(self) -> Decimal | None: ...
    @property
    def fill_price(self) -> Decimal: ...
    @property
    def contract_multiplier(self) -> Decimal: ...
    @property
    def commission_quote(self) -> Decimal | None: ...
    @property
    def filled_at(self) -> datetime: ...


@dataclass(slots=True)
class TradeBook:
    """A cycle from flat to flat, or to the flip that ended it; columns as those of `Trade`."""

    side: Side
    entry_timestamp: datetime
    quantity: Decimal = ZERO
    entry_value: Decimal = ZERO
    filled_quantity: Decimal = ZERO
    exit_value: Decimal = ZERO
    total_commission: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    exit_timestamp: datetime | None = None
    status: TradeStatus = TradeStatus.OPEN
    realized_pnl_pct: Decimal | None = None

    @property
    def average_entry_price(self) -> Decimal:
        return average_price_rounded(self.entry_value, self.quantity)

    @property
    def average_exit_price(self) -> Decimal | None:
        return average_price_rounded(self.exit_value, self.filled_quantity) if self.filled_quantity else None

    def enter(self, quantity: Decimal, price: Decimal, fee: Decimal) -> None:
        self.quantity += quantity
        self.entry_value += quantity * price
        self.total_commission += fee
        self.realized_pnl -= fee

    def exit(self, quantity: Decimal, fill: AppliedFill, gain: Decimal, fee: Decimal) -> None:
        self.filled_quantity += quantity
        self.exit_value += quantity * fill.fill_price
        self.total_commission += fee
        self.realized_pnl += gain - fee
        self.exit_timestamp = max(filter(None, (self.exit_timestamp, fill.filled_at)))
        self.status = TradeStatus.PARTIALLY_FILLED

    def close(self, multiplier: Decimal) -> None:
        self.status = TradeStatus.CLOSED
        base = self.entry_value * multiplier
        if base * _LARGEST_PERCENTAGE > abs(self.realized_pnl * 100):
            self.realized_pnl_pct = ratio_rounded(self.realized_pnl * 100, base)


@dataclass(slots=True)
class PositionBook:
    """A net position from its first fill on; columns as those of `Position`."""

    side: PositionSide | None = None
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    entry_price: Decimal | None = None
    realized_pnl: Decimal = ZERO
    total_commission: Decimal = ZERO
    last_applied_seq: int = 0
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    trades: list[TradeBook] = field(default_factory=list)
    #: Of the last fill.
    contract_multiplier: Decimal = Decimal(1)

    def apply(self, fill: AppliedFill) -> Decimal | None:
        """Book *fill*; gives back what it realised before commission, None where it closed nothing."""
        assert fill.net_quantity is not None, "a fill that was applied has its net quantity"
        if self.side is None:
            self.side = PositionSide.SHORT if fill.net_quantity < 0 else PositionSide.LONG
            self.opened_at = fill.filled_at
        with exact():
            held = -self.quantity if self.side is PositionSide.SHORT else self.quantity
            is_opposite = held * fill.net_quantity < 0
            exited = min(self.quantity, abs(fill.net_quantity)) if is_opposite else ZERO
            entered = abs(fill.net_quantity) - exited
            fee = fill.commission_quote or ZERO
            exit_fee = cost_share_rounded(fee, exited, abs(fill.net_quantity)) if exited else ZERO
            held += fill.net_quantity
            gain = self._exit(fill, exited, exit_fee, ends=bool(entered) or not held) if exited else None
            if entered:
                self._enter(fill, entered, fee - exit_fee, anew=bool(exited) or not self.quantity)
            self.total_commission += fee
            self._settle(fill, held)
        return gain

    def adjust(self, amount: Decimal) -> None:
        """Book a correction of what was realised: it comes out of the cost of what is still open."""
        with exact():
            self.realized_pnl += amount
            if self.quantity:
                moved = cost_divided_rounded(amount, self.contract_multiplier)
                self.cost += -moved if self.side is PositionSide.SHORT else moved
                self.entry_price = average_price_rounded(self.cost, self.quantity)
            self.last_applied_seq += 1

    def _exit(self, fill: AppliedFill, quantity: Decimal, fee: Decimal, *, ends: bool) -> Decimal:
        released = cost_share_rounded(self.cost, quantity, self.quantity)
        difference = quantity * fill.fill_price - released
        gain = cost_rounded(
            (-difference if self.side is PositionSide.SHORT else difference) * fill.contract_multiplier
        )
        self.cost -= released
        self.quantity -= quantity
        self.realized_pnl += gain
        trade = self.trades[-1]
        trade.exit(quantity, fill, gain, fee)
        if ends:
            trade.close(fill.contract_multiplier)
        return gain

    def _enter(self, fill: AppliedFill, quantity: Decimal, fee: Decimal, *, anew: bool) -> None:
        if anew:
            assert fill.net_quantity is not None, "checked by apply"
            side = Side.SELL if fill.net_quantity < 0 else Side.BUY
            self.trades.append(TradeBook(side, fill.filled_at))
            self.opened_at = fill.filled_at
        self.trades[-1].enter(quantity, fill.fill_price, fee)
        self.cost += quantity * fill.fill_price

    def _settle(self, fill: AppliedFill, held: Decimal) -> None:
        self.quantity = abs(held)
        if held:
            self.side = PositionSide.SHORT if held < 0 else PositionSide.LONG
            self.entry_price = average_price_rounded(self.cost, self.quantity)
        self.closed_at = None if held else fill.filled_at
        self.contract_multiplier = fill.contract_multiplier
        self.last_applied_seq += 1
