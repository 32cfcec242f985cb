"""A file that is not what it was taken for, and a row that cannot be, are told by file, place and value."""

import contextlib
import gzip
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.adapters.market_files.content import Refused
from gal_friday.adapters.market_files.recognition import open_market_file
from gal_friday.errors import UnreadableFile
from tests.market_files import NOON_SECONDS, candles_of, kraken_answer, trades_of

T = NOON_SECONDS
HEADER = "time,open,high,low,close,volume\n"
GOOD = f"{T},1,2,0.5,1,7\n"
TERMS: dict[str, Any] = {"exchange": "kraken", "trading_pair": "BTC/USD"}
TRADES = "timestamp,id,price,amount,side\n"


@pytest.mark.parametrize(
    ("row", "problem", "value"),
    [
        (f"{T + 60},1,2,x,1,7", "low is not a number", "x"),
        (f"{T + 60},1,2,,1,7", "low is not a number", ""),
        (f"{T + 60},1,2,0.5,NaN,7", "close is not a finite number", "NaN"),
        (f"{T + 60},1,Infinity,0.5,1,7", "high is not a finite number", "Infinity"),
        (f"{T + 60},1,0.5,2,1,7", "low is above another price of the candle", "2"),
        (f"{T + 60},1,2,0.5,3,7", "high is below another price of the candle", "2"),
        (f"{T + 60},1,2,0.5,1,-7", "the volume is negative", "-7"),
        (f"{T + 60},0,2,0,1,7", "open is not a price", "0"),
        (f"{T + 60},1,2,0.1234567890123456789,1,7", "low does not fit", "0.1234567890123456789"),
        (f"{T},1,2,0.5,1,7", "the time repeats", "2026-11-21T12:00:00+00:00"),
        (f"{T - 60},1,2,0.5,1,7", "the time goes back", "2026-11-21T11:59:00+00:00"),
        (f"{T + 30},1,2,0.5,1,7", "the candle overlaps the one before, of 1m", "2026-11-21T12:00:30+00:00"),
        ("2026-11-21 12:01,1,2,0.5,1,7", "timestamp names no time zone", "2026-11-21 12:01"),
        ("noon,1,2,0.5,1,7", "timestamp is not a time", "noon"),
        (f"{T + 60}.0000001,1,2,0.5,1,7", "timestamp is finer than a microsecond", f"{T + 60}.0000001"),
        (f"{T + 60},1,2,0.5,1", "is not a row of timestamp, open, high, low, close, volume", "["),
        (f"{T + 60},1,2,0.5,1,{'9' * 1_000}", "volume does not fit", "9" * 80 + "…"),
    ],
)
def test_a_bad_row_is_refused_and_the_others_are_not(
    tmp_path: Path, row: str, problem: str, value: str
) -> None:
    path = tmp_path / "candles.csv"
    path.write_text(HEADER + GOOD + row + "\n" + f"{T + 120},1,2,0.5,1,7\n")
    first, refused, last = candles_of(path, timeframe="1m", **TERMS)
    assert isinstance(refused, Refused)
    assert not isinstance(first, Refused)
    assert not isinstance(last, Refused)
    assert (refused.file, refused.at) == (path, "line 3")
    assert refused.problem.startswith(problem)
    assert refused.value.startswith(value)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"{T},8,-1,1,buy", "price is not a price"),
        (f"{T},8,1,-1,buy", "the quantity is negative"),
        (f"{T},8,1,1,long", "side is neither buy nor sell"),
        (f"{T},7,1,1,buy", "the trade repeats"),
        (f"{T - 1},8,1,1,buy", "the time goes back"),
        (f"{T},{'8' * 101},1,1,buy", "trade_id 101 characters are more than 100"),
        (f"{T},8\x00,1,1,buy", "trade_id PostgreSQL stores no NUL character"),
    ],
)
def test_a_bad_trade_is_refused_and_the_others_are_not(tmp_path: Path, row: str, problem: str) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(f"{TRADES}{T},7,1.5,2,buy\n{row}\n{T},9,1,1,\n")
    _, refused, last = trades_of(path, **TERMS)
    assert isinstance(refused, Refused)
    assert not isinstance(last, Refused)
    assert (refused.at, refused.problem) == ("line 3", problem)


def test_rows_of_json_and_parquet_are_refused_by_number(tmp_path: Path) -> None:
    json_path, parquet_path = tmp_path / "BTC_USD-1m.json", tmp_path / "p"
    json_path.write_text(f"[[{T}, 1, 2, 0.5, NaN, 1], 5, [{T}, 1, 2, 0.5, true, 1], [{T}, 1, 2, 0.5, [], 1]]")
    refused = candles_of(json_path, exchange="kraken")
    assert [str(each).partition("BTC_USD-1m.json, ")[2] for each in refused] == [
        "row 1: close is not a finite number ('NaN')",
        "row 2: is not a row of timestamp, open, high, low, close, volume ('5')",
        "row 3: close is not a number ('True')",
        "row 4: close is not a number ('[]')",
    ]
    columns = {
        "timestamp": [T, None, T + 60],
        "price": [float("nan"), 1.0, float("inf")],
        "quantity": [1, 1, 1],
    }
    pq.write_table(pa.table(columns), parquet_path)
    assert [
        (each.at, each.problem) for each in trades_of(parquet_path, **TERMS) if isinstance(each, Refused)
    ] == [
        ("row 1", "price is not a finite number"),
        ("row 2", "timestamp is not a number"),
        ("row 3", "price is not a finite number"),
    ]


def test_naive_times_are_utc_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(HEADER + "2026-11-21 12:01,1,2,0.5,1,7\n")
    (candle,) = candles_of(path, timeframe="1m", naive_is_utc=True, **TERMS)
    assert not isinstance(candle, Refused)
    assert candle.timestamp.isoformat() == "2026-11-21T12:01:00+00:00"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"[]", "holds no candles or trades"),
        (b"[1, 2]", "neither an answer of Kraken's nor freqtrade's"),
        (b"[[1, 2]", "is not JSON"),
        (b"[[1,1,1,1,1,1] [2", "is not JSON"),
        (b"[[1,1,1,1,1,1]] x", "something follows the list"),
        (b"[[1,1,1,1,1,oops]]", "is not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"[[" + b"9" * 5_000 + b"]]", "impossible number"),
        (b"[[1.0e99999999999999999999]]", "impossible number"),
        (b"{ oops", "is not JSON"),
        (b'{"a": 1}', "neither an answer of Kraken's nor freqtrade's"),
        (b'{"error": ["EQuery:Unknown asset pair"]}', "is an error of Kraken's"),
        (b'{"result": {"A": [], "B": []}}', "for one pair"),
        (kraken_answer([], -5).encode(), "last is no time since 1970"),
        (kraken_answer([], pair="GOOG").encode(), "does not tell its pair"),
        (kraken_answer([], pair="ETHUSD").encode(), "is of another pair"),
        (b"time,open,high,low,volume\n", "misses columns"),
        (b"price,quantity\n", "misses columns"),
        (b"1,2,3,4\n", "is of no format known"),
        (HEADER.encode() + GOOD.encode(), "too few candles to tell their length"),
        (HEADER.encode() + f"{T},1,1,1,1,1\n{T}.5,1,1,1,1,1\n".encode(), "not whole seconds apart"),
        (HEADER.encode("utf-16"), "is not UTF-8 text"),
        (HEADER.encode() + GOOD.encode() + b'"', "is not CSV"),
        (gzip.compress(HEADER.encode())[:-4], "the gzip is cut short"),
        (gzip.compress(HEADER.encode())[:-8] + bytes(8), "the gzip is damaged"),
        (b"PAR1nothing", "is not Parquet"),
        (b"ARROW1nothing", "is not Arrow"),
        (b"FEA1nothing", "feather of version 1"),
        (f"{T},1,2\n".encode(), "holds trades, not candles"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_a_file_that_cannot_be_read_is_refused_by_its_name(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    terms = {} if "tell its pair" in problem else TERMS
    with pytest.raises(UnreadableFile, match=problem) as refused:
        candles_of(path, **terms)
    assert refused.value.facts["file"] == str(path)


def test_a_file_that_is_not_there_or_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        candles_of(tmp_path / "absent")
    with pytest.raises(UnreadableFile, match="Is a directory"):
        candles_of(tmp_path)


def test_what_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(TRADES + f"{T},1,1,1,buy\n")
    with pytest.raises(UnreadableFile, match="does not tell its exchange; give one with --exchange"):
        trades_of(path, trading_pair="BTC/USD")
    with pytest.raises(UnreadableFile, match="does not tell its pair; give one with --pair"):
        trades_of(path, exchange="kraken")
    with pytest.raises(UnreadableFile, match="holds trades, not candles"):
        candles_of(path, **TERMS)
    path.write_text(HEADER + GOOD)
    with pytest.raises(UnreadableFile, match="holds candles, not trades"):
        trades_of(path, **TERMS)


def test_a_damaged_page_of_a_parquet_file_is_told_by_row(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    table = pa.table({"timestamp": range(T, T + 1_000), "price": [1.5] * 1_000, "quantity": range(1_000)})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    with pq.ParquetFile(path) as parquet:
        page = parquet.metadata.row_group(0).column(2).data_page_offset
        size = parquet.metadata.row_group(0).column(2).total_compressed_size
    data = bytearray(path.read_bytes())
    data[page + size // 2 : page + size] = bytes(size - size // 2)
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match="is damaged") as refused, open_market_file(path) as file:
        list(file.content.rows)
    assert refused.value.facts["at"] == "row 1"


@given(
    st.one_of(
        st.binary(max_size=100),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.from_regex(r"[\[{\",:0-9eE.\-\]}NaInfitrues\n; ]{0,80}", fullmatch=True).map(str.encode),
    )
)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix="BTC_USD-1m") as file:
        file.write(content)
        file.flush()
        for read in (candles_of, trades_of):
            with contextlib.suppress(UnreadableFile):
                read(Path(file.name), timeframe="1m", **TERMS)
