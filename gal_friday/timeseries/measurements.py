"""What is measured: candles, ticks, features, predictions, the portfolio, the bot itself.

Each type checks its values and knows its tags and fields. Times are aware datetimes or nanoseconds since
1970; InvalidValue names what is wrong. Fields are 64-bit floats where not said otherwise, the nearest to a
decimal. The order book is in `order_book.py`, metrics are in `metrics.py`.
"""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from math import isfinite
from typing import ClassVar, Self
from zlib import crc32

from gal_friday.errors import InvalidValue
from gal_friday.timeseries import timeframes
from gal_friday.timeseries.instants import Instant, nanoseconds
from gal_friday.timeseries.points import FieldValue, Measured, Measurement, finite

Number = Decimal | float | int


@dataclass(frozen=True, slots=True)
class Ohlcv(Measurement):
    """A candle that begins *at* a microsecond: exact prices in quote currency, volume in base units.

    High and low bound the other prices, the volume is not below zero. Fields are floats besides the
    integer `trades_count` and the boolean `is_final`; the two that may be None are left out then.
    """

    measurement: ClassVar[str] = "market_data_ohlcv"

    exchange: str
    trading_pair: str
    interval: str
    at: InitVar[Instant]
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal | None = None
    trades_count: int | None = None
    is_final: bool = True
    timestamp_ns: int = field(init=False)

    def __post_init__(self, at: Instant) -> None:
        timeframes.parse(self.interval)
        fields: dict[str, FieldValue] = _exact_as_floats(
            {
                "open": self.open,
                "high": self.high,
                "low": self.low,
                "close": self.close,
                "volume": self.volume,
            }
        )
        if self.volume < 0:
            raise InvalidValue("a volume is not below zero", volume=self.volume)
        if self.high < self.open or self.high < self.close or self.high < self.low:
            raise InvalidValue("high is below another price of the candle", high=self.high, low=self.low)
        if self.low > self.open or self.low > self.close:
            raise InvalidValue("low is above another price of the candle", high=self.high, low=self.low)
        fields["is_final"] = self.is_final
        if self.vwap is not None:
            fields |= _exact_as_floats({"vwap": self.vwap})
        if (count := self.trades_count) is not None:
            if type(count) is not int or count < 0:
                raise InvalidValue("not a number of trades", trades_count=count)
            fields["trades_count"] = count
        tags = (("exchange", self.exchange), ("trading_pair", self.trading_pair), ("interval", self.interval))
        self._is_exactly(tags, fields, _whole_microsecond(at))

    @classmethod
    def from_point(cls, point: Measured) -> Self:
        """The candle *point* tells of; floats are read as the shortest decimal that is the same float.

        Raises InvalidValue where a tag or a field is missing.
        """
        tags, fields = point.tags(), point.fields()
        trades_count = fields.get("trades_count")
        return cls(
            _tag(point, tags, "exchange"),
            _tag(point, tags, "trading_pair"),
            _tag(point, tags, "interval"),
            point.timestamp_ns,
            _decimal("open", fields.get("open")),
            _decimal("high", fields.get("high")),
            _decimal("low", fields.get("low")),
            _decimal("close", fields.get("close")),
            _decimal("volume", fields.get("volume")),
            vwap=_decimal("vwap", fields["vwap"]) if "vwap" in fields else None,
            trades_count=trades_count if isinstance(trades_count, int) else None,
            is_final=fields.get("is_final") is not False,
        )


@dataclass(frozen=True, slots=True)
class Tick(Measurement):
    """A trade of anyone, made *at* a microsecond: its exact price, its quantity in base units.

    *side* is the taker's, BUY or SELL, where the exchange says. Finer digits of the time are dropped: in
    their place `timestamp_ns` has three that follow from the trade's id, as trades of one microsecond would
    take each other's place in InfluxDB. Of ids that count up any thousand in a row differ in them.
    """

    measurement: ClassVar[str] = "ticks"

    exchange: str
    trading_pair: str
    at: InitVar[Instant]
    trade_id: str
    price: Decimal
    quantity: Decimal
    side: str | None = None
    timestamp_ns: int = field(init=False)

    def __post_init__(self, at: Instant) -> None:
        if self.side not in (None, "BUY", "SELL"):
            raise InvalidValue("not one of BUY, SELL", side=self.side)
        if not self.trade_id:
            raise InvalidValue("a trade has an id", trade_id=self.trade_id)
        fields: dict[str, FieldValue] = _exact_as_floats({"price": self.price, "quantity": self.quantity})
        if self.quantity <= 0:
            raise InvalidValue("a quantity is above zero", quantity=self.quantity)
        fields["trade_id"] = self.trade_id
        tags: tuple[tuple[str, str], ...] = (("exchange", self.exchange), ("trading_pair", self.trading_pair))
        if self.side is not None:
            tags += (("side", self.side),)
        self._is_exactly(tags, fields, nanoseconds(at) // 1_000 * 1_000 + _three_digits(self.trade_id))

    @classmethod
    def from_point(cls, point: Measured) -> Self:
        """The trade *point* tells of; see `Ohlcv.from_point`."""
        tags, fields = point.tags(), point.fields()
        return cls(
            _tag(point, tags, "exchange"),
            _tag(point, tags, "trading_pair"),
            point.timestamp_ns,
            str(fields.get("trade_id", "")),
            _decimal("price", fields.get("price")),
            _decimal("quantity", fields.get("quantity")),
            tags.get("side"),
        )


@dataclass(frozen=True, slots=True)
class Features(Measurement):
    """What a model is given to foretell from: *values* by the name of the feature."""

    measurement: ClassVar[str] = "features"

    exchange: str
    trading_pair: str
    feature_set_id: str
    at: InitVar[Instant]
    values: Mapping[str, Number]
    timestamp_ns: int = field(init=False)

    def __post_init__(self, at: Instant) -> None:
        tags = {
            "exchange": self.exchange,
            "trading_pair": self.trading_pair,
            "feature_set_id": self.feature_set_id,
        }
        values = {name: finite(name, value) for name, value in self.values.items()}
        self._is(tags, values, at)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True)
class ModelPrediction(Measurement):
    """What a model foretold, with its certainty from 0 to 1 where it gives one.

    *prediction_id*, a text field, is the row in `predictions` that signals refer to.
    """

    measurement: ClassVar[str] = "predictions"

    exchange: str
    trading_pair: str
    model_id: str
    prediction_target: str
    at: InitVar[Instant]
    prediction_value: Number
    confidence: Number | None = None
    prediction_id: str | None = None
    timestamp_ns: int = field(init=False)

    def __post_init__(self, at: Instant) -> None:
        tags = {
            "exchange": self.exchange,
            "trading_pair": self.trading_pair,
            "model_id": self.model_id,
            "prediction_target": self.prediction_target,
        }
        value = finite("prediction_value", self.prediction_value)
        fields: dict[str, FieldValue] = {"prediction_value": value}
        if self.confidence is not None:
            fields["confidence"] = confidence = finite("confidence", self.confidence)
            if not 0 <= confidence <= 1:
                raise InvalidValue("a certainty is from 0 to 1", confidence=self.confidence)
        if self.prediction_id is not None:
            fields["prediction_id"] = self.prediction_id
        self._is(tags, fields, at)


def _whole_microsecond(at: Instant) -> int:
    ns = nanoseconds(at)
    if ns % 1_000:
        raise InvalidValue("a candle begins at a whole microsecond", value=at)
    return ns


def _three_digits(trade_id: str) -> int:
    if trade_id.isascii() and trade_id.isdigit():
        return int(trade_id[-3:])
    return crc32(trade_id.encode("utf-8", "surrogatepass")) % 1_000


def _exact_as_floats(values: Mapping[str, Decimal]) -> dict[str, FieldValue]:
    """The nearest floats. Raises InvalidValue for what is no finite Decimal, or beyond a float."""
    floats: dict[str, FieldValue] = {}
    for name, value in values.items():
        if not isinstance(value, Decimal):
            raise InvalidValue(f"a {type(value).__name__} is not exact; give a Decimal", **{name: value})
        floats[name] = number = float(value)
        if not isfinite(number):
            raise InvalidValue("not a finite number", **{name: value})
    return floats


def _tag(point: Measured, tags: Mapping[str, str], name: str) -> str:
    if name not in tags:
        raise InvalidValue("a tag is missing", measurement=point.measurement, tag=name)
    return tags[name]


def _decimal(name: str, value: FieldValue | None) -> Decimal:
    if value is None:
        raise InvalidValue("a field is missing", field=name)
    return Decimal(repr(finite(name, value)))  # type: ignore[arg-type]  # finite() refuses text
