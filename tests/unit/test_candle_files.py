"""Candles are recognised by what is in the file and kept to the last digit."""

import json
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.adapters.candle_files import read_candles, timeframe_of
from gal_friday.adapters.candle_rows import CandleRow
from gal_friday.adapters.pairs import canonical_pair
from gal_friday.errors import InvalidValue

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOON_SECONDS = 1_795_262_400
FIRST = CandleRow(
    NOON, Decimal("1.5"), Decimal(2), Decimal("0.5"), Decimal("1.000000000000000001"), Decimal(7)
)
SECOND = CandleRow(NOON + timedelta(minutes=5), Decimal(1), Decimal(1), Decimal(1), Decimal(1), Decimal(0))
PRICES = ["1.5,2,0.5,1.000000000000000001,7", "1,1,1,1,0"]


def written(directory: Path, content: str, name: str = "candles.txt") -> Path:
    path = directory / name
    path.write_text(content, encoding="utf-8")
    return path


def kraken(rows: list[list[Any]], pair: str = "XBTUSDT") -> str:
    return json.dumps({"error": [], "result": {pair: rows, "last": 1}})


def test_krakens_answer_is_recognised(tmp_path: Path) -> None:
    rows = [
        [NOON_SECONDS, "1.5", "2", "0.5", "1.000000000000000001", "1.2", "7", 12],
        [NOON_SECONDS + 300, "1", "1", "1", "1", "0.0", "0.00000000", 0],
    ]
    file = read_candles(written(tmp_path, kraken(rows)))
    assert (file.format, file.exchange, file.trading_pair) == ("Kraken OHLC", "kraken", "BTC/USDT")
    assert (file.timeframe, file.duration) == ("5m", timedelta(minutes=5))
    assert [(candle.vwap, candle.trades_count) for candle in file.candles] == [
        (Decimal("1.2"), 12),
        (None, 0),
    ]
    assert file.candles[0].close == FIRST.close


def test_a_pair_nobody_can_split_is_left_open(tmp_path: Path) -> None:
    rows = [[NOON_SECONDS + second, "1", "1", "1", "1", "1", "1", 1] for second in (0, 60)]
    assert read_candles(written(tmp_path, kraken(rows, "GOOG"))).trading_pair is None


def test_freqtrades_list_is_recognised_and_its_name_tells_the_pair(tmp_path: Path) -> None:
    first = f"[{NOON_SECONDS}000, 1.5, 2, 0.5, 1.000000000000000001, 7]"
    content = f"[{first}, [{NOON_SECONDS + 300}000, 1, 1, 1, 1, 0.0]]"
    file = read_candles(written(tmp_path, content, "UNITTEST_BTC-5m.json"))
    assert (file.format, file.exchange, file.trading_pair) == ("freqtrade JSON", None, "UNITTEST/BTC")
    assert list(file.candles) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("header", "clocks"),
    [
        ("timestamp,open,high,low,close,volume\n", (f"{NOON_SECONDS}", f"{NOON_SECONDS + 300}.0")),
        ("Date,Open,High,Low,Close,Volume\n", ("2026-11-21 12:00", "2026-11-21 12:05:00")),
        (",Open,High,Low,Close,Volume\n", ("2026-11-21T12:00:00Z", "2026-11-21T13:05+01:00")),
        ("", (f"{NOON_SECONDS}000", f"{NOON_SECONDS + 300}000")),
        ("\ufefftime,open,high,low,close,volume\n", (f"{NOON_SECONDS}000000", f"{NOON_SECONDS + 300}000000")),
    ],
    ids=["seconds", "no zone", "zones", "headless milliseconds", "BOM and microseconds"],
)
@pytest.mark.parametrize(("delimiter", "line_end"), [(",", "\n"), (";", "\r\n"), ("\t", "\n\n")])
def test_csv_is_recognised_with_any_clock(
    tmp_path: Path, header: str, clocks: tuple[str, str], delimiter: str, line_end: str
) -> None:
    lines = header + "".join(f"{clock},{prices}\n" for clock, prices in zip(clocks, PRICES, strict=True))
    file = read_candles(written(tmp_path, lines.replace(",", delimiter).replace("\n", line_end)))
    assert file.format == "CSV"
    assert list(file.candles) == [FIRST, SECOND]
    assert all(candle.timestamp.tzinfo is UTC for candle in file.candles)


def test_columns_are_found_by_name_and_others_left_alone(tmp_path: Path) -> None:
    content = (
        "close,volume,low,high,open,count,date,timestamp,remark\n1,7,0.5,2,1.5,3,2026-11-21,never read,x\n"
    )
    file = read_candles(written(tmp_path, content, "BTC_USD-1h.csv"))
    assert file.candles[0] == CandleRow(
        NOON.replace(hour=0),
        Decimal("1.5"),
        Decimal(2),
        Decimal("0.5"),
        Decimal(1),
        Decimal(7),
        trades_count=3,
    )
    assert file.timeframe == "1h"


def test_gaps_do_not_change_the_timeframe(tmp_path: Path) -> None:
    minutes = [0, 1, 2, 5, 6, 60]
    content = "\n".join(f"{NOON_SECONDS + 60 * minute},1,1,1,1,1" for minute in minutes)
    assert read_candles(written(tmp_path, content)).timeframe == "1m"


@given(st.decimals(min_value="0.000000000000000001", max_value=10**19, places=18))
def test_no_digit_of_a_json_number_is_lost(price: Decimal) -> None:
    text = format(price, "f")
    with tempfile.TemporaryDirectory() as directory:
        path = written(
            Path(directory), f"[[{NOON_SECONDS}, {text}, {text}, {text}, {text}, 0]]", "BTC_USD-1m.json"
        )
        assert read_candles(path).candles[0].close == price


@pytest.mark.parametrize(
    ("seconds", "timeframe"),
    [(1, "1s"), (90, "90s"), (60, "1m"), (5_400, "90m"), (86_400, "1d"), (604_800, "1w")],
)
def test_a_timeframe_is_written_in_its_largest_whole_unit(seconds: int, timeframe: str) -> None:
    assert timeframe_of(timedelta(seconds=seconds)) == timeframe


@pytest.mark.parametrize(
    ("spelling", "pair"),
    [
        ("XBTUSDT", "BTC/USDT"),
        ("XBTUSD", "BTC/USD"),
        ("XXBTZUSD", "BTC/USD"),
        ("XETHXXBT", "ETH/BTC"),
        ("XDGEUR", "DOGE/EUR"),
        ("BCHEUR", "BCH/EUR"),
        ("UNITTEST_BTC", "UNITTEST/BTC"),
        ("btc-usd", "BTC/USD"),
        ("XBT/USDC", "BTC/USDC"),
        ("SOLFDUSD", "SOL/FDUSD"),
    ],
)
def test_a_pair_has_one_spelling(spelling: str, pair: str) -> None:
    assert canonical_pair(spelling) == pair
    assert canonical_pair(pair) == pair


@pytest.mark.parametrize("name", ["", "BTC", "USD", "BTC/", "A/B/C", "GOOG"])
def test_what_is_no_pair_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="BASE/QUOTE"):
        canonical_pair(name)
