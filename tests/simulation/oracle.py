"""The exchange's truth as an accountant would keep it, apart from the code under test."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

from tests.simulation.venue import VenueFill


@dataclass(slots=True)
class Account:
    """One strategy's position in one pair at average cost, in fractions: nothing is ever rounded.

    `quantity` is negative when short; `cost` what the open quantity was entered for, with the same sign.
    """

    quantity: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)

    def book(self, fill: VenueFill) -> None:
        price, change = Fraction(fill.price), Fraction(signed(fill))
        if fill.fee_currency == fill.order.symbol.partition("/")[0]:
            change -= Fraction(fill.fee)
            self.fees += Fraction(fill.fee) * price
        else:
            self.fees += Fraction(fill.fee)
        if self.quantity * change >= 0:
            self.quantity += change
            self.cost += change * price
            return
        closed = min(abs(change), abs(self.quantity)) * (1 if change > 0 else -1)
        released = self.cost * -closed / self.quantity
        self.realized += -closed * price - released
        self.cost -= released
        self.quantity += closed
        rest = change - closed
        self.quantity += rest
        self.cost += rest * price


def signed(fill: VenueFill) -> Decimal:
    return fill.amount if fill.order.side == "buy" else -fill.amount


def net_positions(fills: Iterable[VenueFill]) -> Mapping[str, Decimal]:
    """What the account holds of each pair's base currency by its trades, by symbol."""
    net: dict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        symbol = fill.order.symbol
        net[symbol] += signed(fill)
        if fill.fee_currency == symbol.partition("/")[0]:
            net[symbol] -= fill.fee
    return net


def booked(fills: Iterable[VenueFill], whose: Callable[[VenueFill], Hashable]) -> Mapping[Hashable, Account]:
    """The accounts *fills* lead to, in this order; *whose* tells them apart."""
    accounts: dict[Hashable, Account] = defaultdict(Account)
    for fill in fills:
        accounts[whose(fill)].book(fill)
    return accounts


def in_decimals(amount: Fraction) -> Decimal:
    """*amount* to 50 digits."""
    with localcontext(prec=50):
        return Decimal(amount.numerator) / amount.denominator
