"""The crash bench itself: what it prints, and that nothing of it stays."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.crash import __main__ as bench
from tests.crash.bench import Bench, Round
from tests.crash.check import Verdict
from tests.crash.faults import Kind, kinds_not_run
from tests.crash.process import ROOT, unmeasured
from tests.servers import TRADER, wait_for


def still_run(pids: Iterable[int]) -> bool:
    """Whether any of them does; the dead that nobody has waited for do not."""
    listing = ["ps", "-o", "stat=", "-p", ",".join(map(str, pids))]
    states = subprocess.run(listing, stdout=subprocess.PIPE, text=True, check=False).stdout
    return any(not state.startswith("Z") for state in states.split())


def descendants(pid: int) -> dict[int, str]:
    """Every process *pid* has started, then those they have, with their command lines."""
    listing = subprocess.check_output(["ps", "-ww", "-eo", "pid=,ppid=,args="], text=True)
    lines = [line.split(maxsplit=2) for line in listing.splitlines()]
    found: dict[int, str] = {}
    parents = {pid}
    while parents:
        children = {int(child): rest for child, parent, *rest in lines if int(parent) in parents}
        found |= {child: " ".join(rest) for child, rest in children.items()}
        parents = set(children)
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_when_it_is_ended(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.crash", "--rounds", "1000", "--seed", "1"],
        cwd=ROOT,
        env=unmeasured(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("round 0: ")
        started = descendants(process.pid)
        process.send_signal(how)
        process.communicate()
    assert process.returncode == (bench.INTERRUPTED if how is signal.SIGINT else -how)
    postmaster = next(arguments.split() for arguments in started.values() if "postgres -D" in arguments)
    data_directory = Path(postmaster[postmaster.index("-D") + 1])
    wait_for(lambda: not still_run(started), f"{started} still run")
    wait_for(lambda: not data_directory.parent.exists(), f"{data_directory} is still there")
    assert str(data_directory) not in Path("/proc/mounts").read_text()


async def test_a_server_that_acknowledges_what_is_not_yet_durable_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.crash.bench.RECOVERY_SECONDS", 5.0)
    async with Bench(seed=1) as struck:
        struck._server.run("psql", "-c", f"ALTER ROLE {TRADER} SET synchronous_commit = off")
        struck._server.run("psql", "-c", "ALTER SYSTEM SET wal_writer_delay = '10s'")
        struck._server.restart()
        verdict = (await struck.round(Kind.POSTMASTER_KILLED)).verdict
    assert any("missing from" in violation for violation in verdict.violations)


def a_round(kind: Kind, *violations: str) -> Round:
    return Round(0, kind, 30, 1, Verdict(whole=1, absent=2, violations=list(violations)), 0.25)


@pytest.fixture
def outcome_is(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The rounds it is to have had, and the violations it ends with."""
    monkeypatch.setenv("COLUMNS", "200")

    def set_outcome(*rounds: Round, ends_with: list[str]) -> None:
        async def run(_seed: int, _rounds: int, report: Callable[[Round], None]) -> list[str]:
            for each in rounds:
                report(each)
            return ends_with

        monkeypatch.setattr(bench, "run", run)

    return set_outcome


def test_a_violation_fails_it_and_it_tells_how_to_see_that_again(
    outcome_is: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome_is(a_round(Kind.CLIENT_KILLED, "a fill is missing"), ends_with=["a fill is missing"])
    assert bench.main(["--seed", "7", "--rounds", "100"]) == 1
    printed = capsys.readouterr().out
    assert "VIOLATION: a fill is missing" in printed
    assert "python -m tests.crash --seed 7 --rounds 1" in printed


def test_a_fault_that_is_not_possible_here_is_named_in_the_table(
    outcome_is: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("__main__", "table"):
        monkeypatch.setattr(
            f"tests.crash.{module}.kinds_not_run", lambda: {Kind.DISK_FULL: "only root may mount"}
        )
    outcome_is(a_round(Kind.CLIENT_KILLED), a_round(Kind.NETWORK_CUT), ends_with=[])
    assert bench.main(["--seed", "7", "--rounds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (full,) = (line for line in lines if "disk full" in line)
    assert "not run: only root may mount" in full
    (total,) = (line.split("│") for line in lines if line.startswith("│ all"))
    assert [part.strip() for part in total[2:8]] == ["2", "60", "2", "2", "4", "0"]
    assert Kind.DISK_FULL not in bench.kinds_of(7, 100)


def test_every_fault_comes_before_any_comes_again() -> None:
    kinds = list(bench.kinds_of(5, 2 * len(Kind)))
    possible = set(Kind) - set(kinds_not_run())
    assert set(kinds[: len(possible)]) == set(kinds[len(possible) : 2 * len(possible)]) == possible
    assert kinds == list(bench.kinds_of(5, 2 * len(Kind)))
