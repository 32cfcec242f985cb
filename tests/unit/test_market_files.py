"""A file is recognised by what is in it, whatever its name, and read to the last digit."""

import gzip
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from pyarrow import feather

from gal_friday.adapters.market_files.content import Kind, Refused
from gal_friday.adapters.market_files.naming import Named, named
from gal_friday.adapters.market_files.recognition import open_market_file
from gal_friday.adapters.market_files.terms import Terms
from gal_friday.dal.models import Side
from gal_friday.errors import ConfigurationError, InvalidValue
from tests.market_files import NOON_SECONDS, candles_of, kraken_answer, told, trades_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KRAKEN = {"exchange": "kraken", "trading_pair": "BTC/USD"}
PRICES = ("open", "high", "low", "close", "volume")
KLINE = f"{NOON_SECONDS}000,1.5,2,0.5,1,7,{NOON_SECONDS}000,14,12,3,6,0"
KLINE = KLINE.replace(f",{NOON_SECONDS}000,14", f",{NOON_SECONDS + 299}999,14")

AGGREGATE_HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"


def written(directory: Path, content: str, name: str = "some.file") -> Path:
    path = directory / name
    path.write_text(content, encoding="utf-8")
    return path


# --- candles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [False, True])
def test_binances_klines_tell_their_length_and_average_price(tmp_path: Path, *, header: bool) -> None:
    names = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
        "taker_buy_volume,taker_buy_quote_volume,ignore\n"
    )
    path = written(tmp_path, names * header + KLINE + "\n", "BTCUSDT-5m-2026-11.csv")
    (candle,) = candles_of(path)
    assert told(candle, "exchange", "trading_pair", "timeframe", "timestamp") == (
        "binance",
        "BTC/USDT",
        "5m",
        NOON,
    )
    assert told(candle, *PRICES) == (Decimal("1.5"), 2, Decimal("0.5"), 1, 7)
    assert told(candle, "vwap", "trades_count", "data_source") == (2, 12, "binance klines")


def test_a_month_of_binances_is_a_month(tmp_path: Path) -> None:
    begins, ends = (int(datetime(2026, month, 1, tzinfo=UTC).timestamp()) for month in (1, 2))
    path = written(tmp_path, f"{begins}000000,1,1,1,1,0,{ends - 1}999999,0,0,0,0,0")
    (candle,) = candles_of(path, trading_pair="BTC/USDT")
    assert told(candle, "timeframe", "timestamp", "vwap") == ("1M", datetime(2026, 1, 1, tzinfo=UTC), None)


def test_krakens_csv_names_pair_and_minutes_in_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, f"{NOON_SECONDS},1.5,2,0.5,1,7,12\n", "XBTUSD_60.csv")
    (candle,) = candles_of(path)
    assert told(candle, "exchange", "trading_pair", "timeframe", "trades_count") == (
        "kraken",
        "BTC/USD",
        "1h",
        12,
    )


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    content = f"\ufeffDate;Open;High;Low;Close;Volume\r\n{NOON.isoformat()};1.5;2;0.5;1;7\r\n"
    (candle,) = candles_of(written(tmp_path, content), timeframe="1h", **KRAKEN)
    assert told(candle, "timestamp", *PRICES) == (NOON, Decimal("1.5"), 2, Decimal("0.5"), 1, 7)


def test_a_gzip_is_told_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "BTC_USD-1m.json"
    path.write_bytes(gzip.compress(f"\n [[{NOON_SECONDS}, 1.5, 2, 0.5, 1, 7 ] ] ".encode()))
    (candle,) = candles_of(path, exchange="kraken")
    assert told(candle, "timeframe", *PRICES) == ("1m", Decimal("1.5"), 2, Decimal("0.5"), 1, 7)


@pytest.mark.parametrize("count", [1, 2_000, 20_000])
def test_a_list_of_any_length_is_read_row_by_row(tmp_path: Path, count: int) -> None:
    rows = [
        [NOON_SECONDS + 60 * number, number + 1, number + 2, 0.5, 1.25, number] for number in range(count)
    ]
    candles = candles_of(written(tmp_path, json.dumps(rows), "BTC_USD-1m.json"), exchange="kraken")
    assert [told(each, "open", "volume") for each in candles] == [
        (number + 1, number) for number in range(count)
    ]


def test_the_distance_of_candles_tells_their_length_where_nothing_else_does(tmp_path: Path) -> None:
    minutes = [0, 15, 30, 60, 75]
    lines = "\n".join(f"{NOON_SECONDS + 60 * minute},1,1,1,1,1" for minute in minutes)
    assert {told(each, "timeframe") for each in candles_of(written(tmp_path, lines), **KRAKEN)} == {("15m",)}
    asked = candles_of(written(tmp_path, lines), timeframe="5m", **KRAKEN)
    assert {told(each, "timeframe") for each in asked} == {("5m",)}


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda table, path: feather.write_feather(table, path, compression="lz4"), "Arrow"),
        (lambda table, path: feather.write_feather(table, path, compression="uncompressed"), "Arrow"),
        (pq.write_table, "Parquet"),
    ],
)
def test_freqtrades_feather_and_parquet_are_read(
    tmp_path: Path, write: Callable[[Any, Path], None], name: str
) -> None:
    columns = {
        "date": pa.array([NOON, NOON + timedelta(minutes=5)], pa.timestamp("ms", tz="UTC")),
        **{
            name: pa.array([0.1 + 0.2, 0.00162008], pa.float64()) for name in ("open", "high", "low", "close")
        },
        "volume": pa.array([108.14853839, 1e-20], pa.float64()),
    }
    path = tmp_path / "BTC_USDT-5m.feather"
    write(pa.table(columns), path)
    first, second = candles_of(path, exchange="binance")
    with open_market_file(path) as file:
        assert file.content.format == name
    assert told(first, "trading_pair", "timeframe", "timestamp") == ("BTC/USDT", "5m", NOON)
    assert told(first, "open", "volume") == (Decimal("0.30000000000000004"), Decimal("108.14853839"))
    assert told(second, "open", "volume") == (Decimal("0.00162008"), 0)


def test_times_finer_than_a_microsecond_in_arrow_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "trades"
    times = pa.array([NOON_SECONDS * 10**9 + 1_999], pa.timestamp("ns", tz="Europe/Berlin"))
    pq.write_table(pa.table({"timestamp": times, "price": ["1.5"], "amount": [2], "side": ["sell"]}), path)
    (trade,) = trades_of(path, **KRAKEN)
    assert told(trade, "traded_at", "side") == (NOON + timedelta(microseconds=1), Side.SELL)


def test_without_pyarrow_parquet_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (path := tmp_path / "x").write_bytes(b"PAR1")
    with pytest.raises(ConfigurationError, match=r"gal_friday\[frames\]"):
        candles_of(path)


# --- trades ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "trade_id", "side"),
    [
        (f"7,1.5,2,5,9,{NOON_SECONDS}000,True,True", "7", Side.SELL),
        (f"7,1.5,2,5,9,{NOON_SECONDS}000000,false,true", "7", Side.BUY),
        (AGGREGATE_HEADER + f"7,1.5,2,5,9,{NOON_SECONDS}000,true", "7", Side.SELL),
        (f"7,1.5,2,5,9,{NOON_SECONDS}000,true", "7", Side.SELL),
        (f"9,1.5,2,3.0,{NOON_SECONDS}000,True,True", "9", Side.SELL),
        (f"id,price,qty,quote_qty,time,is_buyer_maker\n9,1.5,2,3.0,{NOON_SECONDS}000,false", "9", Side.BUY),
    ],
)
def test_binances_trades_are_told_apart(tmp_path: Path, line: str, trade_id: str, side: Side) -> None:
    (trade,) = trades_of(written(tmp_path, line, "BTCUSDT-aggTrades-2026-11.csv"))
    names = ("exchange", "trading_pair", "traded_at", "trade_id", "price", "quantity", "side")
    assert told(trade, *names) == ("binance", "BTC/USDT", NOON, trade_id, Decimal("1.5"), 2, side)


def test_krakens_times_are_cut_to_the_microsecond(tmp_path: Path) -> None:
    path = written(tmp_path, kraken_answer([["1.5", "2", 1762795433.9717445, "b", "l", "", 5]]))
    (trade,) = trades_of(path)
    assert told(trade, "traded_at", "trade_id", "side") == (
        datetime(2025, 11, 10, 17, 23, 53, 971744, tzinfo=UTC),
        "5",
        Side.BUY,
    )


def test_trades_without_ids_that_are_alike_stay_apart_and_have_the_same_ids_again(tmp_path: Path) -> None:
    lines = ["1.50,2.0", "1.5,2", "1.5,3", "1.5,2"]
    content = "\n".join(f"{NOON_SECONDS},{line}" for line in lines) + f"\n{NOON_SECONDS + 1},1.5,2\n"
    path = written(tmp_path, content, "XBTUSD.csv")
    ids = [told(trade, "trade_id")[0] for trade in trades_of(path)]
    assert ids == ["1.5x2#1", "1.5x2#2", "1.5x3#1", "1.5x2#3", "1.5x2#1"]
    assert [told(trade, "trade_id")[0] for trade in trades_of(path)] == ids


# --- what is not in the rows ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("UNITTEST_BTC-1m.json", Kind.CANDLES, Named("UNITTEST/BTC", "1m")),
        ("XRP_ETH-trades.json.gz", Kind.TRADES, Named("XRP/ETH", None)),
        ("XRP_USDT_USDT-1h-futures.feather", Kind.CANDLES, Named("XRP/USDT", "1h")),
        ("BTCUSDT-1mo-2024-01.csv", Kind.CANDLES, Named("BTC/USDT", "1M")),
        ("BTCUSDT-aggTrades-2024-01-31.csv.gz", Kind.TRADES, Named("BTC/USDT", None)),
        ("XBTUSD_1440.csv", Kind.CANDLES, Named("BTC/USD", "1d")),
        ("XBTUSD_10080.csv", Kind.CANDLES, Named("BTC/USD", "1w")),
        ("XBTUSD_7.csv", Kind.CANDLES, Named("BTC/USD", "7m")),
        ("BCHEUR.csv", Kind.TRADES, Named("BCH/EUR", None)),
        ("public_trades_list.csv", Kind.TRADES, Named()),
        ("candles_2024.csv", Kind.CANDLES, Named()),
        ("GOOG.csv", Kind.CANDLES, Named()),
    ],
)
def test_a_name_tells_pair_and_timeframe_or_nothing(name: str, kind: Kind, found: Named) -> None:
    assert named(Path(name), kind) == found


def test_rows_may_name_their_own_series(tmp_path: Path) -> None:
    content = (
        "exchange,trading_pair,timeframe,timestamp,open,high,low,close,volume,is_final,data_quality_score\n"
        f"kraken,XBTUSD,1m,{NOON_SECONDS + 60},1,1,1,1,1,true,50\n"
        f"kraken,ETH/USD,5m,{NOON_SECONDS},1,1,1,1,1,0,\n"
        f",,,{NOON_SECONDS + 3600},1,1,1,1,1,,\n"
    )
    first, second, third = candles_of(written(tmp_path, content))
    assert told(first, "trading_pair", "timeframe", "data_quality_score") == ("BTC/USD", "1m", 50)
    assert told(second, "trading_pair", "is_final", "data_quality_score") == ("ETH/USD", False, 100)
    assert isinstance(third, Refused)
    assert third.problem == "exchange is missing"
    refused = candles_of(
        written(tmp_path, content), exchange="kraken", trading_pair="ETH/USD", timeframe="5m"
    )
    assert [type(each).__name__ for each in refused] == ["Refused", "Candle", "Candle"]
    assert str(refused[0]).endswith("line 2: trading_pair is not ETH/USD ('BTC/USD')")


@pytest.mark.parametrize(
    "terms",
    [{"timeframe": "7x"}, {"trading_pair": "BTC"}, {"exchange": "x" * 33}, {"data_quality_score": 101}],
)
def test_terms_that_name_nothing_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        Terms(**terms)
