"""Random trading: orders, their fills, and the ways an exchange may report them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from gal_friday.dal.models import Fill, Order, OrderType, ReportSource, Side, Strategy, new_id
from tests.factories import EXCHANGE, NOON

PERPETUAL = "XRP/USD:USD"
_PAIRS = ("BTC/USD", "ETH/USD", PERPETUAL)
_QUANTITIES = tuple(
    map(Decimal, ("1", "0.5", "2", "0.1", "0.333333333333333333", "3", "0.000000000000000001"))
)
_PRICES = tuple(
    map(Decimal, ("100", "50000.1", "0.000000000000000003", "99.99", "101", "0.00000001", "12345.678901"))
)
_FEES = tuple(map(Decimal, ("0", "0", "0.1", "-0.05", "0.000000000000000001")))


@dataclass
class Trading:
    """What one account does: orders of one or two strategies in one or two pairs, and every fill of them.

    Made from *seed* alone.
    """

    seed: int
    account_id: str = field(init=False)
    strategies: list[Strategy] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    fills: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.account_id = f"trading-{self.seed}-{new_id().hex[-12:]}"
        source = self.random = random.Random(self.seed)
        self.strategies = [self._strategy(number) for number in range(source.randint(1, 2))]
        pairs = source.sample(_PAIRS, source.randint(1, 2))
        for number in range(source.randint(2, 6)):
            order = self._order(source.choice(self.strategies), source.choice(pairs), number)
            self.orders.append(order)
            self.fills.extend(self._fills_of(order))

    def reports(self, copies: int = 3, *, nameless: float = 0.25) -> list[Fill]:
        """Every fill, up to *copies* times, each time spelled as the exchange might, in any order.

        A share of them, *nameless*, is reported without its id as well.
        """
        reports = [self._spelled(fill) for fill in self.fills for _ in range(self.random.randint(1, copies))]
        without_id = [fill for fill in self.fills if self.random.random() < nameless]
        reports += [self._spelled({**fill, "fill_id": None}) for fill in without_id]
        self.random.shuffle(reports)
        return reports

    def batches(self, reports: Sequence[Fill]) -> Iterator[Sequence[Fill]]:
        """*reports* in pieces of one or several."""
        rest = list(reports)
        while rest:
            size = self.random.choice((1, 1, 1, 2, 5))
            yield rest[:size]
            rest = rest[size:]

    def _strategy(self, number: int) -> Strategy:
        name = f"{self.account_id}-{number}"[-64:]
        return Strategy(strategy_id=name, name=name, version="1", timeframe="5m", trading_pairs=list(_PAIRS))

    def _order(self, strategy: Strategy, pair: str, number: int) -> Order:
        return Order(
            account_id=self.account_id,
            client_order_id=f"client-{number}",
            # Some are known to the exchange by now, some not yet.
            exchange_order_id=f"venue-{number}" if self.random.random() < 0.7 else None,
            strategy_id=strategy.strategy_id,
            exchange=EXCHANGE,
            trading_pair=pair,
            side=self.random.choice(list(Side)),
            order_type=OrderType.MARKET,
            quantity=self.random.choice(_QUANTITIES),
        )

    def _fills_of(self, order: Order) -> Iterator[dict[str, Any]]:
        """In parts that come to the whole order, to less, or, rarely, to more."""
        assert order.quantity is not None
        # A quarter, or the smallest there is.
        part = max(order.quantity * 10**18 // 4, Decimal(1)).scaleb(-18)
        for number in range(self.random.randint(1, 4)):
            quantity = part if self.random.random() < 0.8 else self.random.choice(_QUANTITIES)
            yield {
                "order": order,
                "fill_id": f"trade-{number}",
                "quantity_filled": quantity,
                "fill_price": self.random.choice(_PRICES),
                "commission": self.random.choice(_FEES),
                "commission_asset": self.random.choice(("USD", "USD", order.trading_pair[:3], "BNB")),
                "filled_at": NOON + timedelta(seconds=self.random.randrange(10_000)),
            }

    def _spelled(self, fill: dict[str, Any]) -> Fill:
        order: Order = fill["order"]
        venue = order.exchange_order_id or f"venue-{order.client_order_id}"
        names = self.random.choice(
            (
                {"order_id": order.id, "client_order_id": order.client_order_id},
                {"exchange_order_id": venue, "client_order_id": order.client_order_id},
                {"client_order_id": order.client_order_id},
                {"order_id": order.id, "exchange_order_id": venue},
            )
        )
        pair = self.random.choice((order.trading_pair, order.trading_pair.replace("/", ""), "XXBTZUSD"))
        return Fill(
            account_id=self.account_id,
            exchange=EXCHANGE,
            trading_pair=pair,
            side=order.side,
            source=self.random.choice(list(ReportSource)),
            **names,
            **{name: value for name, value in fill.items() if name != "order"},
        )
