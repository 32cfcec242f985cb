"""Where the embedded server's data may lie, whose it may be, and which versions read it."""

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gal_friday.embedded import EmbeddedServer, store
from gal_friday.embedded.binaries import find_installation
from gal_friday.embedded.privileges import Account, server_account
from gal_friday.errors import EmbeddedServerError
from tests.conftest import BIN_DIRECTORIES
from tests.embedded_servers import (
    a_data_directory,
    embedded_settings,
    end_everything,
    fetch_value,
    postmaster_pid,
    store_of,
    wait_until_stopped,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what only root's server has to do")


# --- versions ------------------------------------------------------------------------------------------


@pytest.mark.skipif(len(BIN_DIRECTORIES) < 2, reason="a second version of PostgreSQL is not installed here")
async def test_data_is_served_by_the_version_that_wrote_it(new_data_directory: Path) -> None:
    for bin_directory in BIN_DIRECTORIES.values():
        with EmbeddedServer(embedded_settings(new_data_directory, bin_directory=bin_directory)) as first:
            await fetch_value(first, "CREATE TABLE kept AS SELECT 42 AS value")
        wait_until_stopped(new_data_directory)
        with EmbeddedServer(embedded_settings(new_data_directory)) as again:
            assert again.version == first.version
            assert await fetch_value(again, "SELECT value FROM kept") == 42
        wait_until_stopped(new_data_directory)
        shutil.rmtree(new_data_directory)


@pytest.mark.skipif(len(BIN_DIRECTORIES) < 2, reason="a second version of PostgreSQL is not installed here")
def test_programs_of_another_version_than_the_data_are_refused_by_both_versions(
    new_data_directory: Path,
) -> None:
    old, new = sorted(BIN_DIRECTORIES.values(), key=_major)[:: len(BIN_DIRECTORIES) - 1]
    with EmbeddedServer(embedded_settings(new_data_directory, bin_directory=old)):
        pass
    end_everything(new_data_directory)
    with pytest.raises(EmbeddedServerError, match=f"written by PostgreSQL {_major(old)}") as caught:
        EmbeddedServer(embedded_settings(new_data_directory, bin_directory=new)).start()
    assert caught.value.facts["data_version"] == _major(old)
    assert str(_major(new)) in str(caught.value.facts["found"])


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("9.6", "written by PostgreSQL 9"),
        ("99", "written by PostgreSQL 99"),
        ("", "damaged"),
        (None, "damaged"),
    ],
)
def test_data_of_a_version_nobody_has_is_left_alone(
    data_directory: Path, version: str | None, message: str
) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    server.start()
    server.stop_now()
    version_file = store_of(data_directory).cluster / "PG_VERSION"
    right = version_file.read_text()
    if version is None:
        version_file.unlink()
    else:
        version_file.write_text(f"{version}\n")
    with pytest.raises(EmbeddedServerError, match=message):
        server.start()
    version_file.write_text(right)
    server.start()
    server.stop()


def _major(bin_directory: Path) -> int:
    account = server_account(Path("/nonexistent"))
    return find_installation(
        embedded_settings(Path(), bin_directory=bin_directory), account, data_major=None
    ).major


# --- places --------------------------------------------------------------------------------------------


def test_a_file_in_place_of_the_data_directory_is_named(new_data_directory: Path) -> None:
    new_data_directory.write_text("")
    server = EmbeddedServer(embedded_settings(new_data_directory))
    with pytest.raises(EmbeddedServerError, match="a file where a directory is needed") as caught:
        server.start()
    assert caught.value.facts["path"] == str(new_data_directory)
    new_data_directory.unlink()


def test_a_link_in_place_of_the_store_is_not_followed(new_data_directory: Path, tmp_path: Path) -> None:
    new_data_directory.mkdir()
    (new_data_directory / store.STORE).symlink_to(tmp_path)
    with pytest.raises(EmbeddedServerError, match="must be a directory, not a link"):
        EmbeddedServer(embedded_settings(new_data_directory)).start()
    assert not list(tmp_path.iterdir())
    (new_data_directory / store.STORE).unlink()


def test_a_data_directory_that_exists_keeps_its_permissions(new_data_directory: Path) -> None:
    new_data_directory.mkdir()
    new_data_directory.chmod(0o755)
    parents = {path: path.stat().st_mode for path in (new_data_directory, *new_data_directory.parents)}
    with EmbeddedServer(embedded_settings(new_data_directory)):
        assert {path: path.stat().st_mode for path in parents} == parents
    assert not (new_data_directory / ".gitignore").exists()


def test_a_data_directory_that_cannot_be_written_is_named() -> None:
    with _a_read_only_directory() as data_directory:
        server = EmbeddedServer(embedded_settings(data_directory))
        with pytest.raises(EmbeddedServerError, match=r"read-only file system|permission denied"):
            server.start()
        assert server.status().state == "stopped"


@contextlib.contextmanager
def _a_read_only_directory() -> Iterator[Path]:
    """Permissions do not stop root, a read-only mount does."""
    with a_data_directory() as outer:
        directory = outer / "data"
        directory.mkdir(parents=True)
        if os.geteuid() == 0:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", directory], check=True)
        else:
            directory.chmod(0o500)
        try:
            yield directory
        finally:
            if os.geteuid() == 0:
                subprocess.run(["umount", directory], check=True)


@needs_root
def test_somebody_elses_data_is_not_touched(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    server.start()
    server.stop_now()
    directory = store_of(data_directory).directory
    os.chown(directory, 12_345, 12_345)
    for call in (server.start, server.status, server.stop_now):
        with pytest.raises(EmbeddedServerError, match="belongs to another user") as caught:
            call()
        assert caught.value.facts["owner_uid"] == 12_345
    os.chown(directory, 0, 0)


# --- as root, where the server's account cannot go ------------------------------------------------------


@pytest.fixture
def closed_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory below one that only root can enter, as /root is."""
    with a_data_directory() as system_directory, a_data_directory("root/checkout/.gal_friday") as directory:
        closed = directory.parents[1]
        directory.parent.mkdir(parents=True)
        closed.chmod(0o700)
        monkeypatch.setattr(
            store, "SYSTEM_DIRECTORIES", (system_directory / "missing" / "x", system_directory)
        )
        yield directory
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        # Before the patch goes, and with it the knowledge where the data lies.
        end_everything(directory)


@needs_root
async def test_roots_server_runs_as_someone_else_and_keeps_its_data_where_they_can_go(
    closed_directory: Path,
) -> None:
    with EmbeddedServer(embedded_settings(closed_directory)) as endpoint:
        await fetch_value(endpoint, "CREATE TABLE kept AS SELECT 42 AS value")
        account = server_account(endpoint.data_directory)
        assert account.uid != 0
        assert _identity_of(postmaster_pid(closed_directory)) == (account.uid, account.gid, [])
    assert store_of(closed_directory).directory.parent in store.SYSTEM_DIRECTORIES
    assert _names_in(closed_directory) == {".gitignore", "start.lock", store.LOCATION}
    wait_until_stopped(closed_directory)
    with EmbeddedServer(embedded_settings(closed_directory)) as endpoint:
        assert await fetch_value(endpoint, "SELECT value FROM kept") == 42


@needs_root
async def test_programs_that_account_cannot_reach_are_copied_once(closed_directory: Path) -> None:
    (closed_directory.parents[1] / "python").mkdir()
    shutil.copytree(
        BIN_DIRECTORIES["wheel"].parent, installation := closed_directory.parents[1] / "python/pg"
    )
    settings = embedded_settings(closed_directory, bin_directory=installation / "bin")
    with EmbeddedServer(settings) as endpoint:
        assert await fetch_value(endpoint, "SELECT count(*) FROM pg_available_extensions") > 10
        copied = endpoint.bin_directory
    assert not copied.is_relative_to(closed_directory.parents[1])
    made_at = copied.stat().st_ctime_ns
    wait_until_stopped(closed_directory)
    with EmbeddedServer(settings) as endpoint:
        assert endpoint.bin_directory == copied
        assert copied.stat().st_ctime_ns == made_at


@needs_root
async def test_a_lost_location_is_found_again(closed_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(closed_directory)) as endpoint:
        await fetch_value(endpoint, "CREATE TABLE kept AS SELECT 42 AS value")
    wait_until_stopped(closed_directory)
    (closed_directory / store.LOCATION).unlink()
    with EmbeddedServer(embedded_settings(closed_directory)) as endpoint:
        assert await fetch_value(endpoint, "SELECT value FROM kept") == 42


@needs_root
async def test_a_new_data_directory_at_the_path_of_a_deleted_one_begins_anew(closed_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(closed_directory)) as endpoint:
        await fetch_value(endpoint, "CREATE TABLE kept AS SELECT 42 AS value")
    end_everything(closed_directory)
    shutil.rmtree(closed_directory)
    with EmbeddedServer(embedded_settings(closed_directory)) as endpoint:
        assert await fetch_value(endpoint, "SELECT to_regclass('kept')::text") is None


@needs_root
@pytest.mark.parametrize("content", ["", "relative/path", "/nonexistent/place", "/tmp", "\0"])
def test_a_wrong_location_is_named_instead_of_beginning_anew(closed_directory: Path, content: str) -> None:
    with EmbeddedServer(embedded_settings(closed_directory)):
        pass
    end_everything(closed_directory)
    location = closed_directory / store.LOCATION
    right = location.read_text()
    location.write_text(content)
    server = EmbeddedServer(embedded_settings(closed_directory))
    for call in (server.start, server.status, server.stop_now):
        with pytest.raises(EmbeddedServerError, match="the data is not where this file says"):
            call()
    location.write_text(right)


@needs_root
async def test_a_moved_data_directory_keeps_its_data_and_a_copied_one_is_refused(
    closed_directory: Path,
) -> None:
    with EmbeddedServer(embedded_settings(closed_directory)) as endpoint:
        await fetch_value(endpoint, "CREATE TABLE kept AS SELECT 42 AS value")
    wait_until_stopped(closed_directory)
    copy = closed_directory.with_name("copy")
    shutil.copytree(closed_directory, copy)
    with pytest.raises(EmbeddedServerError, match="a copy of another one"):
        EmbeddedServer(embedded_settings(copy)).start()
    shutil.rmtree(copy)
    moved = closed_directory.with_name("moved")
    shutil.move(closed_directory, moved)
    with EmbeddedServer(embedded_settings(moved)) as endpoint:
        assert await fetch_value(endpoint, "SELECT value FROM kept") == 42
    wait_until_stopped(moved)
    # At the old path someone else begins anew, without getting the data of the one that moved away.
    with EmbeddedServer(embedded_settings(closed_directory)) as other:
        assert other.data_directory != endpoint.data_directory


@needs_root
def test_system_directories_others_can_write_to_are_not_trusted(
    closed_directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared, foreign, link = (tmp_path / name for name in ("shared", "foreign", "link"))
    shared.mkdir()
    shared.chmod(0o1777)
    foreign.mkdir()
    os.chown(foreign, 12_345, 12_345)
    link.symlink_to("/var/lib")
    monkeypatch.setattr(store, "SYSTEM_DIRECTORIES", (shared, foreign, link))
    with pytest.raises(EmbeddedServerError, match="can use neither") as caught:
        EmbeddedServer(embedded_settings(closed_directory)).start()
    tried = caught.value.facts["tried"]
    assert isinstance(tried, dict)
    assert [reason.split(" (")[0].rpartition(": ")[2] for reason in tried.values()] == [
        "others may write here; chmod go-w it",
        "this belongs to another user; run as that user, or choose another data directory",
        "this must be a directory, not a link or a file",
    ]


@needs_root
def test_an_account_is_not_changed_under_existing_data(data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(data_directory)):
        pass
    end_everything(data_directory)
    nobody = Account("nobody", 65_534, 65_534, is_caller=False)
    subprocess.run(
        ["chown", "-R", f"{nobody.uid}:{nobody.gid}", store_of(data_directory).cluster], check=True
    )
    os.chown(store_of(data_directory).socket_directory, nobody.uid, nobody.gid)
    with EmbeddedServer(embedded_settings(data_directory)):
        assert _identity_of(postmaster_pid(data_directory)) == (nobody.uid, nobody.gid, [])


def _names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def _identity_of(pid: int) -> tuple[int, int, list[str]]:
    """Effective user and group of a process, and its other groups."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: values.split() for name, _, values in (line.partition(":") for line in lines)}
    return int(fields["Uid"][1]), int(fields["Gid"][1]), fields["Groups"]
