"""The command line as a person meets it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gal_friday import __version__


def gal_friday(*arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GAL_FRIDAY_")}
    return subprocess.run(
        [sys.executable, "-m", "gal_friday", *arguments],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_names_every_command(tmp_path: Path) -> None:
    done = gal_friday("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("demo", "replay", "db", "embedded", "audit"):
        assert command in done.stdout


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert gal_friday("--version", cwd=tmp_path).stdout.strip() == __version__


def test_a_malformed_setting_exits_with_2_and_names_the_variable(tmp_path: Path) -> None:
    done = gal_friday("db", "current", cwd=tmp_path, GAL_FRIDAY_DATABASE__POOL_SIZE="lots")
    assert done.returncode == 2
    assert "GAL_FRIDAY_DATABASE__POOL_SIZE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_malformed_settings_file_exits_with_2_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    done = gal_friday("--db-config", "bad.json", "db", "current", cwd=tmp_path)
    assert done.returncode == 2
    assert "bad.json" in done.stderr


def test_an_error_exits_with_1_and_says_what_to_try(tmp_path: Path) -> None:
    done = gal_friday(
        "db",
        "current",
        cwd=tmp_path,
        GAL_FRIDAY_DATABASE__URL="postgresql://bot:hunter2@127.0.0.1:1/trading",
        GAL_FRIDAY_DATABASE__RETRY_TIMEOUT_SECONDS="0.1",
    )
    assert done.returncode == 1
    assert "The database cannot be reached" in done.stderr
    assert "gal-friday db url" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_settings_serves_from_any_directory(tmp_path: Path, empty_database_url: str) -> None:
    (tmp_path / "database.toml").write_text(f'[database]\nurl = "{empty_database_url}"\n')
    for command in ("upgrade", "check", "current"):
        done = gal_friday("--db-config", "database.toml", "db", command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "0001" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "database.toml"], "nothing else was made"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_line_says_what_to_install(tmp_path: Path, missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from gal_friday.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "gal_friday[cli]" in done.stderr


def test_the_url_is_shown_without_its_password(tmp_path: Path) -> None:
    done = gal_friday(
        "db", "url", cwd=tmp_path, GAL_FRIDAY_DATABASE__URL="postgresql://bot:hunter2@db.example/trading"
    )
    assert done.returncode == 0
    assert "db.example/trading" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
