"""Answers of a time-series store as frames."""

import sys
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest

from gal_friday.errors import ConfigurationError, InvalidValue
from gal_friday.timeseries import frames
from gal_friday.timeseries.line_protocol import encode
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.points import Point

numpy: Any = import_module("numpy")  # which the type checker is not given
NOON_NS = 1_795_176_000_123_456_789
POINTS = [
    Point("m", {"host": "a"}, {"load": 0.5, "count": 1, "up": True, "note": "é"}, NOON_NS),
    Point("m", {"host": "a", "core": "0"}, {"load": 1.5}, NOON_NS + 1),
]
EXACT = Decimal("64250.123456789012345678")
CANDLE = Ohlcv("kraken", "BTC/USD", "1m", NOON_NS // 1_000 * 1_000, EXACT, EXACT, EXACT, EXACT, Decimal(1))
COLUMNS = ["time", "core", "host", "count", "load", "note", "up"]


def test_an_arrow_table_has_a_column_for_each_tag_and_field() -> None:
    table = frames.to_arrow(iter(POINTS))
    assert table.column_names == COLUMNS
    assert [str(column.type) for column in table.columns] == [
        "timestamp[ns, tz=UTC]",
        *["dictionary<values=string, indices=int32, ordered=0>"] * 2,
        *["int64", "double", "string", "bool"],
    ]
    assert table.column("time").cast("int64").to_pylist() == [NOON_NS, NOON_NS + 1]
    rows = [{name: value for name, value in row.items() if name != "time"} for row in table.to_pylist()]
    assert rows == [
        {"core": None, "host": "a", "count": 1, "load": 0.5, "note": "é", "up": True},
        {"core": "0", "host": "a", "count": None, "load": 1.5, "note": None, "up": None},
    ]


def test_a_polars_frame_keeps_types_and_nanoseconds() -> None:
    frame = frames.to_polars(POINTS)
    assert [str(kind) for kind in frame.dtypes] == [
        "Datetime(time_unit='ns', time_zone='UTC')",
        *["Categorical", "Categorical", "Int64", "Float64", "String", "Boolean"],
    ]
    assert frame["load"].to_list() == [0.5, 1.5]
    assert frame["core"].to_list() == [None, "0"]


def test_a_pandas_frame_keeps_nanoseconds() -> None:
    frame = frames.to_pandas(POINTS)
    assert list(frame.columns) == COLUMNS
    assert str(frame.dtypes["time"]) == "datetime64[ns, UTC]"
    assert [moment.value for moment in frame["time"]] == [NOON_NS, NOON_NS + 1]
    assert str(frame.dtypes["host"]) == "category"
    assert str(frame.dtypes["load"]) == "float64"


def test_numpy_has_an_array_for_each_column() -> None:
    arrays = frames.to_numpy(POINTS)
    assert list(arrays) == COLUMNS
    assert str(arrays["time"].dtype) == "datetime64[ns]"
    assert arrays["time"].astype("int64").tolist() == [NOON_NS, NOON_NS + 1]
    assert arrays["load"].tolist() == [0.5, 1.5]
    assert arrays["core"].tolist() == [None, "0"]
    assert arrays["count"].tolist()[0] == 1
    assert arrays["count"].tolist()[1] != arrays["count"].tolist()[1], "NaN"


def test_numbers_of_numpy_are_numbers() -> None:
    fields = {"f": numpy.float32(0.5), "g": numpy.float64(1.5), "n": numpy.int64(7)}
    point = Point("m", {}, fields, 1)
    assert encode([point]) == b"m f=0.5,g=1.5,n=7i 1"
    with pytest.raises(InvalidValue, match="not a finite number"):
        Point("m", {}, {"f": numpy.float32("nan")}, 1)
    with pytest.raises(InvalidValue, match="bool"):
        Point("m", {}, {"f": numpy.bool_(True)}, 1)


def test_prices_are_floats_or_exact_as_asked() -> None:
    tick = Tick("kraken", "BTC/USD", NOON_NS, "1", EXACT, Decimal("0.5"))
    assert frames.to_arrow([CANDLE]).column("close").to_pylist() == [float(EXACT)]
    assert frames.to_arrow([CANDLE], exact=True).column("close").to_pylist() == [EXACT]
    assert "vwap" not in frames.to_arrow([CANDLE], exact=True).column_names
    assert frames.to_polars([CANDLE], exact=True)["close"].to_list() == [EXACT]
    assert frames.to_pandas([tick], exact=True)["price"].tolist() == [EXACT]
    assert frames.to_arrow(POINTS, exact=True).column("load").to_pylist() == [0.5, 1.5]


def test_nothing_found_is_a_frame_without_rows() -> None:
    assert frames.to_arrow([]).column_names == ["time"]
    assert len(frames.to_polars([])) == len(frames.to_pandas([])) == len(frames.to_numpy([])["time"]) == 0


@pytest.mark.parametrize(
    ("points", "fact"),
    [
        ([Point("m", {"host": "a"}, {"host": 1.0}, 1)], "name"),
        ([Point("m", {}, {"f": 1.0}, 1), Point("n", {}, {"f": 1}, 1)], "field"),
    ],
)
def test_a_column_has_one_meaning_and_one_type(points: list[Point], fact: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        frames.to_arrow(points)
    assert fact in caught.value.facts


@pytest.mark.parametrize(
    ("function", "library", "extra"),
    [
        (frames.to_arrow, "pyarrow", "frames"),
        (frames.to_polars, "polars", "frames"),
        (frames.to_pandas, "pandas", "pandas"),
        (frames.to_numpy, "numpy", "pandas"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, function: Any, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigurationError, match=rf"{library}.*gal_friday\[{extra}\]"):
        function(POINTS)
