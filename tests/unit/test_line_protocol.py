"""Our line protocol beside the library's: the same bytes, or an error where those say something else."""

import math
import re
import sys
import warnings
from collections.abc import Mapping
from enum import StrEnum
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client.client.write import point as library_module

from gal_friday.errors import InvalidValue
from gal_friday.timeseries import line_protocol
from gal_friday.timeseries.line_protocol import encode, line, lines
from gal_friday.timeseries.points import FieldValue, Point

LibraryPoint: Any = library_module.Point  # it is untyped
NOON_NS = 1_795_176_000_123_456_789
MISREAD = re.compile(r"[\x00-\x1f\x7f]|\\([\\,= ]|$)", re.MULTILINE)

any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
awkward_text = st.text(st.sampled_from("aé%#\"'\\,= \n\té€"), min_size=1, max_size=8)
names = any_text | awkward_text
values = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1e15, 1e16, 123456789012345680.0, 1e22, 1e-4, 1e-5, -1.5e-5, 1e-6, 5e-324])
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | names
    | st.just("")
)


def library(measurement: str, tags: Mapping[str, str], fields: Mapping[str, Any], at: int) -> str:
    point = LibraryPoint(measurement)
    for name, tag in tags.items():
        point.tag(name, tag)
    for name, value in fields.items():
        point.field(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a measurement that begins with #
        return str(point.time(at).to_line_protocol())


@given(
    names,
    st.dictionaries(names, names, max_size=3),
    st.dictionaries(names, values, min_size=1, max_size=4),
    st.integers(-(2**63) + 2, 2**63 - 2),
)
def test_a_line_is_the_librarys_or_is_refused_for_a_reason(
    measurement: str, tags: dict[str, str], fields: dict[str, FieldValue], at: int
) -> None:
    keys = [measurement, *tags, *tags.values(), *fields]
    texts = [value for value in fields.values() if isinstance(value, str)]
    try:
        ours = encode([Point(measurement, tags, fields, at)])
    except InvalidValue:
        assert any(map(MISREAD.search, keys)) or measurement.startswith("#") or any("\0" in t for t in texts)
    else:
        assert ours.decode() == library(measurement, tags, fields, at)
        assert not any(map(MISREAD.search, keys))


@pytest.mark.parametrize(
    "value",
    [
        *(0.0, -0.0, 1.0, 100.0, 0.1, 1e-4, 1e-5, -1.5e-5, 9.999e-5, 1e-6, 5e-324, 2.2250738585072014e-308),
        *(1e15, 1e16, 9007199254740993.0, 123456789012345680.0, 1e17, 1e21, 1e22, 1.7976931348623157e308),
        *(0, -1, 2**63 - 1, -(2**63), True, False, "", "true", 'say "no"\\', "a\nb"),
    ],
)
def test_a_value_alone_is_written_as_the_library_writes_it(value: FieldValue) -> None:
    assert line(Point("m", {}, {"f": value}, 1)) == library("m", {}, {"f": value}, 1)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_a_float_is_read_back_as_the_same_float_with_either_json_writer(floats: list[float]) -> None:
    points = [Point("m", {}, {"f": value}, 1) for value in floats]
    written = encode(points).decode().split("\n")
    assert [float(text.split(" ")[1].removeprefix("f=")) for text in written] == floats
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_protocol, "_orjson", None)
        assert encode(points).decode().split("\n") == written


def test_without_orjson_the_standard_librarys_json_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    spec = spec_from_file_location("line_protocol_without_orjson", line_protocol.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    points = [Point("m", {}, {"a": 1e16, "b": 1e-5, "c": 2.0, "d": 3, "e": True}, 1)]
    assert module.encode(points) == encode(points) == b"m a=1e+16,b=1e-05,c=2,d=3i,e=true 1"


def test_many_points_are_lines_in_their_order_and_none_are_nothing() -> None:
    points = [
        Point("m", {"t": str(number)}, {"n": number, "s": f"{number}\n%s"}, number) for number in range(3)
    ]
    expected = [
        library("m", {"t": str(number)}, {"n": number, "s": f"{number}\n%s"}, number) for number in range(3)
    ]
    assert encode(points).decode() == "\n".join(expected)
    assert lines(points) == expected
    assert line(points[1]) == expected[1]
    assert encode(iter([])) == b""


@pytest.mark.parametrize(
    ("measurement", "tags", "fields", "fact"),
    [
        ("", {}, {"f": 1.0}, "measurement"),
        ("#m", {}, {"f": 1.0}, "measurement"),
        ("m" * 129, {}, {"f": 1.0}, "measurement"),
        ("m\n", {}, {"f": 1.0}, "measurement"),
        ("m", {"t": ""}, {"f": 1.0}, "tag"),
        ("m", {"t": "a\nb"}, {"f": 1.0}, "tag"),
        ("m", {"t": "a\\"}, {"f": 1.0}, "tag"),
        ("m", {"t": "a\\ b"}, {"f": 1.0}, "tag"),
        ("m", {"t": "\ud800"}, {"f": 1.0}, "tag"),
        ("m", {"": "a"}, {"f": 1.0}, "tag"),
        ("m", {"time": "a"}, {"f": 1.0}, "tag"),
        ("m", {"t": 1}, {"f": 1.0}, "tag_value"),
        ("m", {1: "t"}, {"f": 1.0}, "tag"),
        ("m", {1: "t", "a": "b"}, {"f": 1.0}, "tags"),
        ("m", {"t": []}, {"f": 1.0}, "tags"),
        ("m", {}, {}, "measurement"),
        ("m", {}, {"": 1.0}, "field"),
        ("m", {}, {"_time": 1.0}, "field"),
        ("m", {}, {"f": math.nan, "g": 1.0}, "field"),
        ("m", {}, {"f": -math.inf}, "field"),
        ("m", {}, {"f": 2**63}, "value"),
        ("m", {}, {"f": None}, "field"),
        ("m", {}, {"f": "\0"}, "field"),
        ("m", {}, {"f": "\ud800"}, "field"),
    ],
)
def test_what_would_be_lost_or_misread_is_refused(
    measurement: str, tags: dict[str, str], fields: dict[str, FieldValue], fact: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        Point(measurement, tags, fields, NOON_NS)
    assert fact in caught.value.facts


class Named(StrEnum):
    KRAKEN = "kraken"


class OtherFloat(float):
    def __repr__(self) -> str:
        return "seven"


def test_values_of_other_types_are_taken_for_what_they_are() -> None:
    point = Point("m", {"e": Named.KRAKEN}, {"f": OtherFloat(7), "s": Named.KRAKEN}, NOON_NS)
    assert encode([point]).decode() == f'm,e=kraken f=7,s="kraken" {NOON_NS}'
    assert {type(value) for value in point.fields().values()} == {float, str}
    assert type(point.tags()["e"]) is str


def test_whoever_has_the_shape_of_a_point_is_written_as_one() -> None:
    class Own:
        measurement = "m"
        timestamp_ns = 1

        def tags(self) -> dict[str, str]:
            return {}

        def fields(self) -> dict[str, FieldValue]:
            return {"a": True}

    assert encode([Own()]) == b"m a=true 1"
