"""Who has ideas: strategies that send alerts about what to do, from the market alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from gal_friday.dal.models import Side
from tests.simulation.market import Market


class Action(StrEnum):
    ENTER = "enter"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Alert:
    """An idea, as it is sent to whoever trades. *price* is a limit where `is_limit`, else what was seen."""

    strategy: str
    tick: int
    action: Action
    side: Side
    quantity: Decimal
    price: Decimal
    symbol: str
    is_limit: bool = False

    @property
    def name(self) -> str:
        return f"{self.strategy}-{self.tick}"

    @property
    def fingerprint(self) -> str:
        identity = (self.strategy, str(self.tick), self.action, self.side)
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Swing:
    """In and out at the market, long after a rise and short after a fall."""

    name: str = "swing"
    symbol: str = "BTC/USD"

    def alerts(self, market: Market) -> Sequence[Alert]:
        tick, prices = market.ticks, market.prices[self.symbol]
        if tick % 4:
            return []
        side = Side.BUY if prices[-1] >= prices[-4] else Side.SELL
        action = Action.EXIT if tick % 12 == 8 else Action.ENTER
        quantity = Decimal("0.05") * (1 + tick % 3)
        return [Alert(self.name, tick, action, side, quantity, prices[-1], self.symbol)]


@dataclass(frozen=True, slots=True)
class Maker:
    """Quotes a little off the market, one side after the other; its quotes are canceled when they are old."""

    name: str = "maker"
    symbol: str = "ETH/USD"
    patience_ticks: int = 5

    def alerts(self, market: Market) -> Sequence[Alert]:
        tick, price = market.ticks, market.price(self.symbol)
        if tick % 3:
            return []
        side = Side.BUY if tick % 2 else Side.SELL
        step = market.listing(self.symbol).price_step
        limit = price + (-step if side is Side.BUY else step) * (tick % 5) * 50
        quantity = Decimal("0.5") + tick % 4
        return [Alert(self.name, tick, Action.ENTER, side, quantity, limit, self.symbol, is_limit=True)]


@dataclass(frozen=True, slots=True)
class Guarded:
    """Buys at the market behind a protective stop, and gets out again some time later."""

    name: str = "guarded"
    symbol: str = "BTC/USD"

    def alerts(self, market: Market) -> Sequence[Alert]:
        tick, price = market.ticks, market.price(self.symbol)
        if tick % 10 not in {1, 7}:
            return []
        action, side = (Action.ENTER, Side.BUY) if tick % 10 == 1 else (Action.EXIT, Side.SELL)
        return [Alert(self.name, tick, action, side, Decimal("0.1"), price, self.symbol)]

    def stop_price(self, entry: Decimal, market: Market) -> Decimal:
        step = market.listing(self.symbol).price_step
        return (entry * Decimal("0.997") // step) * step


SWING, MAKER, GUARDED = Swing(), Maker(), Guarded()
STRATEGIES = (SWING, MAKER, GUARDED)
