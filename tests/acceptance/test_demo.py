"""The demonstration proves what it prints, and leaves nothing behind."""

import re
import shutil
import subprocess
import sys
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
from gal_friday.replay.crash import Fills
from gal_friday.replay.demo import Demonstration, doubled_fills, lost_fills
from gal_friday.replay.end_state import EndState
from tests.replays import environment_without_settings

ROWS = EndState({"fills": [{"id": "fills#1", "price": "1"}]})
FINE = Demonstration(
    uninterrupted=ROWS, killed=ROWS, kills=(), fills_lost=0, fills_doubled=0, equity={"killed": Decimal(1)}
)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A place for temporary files that root's server can reach, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="gal_friday_test_", dir="/tmp"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


def test_a_killed_replay_cannot_be_told_from_one_left_alone(scratch: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gal_friday", "demo", "--candles", "2000"],
        cwd=tmp_path,
        env=environment_without_settings(TMPDIR=str(scratch), COLUMNS="120"),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        len(
            re.findall(r"^kill \d: [\d,]+ candles stored, the next ones in flight", done.stdout, re.MULTILINE)
        )
        == 3
    )
    rows = dict(re.findall(r"^│ ([\w, ]+?) +│ +[\d,.]* +│ +([\w,.]+) │$", done.stdout, re.MULTILINE))
    assert rows["market_data"] == "2,000"
    assert int(rows["fills"]) > 10
    assert (rows["fills lost"], rows["fills doubled"]) == ("0", "0")
    assert rows["state equal to the uninterrupted run"] == "yes"
    assert list(scratch.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("outcome", "status", "line"),
    [
        (FINE, 0, "yes"),
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
