"""One spelling of a trading pair: BASE/QUOTE in the currencies' common names."""

import re

from gal_friday.errors import InvalidValue

#: Names only one exchange uses, and the common ones.
CURRENCY_ALIASES = {"XBT": "BTC", "XDG": "DOGE"}

#: Where a pair is written in one word, the quote currency is the longest of these it ends with.
QUOTE_CURRENCIES = (
    *("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI", "USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD"),
    *("XBT", "BTC", "ETH", "BNB"),
)

_SEPARATED = re.compile(r"([A-Z0-9.]+)[/_\-:]([A-Z0-9.]+)")
_KRAKEN_LEGACY = re.compile(r"[XZ]([A-Z]{3})[XZ]([A-Z]{3})")  # XXBTZUSD: X for coins, Z for money
_QUOTE = "|".join(sorted(QUOTE_CURRENCIES, key=len, reverse=True))
_ONE_WORD = re.compile(rf"([A-Z0-9.]{{3,}}?)({_QUOTE})")
_SHORT_BASE = re.compile(rf"([A-Z0-9.]+?)({_QUOTE})")  # tried last: XBTUSD is not XB/TUSD


def canonical_pair(name: str) -> str:
    """The canonical spelling of a pair as an exchange or a file writes it.

    >>> canonical_pair("XBTUSDT"), canonical_pair("XXBTZUSD"), canonical_pair("UNITTEST_BTC")
    ('BTC/USDT', 'BTC/USD', 'UNITTEST/BTC')

    Raises InvalidValue where base and quote cannot be told apart.
    """
    spelled = name.strip().upper()
    for form in (_SEPARATED, _KRAKEN_LEGACY, _ONE_WORD, _SHORT_BASE):
        if match := form.fullmatch(spelled):
            base, quote = (CURRENCY_ALIASES.get(currency, currency) for currency in match.groups())
            return f"{base}/{quote}"
    raise InvalidValue("is no trading pair; write BASE/QUOTE", pair=name)
