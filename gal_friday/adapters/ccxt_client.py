"""ccxt's own class of an exchange, from settings. The one place that imports ccxt."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from gal_friday.adapters.exchange_api import ExchangeApi
from gal_friday.config import ExchangeSettings
from gal_friday.errors import ConfigurationError

_VARIABLE = "GAL_FRIDAY_EXCHANGE__NAME"


@asynccontextmanager
async def open_exchange(settings: ExchangeSettings) -> AsyncIterator[ExchangeApi]:
    """The exchange configured, closed when the block ends.

    Raises ConfigurationError where none is named, ccxt does not know it, or ccxt is not installed.
    """
    if not settings.name:
        raise ConfigurationError("no exchange is named", variable=_VARIABLE, accepted="kraken, binance …")
    try:
        known = import_module("ccxt.async_support")
    except ModuleNotFoundError:
        raise ConfigurationError("ccxt is not installed: pip install 'gal_friday[ccxt]'") from None
    if settings.name not in known.exchanges:
        raise ConfigurationError(
            "ccxt knows no such exchange", variable=_VARIABLE, value=settings.name, accepted="ccxt.exchanges"
        )
    exchange = getattr(known, settings.name)(settings.ccxt_config())
    try:
        yield exchange
    finally:
        await exchange.close()
