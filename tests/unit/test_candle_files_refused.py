"""A file that holds no candles, or impossible ones, is refused with the place and the value."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.adapters.candle_files import read_candles
from gal_friday.errors import UnreadableFile

T = 1_795_262_400
HEADER = "time,open,high,low,close,volume\n"
GOOD = f"{T},1,2,0.5,1,7\n"


@pytest.mark.parametrize(
    ("content", "problem", "facts"),
    [
        ("", "is empty", {}),
        (" \n\t", "is empty", {}),
        ("[]", "holds no candles", {}),
        (HEADER, "holds no candles", {}),
        ('{"result": {"XBTUSD": [], "last": 1}}', "holds no candles", {}),
        ("{\n oops", "is not JSON", {"line": 2}),
        ("[" * 100_000, "nested too deep", {}),
        ("[[" + "9" * 5_000 + "]]", "impossible number", {}),
        ("[[1.0e99999999999999999999]]", "impossible number", {}),
        ("[1, 2]", "is neither", {}),
        (
            '{"error": ["EQuery:Unknown asset pair"], "result": {}}',
            "error of Kraken's",
            {"value": "EQuery:Unknown asset pair"},
        ),
        ('{"result": {"A": [], "B": []}}', "for one pair", {}),
        ('{"result": {"XBTUSD": [[1, 2]]}}', "is not a row of", {"at": "row 1"}),
        (f"[[{T}, 1, 2, 0.5, 1, NaN]]", "not a finite number", {"value": "NaN"}),
        (f"[[{T}, 1, 2, 0.5, -Infinity, 1]]", "not a finite number", {"value": "-Infinity"}),
        (f'[[{T}, 1, 2, 0.5, "NaN", 1]]', "close is not a finite number", {"at": "row 1", "value": "NaN"}),
        (f"[[{T}, 1, 2, 0.5, true, 1]]", "close is not a number", {"at": "row 1", "value": "True"}),
        (f"[[{T}, 1, 2, 0.5, null, 1]]", "close is not a number", {"at": "row 1", "value": "None"}),
        (f"[[{T}, 1, 2, 0.5, [], 1]]", "close is not a number", {"at": "row 1", "value": "[]"}),
        (f"[[{T}, 1, 2, 0.5, 1e40, 1]]", "does not fit", {"at": "row 1"}),
        (f"[[{T}, 1, 2, 0.5, 0.1234567890123456789, 1]]", "does not fit", {"at": "row 1"}),
        (f"[[{T}, 1, 2, 0.5, 1, 1], 5]", "is not a row of", {"at": "row 2", "value": "5"}),
        (HEADER + GOOD + f"{T + 60},1,2,x,1,7", "low is not a number", {"at": "line 3", "value": "x"}),
        (HEADER + GOOD + f"{T + 60},1,2,,1,7", "low is not a number", {"at": "line 3", "value": ""}),
        (HEADER + GOOD + f"{T + 60},1,2,1_0,1,7", "low is not a number", {"at": "line 3", "value": "1_0"}),
        (HEADER + GOOD + f"{T + 60},1,0.5,2,1,7", "low is above", {"at": "line 3", "value": "2"}),
        (HEADER + GOOD + f"{T + 60},1,2,0.5,3,7", "high is below", {"at": "line 3", "value": "2"}),
        (HEADER + GOOD + f"{T + 60},0,2,0,1,7", "open is not a price", {"at": "line 3", "value": "0"}),
        (HEADER + GOOD + f"{T + 60},1,2,-1,1,7", "low is not a price", {"at": "line 3", "value": "-1"}),
        (HEADER + GOOD + f"{T + 60},1,2,0.5,1,-7", "volume is negative", {"at": "line 3", "value": "-7"}),
        (HEADER + GOOD + GOOD, "the time repeats", {"at": "line 3", "value": "2026-11-21T12:00:00+00:00"}),
        (HEADER + GOOD + f"{T - 60},1,2,0.5,1,7", "the time goes back", {"at": "line 3"}),
        (HEADER + "noon,1,2,0.5,1,7", "timestamp is not a time", {"at": "line 2", "value": "noon"}),
        (HEADER + "-5,1,2,0.5,1,7", "timestamp is not a time", {"at": "line 2", "value": "-5"}),
        (HEADER + f"{T}{'0' * 9},1,2,0.5,1,7", "timestamp is no time since 1970", {"at": "line 2"}),
        (HEADER + f"{T}.0000001,1,2,0.5,1,7", "finer than a microsecond", {"at": "line 2"}),
        (HEADER + GOOD + f"{T + 60},1,2,0.5,1", "is not a row of", {"at": "line 3"}),
        ("time,open,high,low,volume\n", "misses columns", {"missing": ["close"]}),
        (HEADER + '"', "is not CSV", {}),
        ("1762777020,90.5,1.1\n", "has no candles", {"line": 1}),
        (HEADER + GOOD, "one candle does not tell its length", {}),
        (
            HEADER + "".join(f"{T + second},1,1,1,1,1\n" for second in (0, 60, 120, 121)),
            "overlap",
            {"candle": 4},
        ),
        (HEADER + f"{T},1,1,1,1,1\n{T}.5,1,1,1,1,1\n", "whole seconds", {}),
        (
            '{"result": {"XBTUSD": [[1, 1, 1, 1, 1, 1, 1, 0.5]]}}',
            "trades_count is not a count",
            {"at": "row 1"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.replace(" ", "").isalnum() else "",
)
def test_a_bad_file_is_refused_by_place_and_value(
    tmp_path: Path, content: str, problem: str, facts: dict[str, object]
) -> None:
    path = tmp_path / "candles"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UnreadableFile, match=problem) as refused:
        read_candles(path)
    assert refused.value.facts["file"] == str(path)
    assert {name: refused.value.facts[name] for name in facts} == facts


def test_a_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    path.write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(UnreadableFile, match="is not UTF-8"):
        read_candles(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        read_candles(tmp_path / "absent")
    with pytest.raises(UnreadableFile, match="Is a directory"):
        read_candles(tmp_path)


def test_a_long_value_is_cut_short_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "candles"
    path.write_text(HEADER + f"{T},1,2,0.5,{'x' * 10_000},7")
    with pytest.raises(UnreadableFile, match="close is not a number") as refused:
        read_candles(path)
    assert len(str(refused.value)) < 400


@given(
    st.one_of(st.text(max_size=200), st.from_regex(r"[\[{\",:0-9eE.\-\]}NaInfity\n; ]{0,80}", fullmatch=True))
)
def test_any_text_is_read_or_refused(text: str) -> None:
    assert isinstance(_outcome(text), UnreadableFile | int)


def _outcome(text: str) -> UnreadableFile | int:
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode("utf-8", "surrogatepass"))
        file.flush()
        try:
            return len(read_candles(Path(file.name)).candles)
        except UnreadableFile as refused:
            return refused
