"""A market of our own: the same candles for the same seed, on any machine."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from gal_friday.adapters.candle_rows import CandleRow

_BEGINNING = datetime(2026, 1, 5, tzinfo=UTC)
_FIRST_PRICE_CENTS = 6_000_000
_LOWEST_PRICE_CENTS = 1_000


def generate_candles(*, seed: int, count: int) -> list[CandleRow]:
    """*count* one-minute candles of a random walk with trends and gaps, in whole cents."""
    dice = random.Random(seed)  # noqa: S311 -- a market, not a secret
    price, drift, minute = _FIRST_PRICE_CENTS, 0, 0
    candles = []
    for number in range(count):
        if number % 40 == 0:
            drift = dice.randint(-9, 9)
        path = [price]
        for _ in range(4):
            step = price // 2_000
            path.append(max(_LOWEST_PRICE_CENTS, path[-1] + dice.randint(-step, step) + drift * step // 60))
        candles.append(
            CandleRow(
                timestamp=_BEGINNING + timedelta(minutes=minute),
                open=_cents(path[0]),
                high=_cents(max(path)),
                low=_cents(min(path)),
                close=_cents(path[-1]),
                volume=Decimal(dice.randint(0, 500_000)).scaleb(-5) if dice.randrange(8) else Decimal(0),
            )
        )
        price = path[-1]
        minute += 1 if dice.randrange(100) else dice.randint(2, 8)
    return candles


def write_candles(path: Path, candles: list[CandleRow]) -> None:
    """As CSV, for `gal-friday replay`."""
    lines = [",".join(CandleRow.COLUMNS)]
    lines += [
        f"{candle.timestamp.isoformat()},{candle.open},{candle.high},{candle.low},{candle.close},{candle.volume}"
        for candle in candles
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cents(number: int) -> Decimal:
    return Decimal(number).scaleb(-2)
