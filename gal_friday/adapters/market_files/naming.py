"""What the name of a file tells: pair and timeframe, as freqtrade, Binance and Kraken name their files."""

import re
from dataclasses import dataclass
from pathlib import Path

from gal_friday.adapters.market_files.content import Kind
from gal_friday.adapters.pairs import canonical_pair
from gal_friday.errors import InvalidValue

_PACKED = re.compile(r"\.(gz|csv|json|feather|parquet|arrow|txt)$", re.IGNORECASE)
_LENGTH = r"(?P<length>[1-9][0-9]*(?:[smhdwM]|mo))"
_FORMS = (
    # XRP_ETH-trades, BTC_USDT-5m, BTC_USDT_USDT-1h-futures; BTCUSDT-1m-2024-01, BTCUSDT-aggTrades-2024-01
    re.compile(rf"(?P<pair>[A-Za-z0-9.]+(?:_[A-Za-z0-9.]+){{0,2}})-(?:{_LENGTH}|trades|aggTrades)(?:-.*)?"),
    # a length in minutes, as in XBTUSD_60
    re.compile(r"(?P<pair>[A-Za-z0-9.]+)_(?P<minutes>[1-9][0-9]*)"),
    re.compile(r"(?P<pair>[A-Za-z0-9.]+)"),
)
_MINUTES_PER_UNIT = (("w", 10_080), ("d", 1_440), ("h", 60), ("m", 1))


@dataclass(frozen=True, slots=True)
class Named:
    """What a file's name tells; None for what it does not."""

    trading_pair: str | None = None
    timeframe: str | None = None


def named(path: Path, kind: Kind) -> Named:
    """Pair and timeframe that the name of *path* tells.

    >>> named(Path("UNITTEST_BTC-1m.json"), Kind.CANDLES)
    Named(trading_pair='UNITTEST/BTC', timeframe='1m')
    >>> named(Path("XBTUSD_60.csv"), Kind.CANDLES)
    Named(trading_pair='BTC/USD', timeframe='1h')
    """
    stem = path.name
    while (shorter := _PACKED.sub("", stem)) != stem:
        stem = shorter
    for form in _FORMS:
        if match := form.fullmatch(stem):
            found = match.groupdict()
            pair = _pair("_".join(found["pair"].split("_")[:2]))
            if pair is not None:
                return Named(pair, _timeframe(found) if kind is Kind.CANDLES else None)
    return Named()


def _timeframe(found: dict[str, str | None]) -> str | None:
    if length := found.get("length"):
        return length.replace("mo", "M")  # Binance writes 1mo where case is ignored
    if minutes := found.get("minutes"):
        unit, per_unit = next((unit, per) for unit, per in _MINUTES_PER_UNIT if int(minutes) % per == 0)
        return f"{int(minutes) // per_unit}{unit}"
    return None


def _pair(name: str) -> str | None:
    try:
        return canonical_pair(name)
    except InvalidValue:
        return None
