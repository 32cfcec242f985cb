"""What is measured: each type's tags and fields, and what it refuses."""

import math
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from gal_friday.errors import InvalidValue, PointsRefused
from gal_friday.timeseries.instants import moment, nanoseconds, span
from gal_friday.timeseries.measurements import Features, ModelPrediction, Ohlcv, Tick
from gal_friday.timeseries.metrics import PortfolioMetrics, SystemMetrics
from gal_friday.timeseries.points import Point, as_point

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOON_NS = 1_795_176_000_000_000_000
PAIR = "BTC/USD"


def an_ohlcv(**overrides: Any) -> Ohlcv:
    values = {
        "exchange": "kraken",
        "trading_pair": PAIR,
        "interval": "1m",
        "at": NOON,
        "open": Decimal("100.1"),
        "high": Decimal(101),
        "low": Decimal(99),
        "close": Decimal("100.2"),
        "volume": Decimal("12.5"),
    }
    return Ohlcv(**{**values, **overrides})


def a_tick(**overrides: Any) -> Tick:
    values = {
        "exchange": "kraken",
        "trading_pair": PAIR,
        "at": NOON,
        "trade_id": "4711",
        "price": Decimal("100.1"),
        "quantity": Decimal("0.5"),
    }
    return Tick(**{**values, **overrides})


def some_features(**overrides: Any) -> Features:
    values = {
        "exchange": "kraken",
        "trading_pair": PAIR,
        "feature_set_id": "default_v1",
        "at": NOON,
        "values": {"rsi_14": 55, "spread_pct": Decimal("0.01")},
    }
    return Features(**{**values, **overrides})


def a_model_prediction(**overrides: Any) -> ModelPrediction:
    values = {
        "exchange": "kraken",
        "trading_pair": PAIR,
        "model_id": "m1",
        "prediction_target": "close_in_5m",
        "at": NOON,
        "prediction_value": Decimal("0.62"),
    }
    return ModelPrediction(**{**values, **overrides})


def some_system_metrics(**overrides: Any) -> SystemMetrics:
    return SystemMetrics(**{"host_id": "vm-1", "at": NOON, "cpu_usage_pct": 12.5, **overrides})


def some_portfolio_metrics(**overrides: Any) -> PortfolioMetrics:
    return PortfolioMetrics(
        **{"account_id": "default", "at": NOON, "total_equity": Decimal("5000000.01"), **overrides}
    )


def test_a_candle_has_its_series_and_its_fields() -> None:
    candle = an_ohlcv(vwap=Decimal("100.15"), trades_count=42, is_final=False)
    assert candle.measurement == "market_data_ohlcv"
    assert candle.timestamp_ns == NOON_NS
    assert candle.tags() == {"exchange": "kraken", "trading_pair": PAIR, "interval": "1m"}
    assert candle.fields() == {
        "open": 100.1,
        "high": 101.0,
        "low": 99.0,
        "close": 100.2,
        "volume": 12.5,
        "is_final": False,
        "vwap": 100.15,
        "trades_count": 42,
    }
    assert {type(value) for value in candle.fields().values()} == {float, bool, int}
    assert "vwap" not in an_ohlcv().fields()
    assert Ohlcv.from_point(as_point(candle)) == candle
    assert Ohlcv.from_point(as_point(an_ohlcv())) == an_ohlcv() != candle


def test_a_trade_has_its_series_its_fields_and_a_time_of_its_own() -> None:
    tick = a_tick(side="BUY", at=NOON_NS + 987)
    assert tick.tags() == {"exchange": "kraken", "trading_pair": PAIR, "side": "BUY"}
    assert tick.fields() == {"price": 100.1, "quantity": 0.5, "trade_id": "4711"}
    assert tick.timestamp_ns == NOON_NS + 711
    assert a_tick().tags() == {"exchange": "kraken", "trading_pair": PAIR}
    assert Tick.from_point(as_point(tick)) == a_tick(side="BUY")
    of_letters = [a_tick(trade_id=f"T-{number}").timestamp_ns for number in range(3)]
    assert len({*of_letters}) == 3
    assert {time // 1_000 for time in of_letters} == {NOON_NS // 1_000}
    assert a_tick(trade_id="T-0").timestamp_ns == of_letters[0]


def test_features_are_floats() -> None:
    features = some_features()
    assert features.tags() == {"exchange": "kraken", "trading_pair": PAIR, "feature_set_id": "default_v1"}
    assert features.fields() == {"rsi_14": 55.0, "spread_pct": 0.01}
    assert {type(value) for value in features.fields().values()} == {float}


def test_a_prediction_names_its_model_its_target_and_its_row() -> None:
    prediction = a_model_prediction(confidence=0.8, prediction_id="018f")
    assert prediction.tags() == {
        "exchange": "kraken",
        "trading_pair": PAIR,
        "model_id": "m1",
        "prediction_target": "close_in_5m",
    }
    assert prediction.fields() == {"prediction_value": 0.62, "confidence": 0.8, "prediction_id": "018f"}
    assert a_model_prediction().fields() == {"prediction_value": 0.62}


def test_portfolio_metrics_have_fields_for_each_position() -> None:
    metrics = some_portfolio_metrics(
        daily_drawdown_pct=0.5, position_quantities={PAIR: 1}, position_values={PAIR: Decimal("64250.5")}
    )
    assert metrics.tags() == {"account_id": "default"}
    assert metrics.fields() == {
        "total_equity": 5000000.01,
        "daily_drawdown_pct": 0.5,
        "position_qty_BTCUSD": 1.0,
        "position_value_BTCUSD": 64250.5,
    }


def test_system_metrics_have_the_types_of_their_fields() -> None:
    metrics = some_system_metrics(
        module_id="feed",
        event_queue_depth=3,
        websocket_connected=True,
        others={"ticker_ms": 1.5, "build": "abc"},
    )
    assert metrics.tags() == {"host_id": "vm-1", "module_id": "feed"}
    assert metrics.fields() == {
        "cpu_usage_pct": 12.5,
        "event_queue_depth": 3,
        "websocket_connected": True,
        "ticker_ms": 1.5,
        "build": "abc",
    }
    assert some_system_metrics().tags() == {"host_id": "vm-1"}


@pytest.mark.parametrize(
    ("make", "overrides", "message"),
    [
        (an_ohlcv, {"interval": "1y"}, "timeframe"),
        (an_ohlcv, {"at": NOON.replace(tzinfo=None)}, "naive"),
        (an_ohlcv, {"at": NOON_NS + 1}, "microsecond"),
        (an_ohlcv, {"at": "2026-11-20"}, "str is not a point in time"),
        (an_ohlcv, {"at": True}, "bool is not a point in time"),
        (an_ohlcv, {"open": 100.1}, "float is not exact"),
        (an_ohlcv, {"volume": Decimal("NaN")}, "not a finite number"),
        (an_ohlcv, {"vwap": Decimal("Infinity")}, "not a finite number"),
        (an_ohlcv, {"volume": Decimal(-1)}, "not below zero"),
        (an_ohlcv, {"high": Decimal(100)}, "high is below"),
        (an_ohlcv, {"low": Decimal("100.15")}, "low is above"),
        (an_ohlcv, {"high": Decimal(99), "low": Decimal(101)}, "high is below"),
        (an_ohlcv, {"trades_count": -1}, "number of trades"),
        (an_ohlcv, {"trades_count": True}, "number of trades"),
        (an_ohlcv, {"exchange": ""}, "empty"),
        (an_ohlcv, {"is_final": None}, "NoneType"),
        (a_tick, {"side": "buy"}, "BUY, SELL"),
        (a_tick, {"price": 1.5}, "float is not exact"),
        (a_tick, {"quantity": Decimal(0)}, "above zero"),
        (a_tick, {"trade_id": ""}, "has an id"),
        (a_tick, {"trading_pair": "BTC\nUSD"}, "another text"),
        (some_features, {"values": {}}, "at least one field"),
        (some_features, {"values": {"rsi_14": math.nan}}, "not a finite number"),
        (some_features, {"values": {"rsi_14": "high"}}, "str is not a number"),
        (some_features, {"values": {"rsi_14": True}}, "bool is not a number"),
        (some_features, {"values": {"rsi_14": None}}, "no 64-bit"),
        (some_features, {"values": {"rsi_14": 10**400}}, "no 64-bit"),
        (some_features, {"values": {"": 1.0}}, "empty"),
        (a_model_prediction, {"confidence": 1.1}, "from 0 to 1"),
        (a_model_prediction, {"prediction_value": Decimal("sNaN")}, "no 64-bit"),
        (a_model_prediction, {"model_id": "a\\"}, "another text"),
        (some_portfolio_metrics, {"total_equity": None}, "at least one field"),
        (some_portfolio_metrics, {"position_values": {"AB/C": 1, "A/BC": 2}}, "two pairs"),
        (some_portfolio_metrics, {"at": datetime(1600, 1, 1, tzinfo=UTC)}, "1677"),
        (some_system_metrics, {"event_queue_depth": 1.0}, "not a whole number"),
        (some_system_metrics, {"websocket_connected": 1}, "neither True nor False"),
        (some_system_metrics, {"others": {"cpu_usage_pct": 1.0}}, "argument of its own"),
        (some_system_metrics, {"module_id": ""}, "empty"),
    ],
)
def test_what_cannot_be_is_refused(
    make: Callable[..., object], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        make(**overrides)


@pytest.mark.parametrize(
    ("point", "fact"),
    [
        (Point("market_data_ohlcv", {"exchange": "kraken", "interval": "1m"}, {"open": 1.0}, NOON_NS), "tag"),
        (Point("market_data_ohlcv", an_ohlcv().tags(), {"open": 1.0}, NOON_NS), "field"),
        (
            Point("market_data_ohlcv", an_ohlcv().tags(), {**an_ohlcv().fields(), "low": "x"}, NOON_NS),
            "field",
        ),
    ],
)
def test_a_point_that_is_no_candle_is_told_why(point: Point, fact: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Ohlcv.from_point(point)
    assert fact in caught.value.facts


def test_measurements_and_points_never_change_and_can_be_copied() -> None:
    candle = an_ohlcv()
    point = as_point(candle)
    for thing in (candle, point, a_tick(), some_features(), some_system_metrics(), some_portfolio_metrics()):
        with pytest.raises(AttributeError):
            thing.timestamp_ns = 1  # type: ignore[misc]  # on purpose
        with pytest.raises(AttributeError):
            del thing.timestamp_ns
        again = pickle.loads(pickle.dumps(thing))
        assert again == thing
        assert as_point(again) == as_point(thing)
    assert hash(pickle.loads(pickle.dumps(candle))) == hash(candle)
    assert hash(pickle.loads(pickle.dumps(point))) == hash(point)
    with pytest.raises(TypeError):
        point.fields()["open"] = 1.0  # type: ignore[index]  # on purpose
    assert as_point(point) is point
    assert repr(Point("m", {"t": "a"}, {"f": 1}, 5)) == "Point('m', {'t': 'a'}, {'f': 1}, 5)"


def test_equal_numbers_of_two_types_are_two_points() -> None:
    assert Point("m", {}, {"f": 1}, 1) != Point("m", {}, {"f": 1.0}, 1)
    assert Point("m", {}, {"f": 1}, 1) != Point("m", {}, {"f": True}, 1)
    assert Point("m", {"b": "1", "a": "2"}, {"x": 1, "y": 2}, 1) == Point(
        "m", {"a": "2", "b": "1"}, {"y": 2, "x": 1}, 1
    )
    assert Point("m", {}, {"f": 1}, 1) != "m f=1i 1"


def test_times_are_nanoseconds_of_any_time_zone() -> None:
    when = NOON + timedelta(microseconds=1)
    assert nanoseconds(when) == nanoseconds(when.astimezone(timezone(timedelta(hours=-9)))) == NOON_NS + 1_000
    assert moment(NOON_NS + 1_999) == when
    assert moment(-1) == datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert nanoseconds(moment(-1_000)) == -1_000
    assert span(NOON, NOON_NS + 1) == (NOON_NS, NOON_NS + 1)
    with pytest.raises(InvalidValue):
        nanoseconds(2**63)


def test_the_points_refused_go_with_their_error_when_it_is_copied() -> None:
    error = PointsRefused(refused=[("m f=1i 1", "because")], points=1)
    again = pickle.loads(pickle.dumps(error))
    assert again.refused == (("m f=1i 1", "because"),)
    assert str(again) == str(error)
    assert "because" not in str(error)
