"""Amounts of several currencies as one: by the rates given, never by a guess."""

from collections.abc import Mapping
from decimal import Decimal

from gal_friday.dal.models.types import Money
from gal_friday.errors import InvalidValue, MissingRate
from gal_friday.money import ZERO, amount_rounded, exact

_MONEY = Money()


class Rates:
    """Units of *currency* for one unit of each currency in *given*; `used` are those that were needed.

    Raises InvalidValue for a rate that is no positive Decimal of at most 18 decimals.
    """

    def __init__(self, currency: str, given: Mapping[str, Decimal] | None = None) -> None:
        self.currency = currency
        self.used: dict[str, Decimal] = {}
        self._given = {name: _MONEY.accept(rate) for name, rate in (given or {}).items()}
        for name, rate in self._given.items():
            if rate <= 0 or (name == currency and rate != 1):
                raise InvalidValue("not a rate", currency=name, value=rate, into=currency)

    def total(self, amounts: Mapping[str, Decimal]) -> Decimal:
        """The sum of *amounts*, each rounded to 18 decimals before and after it is converted.

        An amount of zero needs no rate. Raises MissingRate with the currency that has none.
        """
        total = ZERO
        for currency, amount in amounts.items():
            if amount:
                with exact():
                    total += amount_rounded(amount_rounded(amount) * self._rate(currency))
        return total

    def _rate(self, currency: str) -> Decimal:
        if currency == self.currency:
            return Decimal(1)
        if currency not in self._given:
            raise MissingRate(currency=currency, into=self.currency)
        return self.used.setdefault(currency, self._given[currency])
