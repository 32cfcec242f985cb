"""What users of the embedded server see while nothing goes wrong."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from gal_friday.embedded import EmbeddedServer
from gal_friday.errors import EmbeddedServerError
from tests.conftest import BIN_DIRECTORIES
from tests.embedded_servers import (
    UserProcess,
    a_data_directory,
    embedded_settings,
    fetch_value,
    postmaster_pid,
    server_log,
    store_of,
    users,
    wait_until_stopped,
)
from tests.servers import wait_for


@pytest.mark.parametrize("bin_directory", BIN_DIRECTORIES.values(), ids=BIN_DIRECTORIES.keys())
async def test_the_first_start_makes_a_database_on_every_version(
    new_data_directory: Path, bin_directory: Path
) -> None:
    with EmbeddedServer(embedded_settings(new_data_directory, bin_directory=bin_directory)) as endpoint:
        assert await fetch_value(endpoint, "SELECT current_database() || ' ' || current_user") == (
            "gal_friday gal_friday"
        )
        assert (await fetch_value(endpoint, "SHOW server_version")).split()[0] == endpoint.version
        assert await fetch_value(endpoint, "SHOW server_encoding") == "UTF8"
        assert await fetch_value(endpoint, "SELECT 'ä' < 'z'") is False, "text sorts by code point"
        assert endpoint.bin_directory == bin_directory


async def test_sqlalchemy_connects_by_the_url(data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(data_directory)) as endpoint:
        engine = create_async_engine(endpoint.url)
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        await engine.dispose()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("timezone", "GMT"),
    ],
)
async def test_the_server_keeps_what_it_acknowledged_and_listens_on_no_network(
    running_server: str, setting: str, value: str
) -> None:
    connection = await asyncpg.connect(running_server)
    try:
        assert await connection.fetchval("SELECT current_setting($1)", setting) == value
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def running_server() -> Iterator[str]:
    with a_data_directory() as directory, EmbeddedServer(embedded_settings(directory)) as endpoint:
        yield endpoint.dsn


def test_only_the_owner_gets_to_the_data_and_the_socket(new_data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(new_data_directory)) as endpoint:
        assert endpoint.socket_directory
        for directory in (endpoint.socket_directory, endpoint.data_directory):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700


async def test_data_outlives_the_server(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    await fetch_value(server.start(), "CREATE TABLE kept AS SELECT 42 AS value")
    first_pid = postmaster_pid(data_directory)
    assert server.stop_now()
    endpoint = server.start()
    assert postmaster_pid(data_directory) != first_pid
    assert await fetch_value(endpoint, "SELECT value FROM kept") == 42
    server.stop()


def test_starting_again_changes_nothing(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    assert server.start() == server.start()
    server.stop()
    server.stop()
    wait_until_stopped(data_directory)


async def test_processes_share_one_server_and_the_last_one_out_stops_it_cleanly(data_directory: Path) -> None:
    with users(2, embedded_settings(data_directory)) as (first, second):
        assert first.wait_for_server() == (dsn := second.wait_for_server())
        first.leave()
        assert await fetch_value(dsn, "SELECT 1") == 1
        assert EmbeddedServer(embedded_settings(data_directory)).status().in_use
        second.leave()
        wait_until_stopped(data_directory)
    assert "database system is shut down" in server_log(data_directory)
    assert EmbeddedServer(embedded_settings(data_directory)).status().state == "stopped"


def test_who_comes_back_while_it_lingers_meets_the_same_server(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory, linger_seconds=60))
    server.start()
    pid = postmaster_pid(data_directory)
    server.stop()
    assert not server.status().in_use
    server.start()
    assert postmaster_pid(data_directory) == pid
    server.stop()


def test_eight_processes_starting_at_once_get_one_server(new_data_directory: Path) -> None:
    with users(8, embedded_settings(new_data_directory)) as processes:
        assert len({process.wait_for_server() for process in processes}) == 1
        for process in processes:
            process.leave()
        wait_until_stopped(new_data_directory)
    assert server_log(new_data_directory).count("starting PostgreSQL") == 1


def test_a_pinned_server_stays_without_users_until_it_is_stopped(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    server.pin()
    pid = postmaster_pid(data_directory)
    server.stop()
    # A whole life of another user passes, after which an unpinned server would stop at once.
    with UserProcess(embedded_settings(data_directory)) as user:
        user.wait_for_server()
        user.leave()
    status = server.status()
    assert (status.state, status.pid, status.pinned, status.in_use) == ("running", pid, True, False)
    assert server.stop_now()
    assert not server.stop_now()
    server.start()
    assert not server.status().pinned, "a pin belongs to one run of the server"
    server.stop()
    wait_until_stopped(data_directory)


def test_stopping_what_was_never_started_makes_nothing(new_data_directory: Path) -> None:
    assert not EmbeddedServer(embedded_settings(new_data_directory)).stop_now()
    assert not new_data_directory.exists()


def test_a_lost_plan_is_named_with_the_way_out(data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(data_directory)):
        store_of(data_directory).plan.unlink()
        with pytest.raises(EmbeddedServerError, match="kill -INT") as caught:
            EmbeddedServer(embedded_settings(data_directory)).start()
        assert caught.value.facts["pid"] == postmaster_pid(data_directory)


def test_a_server_unpinned_by_hand_stops(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    server.pin()
    server.stop()
    store_of(data_directory).pin.unlink()
    wait_until_stopped(data_directory)


async def test_stop_now_does_not_wait_for_other_users(data_directory: Path) -> None:
    with UserProcess(embedded_settings(data_directory)) as user:
        dsn = user.wait_for_server()
        connection = await asyncpg.connect(dsn)
        assert EmbeddedServer(embedded_settings(data_directory)).stop_now()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
        user.leave()


async def test_ctrl_c_ends_the_program_and_not_the_server(data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(data_directory)) as endpoint:
        wait_for(lambda: postmaster_pid(data_directory) > 0, "no server")
    wait_until_stopped(data_directory)
    with (
        UserProcess(embedded_settings(data_directory)) as first,
        EmbeddedServer(embedded_settings(data_directory)),
    ):
        first.wait_for_server()
        pid = postmaster_pid(data_directory)
        assert "KeyboardInterrupt" in first.press_ctrl_c()
        assert await fetch_value(endpoint, "SELECT 1") == 1
        assert postmaster_pid(data_directory) == pid


@pytest.mark.parametrize(
    "name",
    ["with space", "comma,and\"quotes'", "ünïcödé", "percent%41#?&:", "a" * 120, "deep/" * 30 + "end"],
    ids=["space", "list", "unicode", "url", "long", "deep"],
)
async def test_any_path_will_do(name: str) -> None:
    with a_data_directory(name) as directory:
        with EmbeddedServer(embedded_settings(directory)) as endpoint:
            assert await fetch_value(endpoint, "SELECT 1") == 1
            engine = create_async_engine(endpoint.url)
            async with engine.connect() as connection:
                assert (await connection.execute(text("SELECT 1"))).scalar() == 1
            await engine.dispose()
        wait_until_stopped(directory)
        assert endpoint.socket_directory
        is_elsewhere = not endpoint.socket_directory.is_relative_to(directory)
        assert is_elsewhere == (name != "ünïcödé")
        assert endpoint.socket_directory.exists() != is_elsewhere, "a directory in /tmp goes with the server"


def test_the_callers_environment_does_not_matter(data_directory: Path) -> None:
    environment = {
        "PGDATA": "/nonexistent",
        "PGPORT": "1",
        "PGHOST": "nowhere.invalid",
        "PGOPTIONS": "-c fsync=off",
        "LC_ALL": "xx_XX.UTF-8",
        "TZ": "Asia/Tokyo",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    assert "HOME" not in environment
    with UserProcess(embedded_settings(data_directory), environment=environment) as user:
        user.wait_for_server()
        user.leave()


def test_psql_keeps_the_server_for_as_long_as_it_runs(data_directory: Path) -> None:
    program = (
        "import sys\n"
        "from gal_friday.config import EmbeddedSettings\n"
        "from gal_friday.embedded import EmbeddedServer\n"
        "settings = EmbeddedSettings.model_validate_json(sys.argv[1])\n"
        "EmbeddedServer(settings).exec_psql(['-XAtc', 'SELECT 6 * 7, pg_sleep(0.3)', '-c', 'SELECT 43'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, embedded_settings(data_directory).model_dump_json()],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.split() == ["42|", "43"]
    wait_until_stopped(data_directory)
