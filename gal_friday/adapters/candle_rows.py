"""One candle, and the checks every source of candles shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import ClassVar

from gal_friday.dal.models.types import Money
from gal_friday.errors import InvalidValue
from gal_friday.money import ZERO, exact

_MONEY = Money()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A number below the first is seconds, below the second milliseconds, below the third microseconds: each
# reading leads to the years 1973 to 5138 only.
_MICROSECONDS_PER_UNIT = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))


class BadCell(ValueError):
    """A value that cannot stand where it was found; its reader knows file and row."""

    def __init__(self, problem: str, value: object) -> None:
        super().__init__(problem)
        self.problem = problem
        self.value = value


@dataclass(frozen=True, slots=True)
class CandleRow:
    """Prices in quote currency, volume in base units, over the timeframe that begins at *timestamp*."""

    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal | None = None
    trades_count: int | None = None

    COLUMNS: ClassVar[Sequence[str]] = ("timestamp", "open", "high", "low", "close", "volume")

    def __post_init__(self) -> None:
        for name in ("open", "high", "low", "close"):
            if getattr(self, name) <= 0:
                raise BadCell(f"{name} is not a price", str(getattr(self, name)))
        if self.volume < 0:
            raise BadCell("the volume is negative", str(self.volume))
        if not self.low <= min(self.open, self.close):
            raise BadCell("low is above another price of the candle", str(self.low))
        if not self.high >= max(self.open, self.close):
            raise BadCell("high is below another price of the candle", str(self.high))


def exact_number(value: object) -> Decimal:
    """A number as written. Raises BadCell for what NUMERIC(38, 18) would not give back unchanged."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str) or "_" in str(value):
        raise BadCell("is not a number", value)
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise BadCell("is not a number", value) from None
    if not number.is_finite():
        raise BadCell("is not a finite number", value)
    try:
        return _MONEY.accept(number) or ZERO
    except InvalidValue as refusal:
        raise BadCell(refusal.explanation, value) from None


def point_in_time(value: object, *, naive_is_utc: bool = True, finer: bool = False) -> datetime:
    """Seconds, milliseconds or microseconds since 1970, ISO 8601, or a datetime.

    A time without a zone is UTC or, with *naive_is_utc* off, refused. What is finer than a microsecond is
    left away where *finer* allows it, else refused; ISO 8601 beyond microseconds always is cut.
    """
    if isinstance(value, datetime):
        return _in_utc(value, value, naive_is_utc=naive_is_utc)
    if isinstance(value, str) and not value.strip().replace(".", "", 1).isdecimal():
        return _from_iso(value, naive_is_utc=naive_is_utc)
    number = exact_number(value)
    for limit, microseconds in _MICROSECONDS_PER_UNIT:
        if 0 <= number < limit:
            with exact():
                since = number * microseconds
            if since != int(since) and not finer:
                raise BadCell("is finer than a microsecond", value)
            return _EPOCH + timedelta(microseconds=int(since))
    raise BadCell("is no time since 1970", value)


def whole_number(value: object) -> int:
    """A count. Raises BadCell for anything but a whole number that is not negative."""
    number = exact_number(value)
    if number < 0 or number != int(number) or number >= 1 << 31:
        raise BadCell("is not a count", value)
    return int(number)


def _from_iso(value: str, *, naive_is_utc: bool) -> datetime:
    try:
        parsed = datetime.fromisoformat(value.strip())
    except ValueError:
        raise BadCell("is not a time: neither ISO 8601 nor a number since 1970", value) from None
    return _in_utc(parsed, value, naive_is_utc=naive_is_utc)


def _in_utc(parsed: datetime, value: object, *, naive_is_utc: bool) -> datetime:
    if parsed.utcoffset() is not None:
        return parsed.astimezone(UTC)
    if not naive_is_utc:
        raise BadCell("names no time zone", value)
    return parsed.replace(tzinfo=UTC)
