"""A market of ours: prices that walk on their steps, from a seed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tests.simulation.chance import Chance


@dataclass(frozen=True, slots=True)
class Listing:
    """What is traded, in which steps, and where it begins.

    Fees of purchases are taken in base currency where `fee_in_base`, as many spot exchanges do.
    """

    symbol: str
    price_step: Decimal
    quantity_step: Decimal
    first_price: Decimal
    fee_in_base: bool = False

    @property
    def base(self) -> str:
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.partition("/")[2]


LISTINGS = (
    Listing("BTC/USD", Decimal("0.1"), Decimal("0.0001"), Decimal(60_000)),
    Listing("ETH/USD", Decimal("0.01"), Decimal("0.001"), Decimal(3_000), fee_in_base=True),
)


@dataclass(slots=True)
class Market:
    """Prices of all listings so far, the latest last."""

    chance: Chance
    listings: Sequence[Listing] = LISTINGS
    prices: dict[str, list[Decimal]] = field(init=False)

    def __post_init__(self) -> None:
        self.prices = {listing.symbol: [listing.first_price] for listing in self.listings}

    @property
    def ticks(self) -> int:
        """How often prices have moved."""
        return len(self.prices[self.listings[0].symbol]) - 1

    def price(self, symbol: str) -> Decimal:
        return self.prices[symbol][-1]

    def listing(self, symbol: str) -> Listing:
        return next(listing for listing in self.listings if listing.symbol == symbol)

    def tick(self) -> None:
        """Every price moves: a little mostly, now and then a leap, up to two percent."""
        for listing in self.listings:
            generator = self.chance.of("market", listing.symbol)
            price = self.price(listing.symbol)
            permille = 20 if generator.random() < 0.05 else 3
            widest = int(price / listing.price_step) * permille // 1000
            moved = price + generator.randint(-widest, widest) * listing.price_step
            self.prices[listing.symbol].append(max(moved, listing.first_price / 10))
