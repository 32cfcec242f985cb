"""What InfluxDB's errors mean, and candles made of shorter ones, without a server."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from gal_friday.dal.influx.answers import LinesRefused, message_of
from gal_friday.durable_log.refused import RefusedRecords
from gal_friday.timeseries.longer_candles import longer_candles
from gal_friday.timeseries.measurements import Ohlcv
from gal_friday.timeseries.timeframes import Timeframe

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, FIVE = Timeframe.parse("1h"), Timeframe.parse("5m")


def test_a_message_is_taken_out_of_its_json_or_as_it_is() -> None:
    assert message_of(b'{"code":"invalid","message":"why"}') == "why"
    assert message_of(b"bad gateway") == "bad gateway"
    assert message_of(b"[]") == "[]"


def test_of_a_conflict_lines_with_the_field_of_that_type_are_suspected() -> None:
    message = 'input field "a" on measurement "m" is type integer, already exists as type float dropped=1'
    lines = [b"m a=1i 1", b"m a=1 2", b"m a=t 3", b"m b=1i 4", b"n a=1i 5", b"nonsense"]
    assert LinesRefused(422, message).suspects(lines) == [lines[0]]
    assert LinesRefused(422, "something else").suspects(lines) == []


def test_what_is_set_aside_has_a_limit(tmp_path: Path) -> None:
    refused = RefusedRecords(tmp_path, "line", max_bytes=200)
    assert refused.add_all([(b"m a=1 1", "why")])
    assert not refused.add_all([(b"m a=1 1" * 30, "why")])
    assert refused.records() == [b"m a=1 1"]


def a_candle(minute: int, interval: str = "1m", vwap: int | None = 5, volume: int = 1, at: int = 0) -> Ohlcv:
    when = START + timedelta(minutes=minute, seconds=at)
    price = Decimal(5)
    told = None if vwap is None else Decimal(vwap)
    return Ohlcv("x", "A/B", interval, when, price, price, price, price, Decimal(volume), told)


def five(candles: list[Ohlcv]) -> list[Ohlcv]:
    return list(longer_candles(FIVE, candles, START, START + timedelta(minutes=5)))


def test_a_vwap_is_told_where_every_candle_with_a_volume_tells_its_own() -> None:
    assert five([]) == []
    (told,) = five([a_candle(0, vwap=4), a_candle(1, vwap=None, volume=0), a_candle(2, vwap=8, volume=3)])
    assert told.vwap == 7
    (untold,) = five([a_candle(0), a_candle(1, vwap=None)])
    assert untold.vwap is None
    (nothing,) = five([a_candle(0, volume=0), a_candle(1, volume=0)])
    assert nothing.vwap is None
    (one,) = five([a_candle(3)])
    assert one.vwap == 5
    assert (one.is_final, one.trades_count) == (False, None)


def test_a_candle_off_its_grid_and_one_of_a_timeframe_that_does_not_divide_belong_to_none() -> None:
    assert five([a_candle(0, at=1), a_candle(0, "3m")]) == []


def test_the_longest_timeframe_that_makes_a_candle_whole_is_taken() -> None:
    candles = [a_candle(minute) for minute in range(60)] + [
        a_candle(minute, "5m") for minute in range(0, 60, 5)
    ]
    found = longer_candles(HOUR, candles, START, START + timedelta(hours=1))
    assert [each.volume for each in found] == [12]
    assert found[0].is_final
