"""`gal-friday embedded start|stop|status|psql`, as typed in a shell."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded_servers import a_data_directory, postmaster_pid, wait_until_stopped


class Shell:
    """Runs the command line with one data directory."""

    def __init__(self, data_directory: Path) -> None:
        self.data_directory = data_directory
        self.environment = {
            **os.environ,
            "GAL_FRIDAY_EMBEDDED__DATA_DIRECTORY": str(data_directory),
            "GAL_FRIDAY_EMBEDDED__LINGER_SECONDS": "0",
        }

    def embedded(self, *arguments: str, exit_code: int = 0, **environment: str) -> str:
        """Output of `gal-friday embedded …`, which must end with *exit_code*."""
        done = subprocess.run(
            [sys.executable, "-m", "gal_friday", "embedded", *arguments],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == exit_code, done.stdout
        return done.stdout


@pytest.fixture
def shell() -> Iterator[Shell]:
    with a_data_directory() as directory:
        yield Shell(directory)


def test_a_server_started_by_hand_runs_until_it_is_stopped_by_hand(shell: Shell) -> None:
    assert "is not running" in shell.embedded("status", exit_code=3)
    assert not shell.data_directory.exists(), "asking changes nothing"
    started = shell.embedded("start")
    pid = postmaster_pid(shell.data_directory)
    assert "stays so until: gal-friday embedded stop" in started
    assert str(shell.data_directory) in started
    status = shell.embedded("status")
    assert f"process {pid}; pinned" in status
    assert "has been stopped" in shell.embedded("stop")
    assert "was not running" in shell.embedded("stop")
    assert "is not running" in shell.embedded("status", exit_code=3)


def test_psql_starts_the_server_for_itself_and_hands_on_its_exit_code(shell: Shell) -> None:
    assert shell.embedded("psql", "-XAtc", "SELECT current_database()").strip() == "gal_friday"
    wait_until_stopped(shell.data_directory)
    failed = shell.embedded("psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "SELECT 1/0", exit_code=1)
    assert "division by zero" in failed


def test_an_error_is_one_that_says_what_to_do_and_no_traceback(shell: Shell) -> None:
    told = shell.embedded("start", exit_code=1, GAL_FRIDAY_EMBEDDED__BIN_DIRECTORY="/nonexistent")
    assert "no PostgreSQL of version 15 or newer runs here; pip install 'gal_friday[embedded]'" in told
    assert "Traceback" not in told


def test_a_configured_url_is_mentioned_and_its_password_is_not(shell: Shell) -> None:
    url = "postgresql://bot:s3cret@db.example/bot"
    told = shell.embedded("status", exit_code=3, GAL_FRIDAY_DATABASE__URL=url)
    assert "GAL_FRIDAY_DATABASE__URL is set" in told
    assert "s3cret" not in told
