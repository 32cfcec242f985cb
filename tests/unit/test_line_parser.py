"""Line protocol is read back as it was written."""

import gzip
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.batches import Batch, made_at, points_in
from gal_friday.timeseries.line_parser import parse, split
from gal_friday.timeseries.line_protocol import encode
from gal_friday.timeseries.names import escaped_tag_key
from gal_friday.timeseries.points import Point
from tests.influx import grammar


def _may_be_a_name(text: str) -> bool:
    try:
        escaped_tag_key(text)
    except InvalidValue:
        return False
    return not text.startswith("#")


CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")
NAMES = (st.text(CHARACTERS, min_size=1, max_size=8) | st.text('a,= "\\b', min_size=1)).filter(_may_be_a_name)
VALUES = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.text(CHARACTERS, max_size=8)
    | st.text('\\"\n, =', max_size=8)
)
POINTS = st.builds(
    Point,
    NAMES,
    st.dictionaries(NAMES, NAMES, max_size=3),
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=3),
    st.integers(-(2**62), 2**62),
)


@given(st.lists(POINTS, min_size=1, max_size=4))
def test_points_come_back_as_they_were_and_a_line_each(points: list[Point]) -> None:
    lines = encode(points)
    assert parse(lines) == points
    assert split(lines) == [encode([point]) for point in points]


@given(POINTS)
def test_a_reader_of_the_grammar_finds_the_same_in_a_line(point: Point) -> None:
    line = grammar.parse(encode([point]).decode())
    assert line.measurement == point.measurement
    assert dict(line.tags) == dict(point.tags())
    assert dict(line.fields) == dict(point.fields())
    assert [type(value) for _, value in sorted(line.fields)] == [
        type(value) for _, value in sorted(point.fields().items())
    ]
    assert line.at == point.timestamp_ns


@pytest.mark.parametrize(
    "line",
    [b"m", b"m v", b"m v=", b"m v=1", b"m v=1 x", b"m,t v=1 1", b"m v=1a 1", b"m v=1i2 1", b' v="1', b""],
)
def test_what_is_no_line_is_an_error_that_names_it(line: bytes) -> None:
    with pytest.raises(InvalidValue):
        parse(b"good v=1 1\n" + line)


def test_lines_that_are_none_are_split_off_nevertheless() -> None:
    assert split(b'm s="a\nb" 1\nm v="\nm v=2 2') == [b'm s="a\nb" 1', b'm v="', b"m v=2 2"]


def test_a_batch_says_what_it_has_and_when_it_was_made() -> None:
    batch = Batch.of(b"m v=1 1\nm v=2 2", 2)
    record = batch.encode()
    assert Batch.decode(record) == batch
    assert points_in(record) == 2
    when = made_at(record)
    assert when is not None
    assert when.tzinfo is UTC
    assert gzip.decompress(batch.content) == batch.lines()
    assert (points_in(b"short"), made_at(b"short")) == (0, None)
    with pytest.raises(InvalidValue):
        Batch.decode(b"short").lines()
