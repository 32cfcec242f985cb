"""The demonstration proves what it prints, and leaves nothing behind."""

import logging
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gal_friday.cli import app
from gal_friday.replay import demo
from gal_friday.replay.child import ReplayFailed
from gal_friday.replay.crash import Fills
from gal_friday.replay.demo import Demonstration, doubled_fills, lost_fills
from gal_friday.replay.end_state import EndState

ROWS = EndState({"fills": [{"id": "fills#1", "price": "1"}]})
FINE = Demonstration(
    uninterrupted=ROWS, killed=ROWS, kills=(), fills_lost=0, fills_doubled=0, equity={"killed": Decimal(1)}
)


@pytest.fixture(autouse=True)
def the_log_level_stays() -> Iterator[None]:
    """The command sets it for its process, which here is the tests'."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place for temporary files: one that root's server can reach, which pytest's own is not."""
    tmp_path_factory.getbasetemp()  # made on first use, which must not be here
    directory = Path(tempfile.mkdtemp(prefix="gal_friday_test_", dir="/tmp"))
    directory.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    shutil.rmtree(directory)


@pytest.mark.usefixtures("children_are_not_measured")
def test_a_killed_replay_cannot_be_told_from_one_left_alone(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "120"}).invoke(
        app, ["demo", "--candles", "1200"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    kills = re.findall(
        r"^kill \d: [\d,]+ candles stored, the next ones in flight", result.stdout, re.MULTILINE
    )
    assert len(kills) == 3
    rows = dict(re.findall(r"^│ ([\w, ]+?) +│ +[\d,.]* +│ +([\w,.]+) │$", result.stdout, re.MULTILINE))
    assert rows["market_data"] == "1,200"
    assert int(rows["fills"]) > 10
    assert (rows["fills lost"], rows["fills doubled"]) == ("0", "0")
    assert "state equal to the uninterrupted run: yes" in result.stdout
    assert list(scratch.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("children_are_not_measured")
def test_a_replay_that_fails_ends_the_demonstration_with_its_output(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "write_candles", lambda path, _: path.write_text("no candles"))
    result = CliRunner().invoke(app, ["demo"])
    assert isinstance(result.exception, ReplayFailed)
    assert "has no candles" in str(result.exception.facts["output"])
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("outcome", "status", "line"),
    [
        (FINE, 0, "run: yes"),
        (replace(FINE, fills_lost=1), 1, "fills lost"),
        (replace(FINE, fills_doubled=2), 1, "fills doubled"),
        (
            replace(FINE, killed=EndState({"fills": [{"id": "fills#1", "price": "2"}]})),
            1,
            "fills, row 1, price",
        ),
    ],
    ids=["fine", "lost", "doubled", "unequal"],
)
def test_whatever_is_lost_doubled_or_unequal_fails_it(
    outcome: Demonstration, status: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def demonstrate(**_: object) -> Demonstration:
        return outcome

    monkeypatch.setattr(demo, "demonstrate", demonstrate)
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["demo"])
    assert result.exit_code == status
    assert line in result.stdout


def test_a_fill_seen_once_must_be_there_at_the_end() -> None:
    one, two, three = ((number,) for number in (1, 2, 3))
    seen: list[Fills] = [Counter([one]), Counter([one, two])]
    assert lost_fills(seen, Counter([one, two]), Counter([one, two])) == 0
    assert lost_fills(seen, Counter([one]), Counter([one])) == 1
    assert lost_fills(seen, Counter([one, two, three]), Counter([one, two])) == 1
    assert doubled_fills(Counter([one, two]), Counter([one, two])) == 0
    assert doubled_fills(Counter([one, two]), Counter([one, two, two])) == 1
    assert doubled_fills(Counter([one]), Counter([one, three])) == 1
