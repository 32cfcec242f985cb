"""Whatever is killed, and whenever: the next start works, nothing acknowledged is lost, nothing stays."""

import asyncio
import contextlib
import dataclasses
import functools
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest

from gal_friday.embedded import EmbeddedServer, launch
from gal_friday.embedded.postmaster import ready
from gal_friday.embedded.privileges import Account, server_account
from gal_friday.errors import EmbeddedServerError
from gal_friday.locks import FileLock, is_held
from tests.embedded_servers import (
    UserProcess,
    a_data_directory,
    embedded_settings,
    end_everything,
    fetch_value,
    is_running,
    postmaster_pid,
    server_log,
    store_of,
    wait_until_stopped,
    watchdog_pid,
)
from tests.servers import wait_for

A_MINUTE_OF_WORK = "SELECT count(*) FROM generate_series(1, 30000000) a WHERE md5(a::text) = ''"


def test_the_server_stops_after_its_last_user_was_killed(data_directory: Path) -> None:
    with UserProcess(embedded_settings(data_directory)) as user:
        user.wait_for_server()
        user.kill()
    wait_until_stopped(data_directory)
    assert "database system is shut down" in server_log(data_directory)


async def test_a_killed_server_comes_back_for_its_users_with_all_that_was_committed(
    data_directory: Path,
) -> None:
    with EmbeddedServer(embedded_settings(data_directory)) as endpoint:
        await fetch_value(endpoint, "CREATE TABLE kept AS SELECT 42 AS value")
        killed = postmaster_pid(data_directory)
        os.kill(killed, signal.SIGKILL)
        # Nobody calls start(): a connection pool that tries again is all it takes.
        assert await _fetch_when_back(endpoint.dsn, "SELECT value FROM kept", killed, data_directory) == 42
    wait_until_stopped(data_directory)


async def test_start_after_a_kill_returns_a_server_that_answers(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    await fetch_value(server.start(), "CREATE TABLE kept AS SELECT 42 AS value")
    for _ in range(3):
        killed = postmaster_pid(data_directory)
        os.kill(killed, signal.SIGKILL)
        # Until the kernel has taken it away, it still looks alive to everyone.
        wait_for(functools.partial(_is_gone, killed), "SIGKILL did not end it")
        endpoint = server.start()
        assert await fetch_value(endpoint, "SELECT value FROM kept") == 42
    server.stop()
    wait_until_stopped(data_directory)


async def test_user_and_server_killed_together_leave_nothing_in_the_way(data_directory: Path) -> None:
    with UserProcess(embedded_settings(data_directory)) as user:
        await fetch_value(user.wait_for_server(), "CREATE TABLE kept AS SELECT 42 AS value")
        os.kill(user.pid, signal.SIGSTOP)
        os.kill(postmaster_pid(data_directory), signal.SIGKILL)
        user.kill()
    wait_until_stopped(data_directory)
    with EmbeddedServer(embedded_settings(data_directory)) as endpoint:
        assert await fetch_value(endpoint, "SELECT value FROM kept") == 42


async def test_a_backend_that_outlives_its_killed_server_is_waited_for_and_then_ended(
    data_directory: Path,
) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    connection = await asyncpg.connect(server.start().dsn)
    backend = connection.get_server_pid()
    # It computes without looking up, so it does not notice that its server is gone.
    query = asyncio.ensure_future(connection.fetchval(A_MINUTE_OF_WORK))
    await asyncio.to_thread(wait_for, lambda: _processor_seconds(backend) > 0.2, "the query did not begin")
    os.kill(watchdog_pid(data_directory), signal.SIGKILL)  # it would start the server again
    os.kill(postmaster_pid(data_directory), signal.SIGKILL)
    wait_for(lambda: ready(store_of(data_directory).cluster) is None, "SIGKILL did not end it")
    began = time.monotonic()
    with pytest.raises(EmbeddedServerError, match="children of a killed server still run"):
        EmbeddedServer(embedded_settings(data_directory, start_timeout_seconds=1)).start()
    assert time.monotonic() - began < 20
    assert await fetch_value(server.start(), "SELECT 1") == 1
    server.stop()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await query
    connection.terminate()


def test_a_killed_watchdog_is_replaced_by_the_next_user(data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(data_directory)):
        pid = postmaster_pid(data_directory)
        os.kill(watchdog_pid(data_directory), signal.SIGKILL)
        wait_for(lambda: not is_held(store_of(data_directory).watchdog_lock), "SIGKILL did not end it")
        with UserProcess(embedded_settings(data_directory)) as user:
            user.wait_for_server()
            assert postmaster_pid(data_directory) == pid
            user.leave()
        assert postmaster_pid(data_directory) == pid, "we still use it"
    wait_until_stopped(data_directory)
    assert "database system is shut down" in server_log(data_directory)


def test_whoever_leaves_replaces_a_killed_watchdog_so_that_the_server_stops(data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(data_directory)):
        os.kill(watchdog_pid(data_directory), signal.SIGKILL)
        wait_for(lambda: not is_held(store_of(data_directory).watchdog_lock), "SIGKILL did not end it")
    wait_until_stopped(data_directory)
    assert "database system is shut down" in server_log(data_directory)


def test_leaving_a_deleted_data_directory_is_no_error(data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(data_directory)) as endpoint:
        store = store_of(data_directory)
        pid = postmaster_pid(data_directory)
        hidden = data_directory.rename(data_directory.with_name("hidden"))
    assert endpoint.data_directory == store.cluster
    hidden.rename(data_directory)
    wait_until_stopped(data_directory)
    assert _is_gone(pid)


@pytest.mark.parametrize("attempt", range(6))
async def test_killed_at_any_moment_of_its_first_start_it_starts_the_next_time(
    new_data_directory: Path, attempt: int
) -> None:
    with UserProcess(embedded_settings(new_data_directory)) as user:
        wait_for((new_data_directory / "postgresql" / "server.lock").exists, "it did not begin")
        await asyncio.sleep(random.Random(attempt).random() * 0.6)  # the moment is the point
        user.kill()
    with EmbeddedServer(embedded_settings(new_data_directory)) as endpoint:
        assert await fetch_value(endpoint, "SELECT current_database()") == "gal_friday"
    assert not list(store_of(new_data_directory).directory.glob("*unfinished*"))
    wait_until_stopped(new_data_directory)


@pytest.mark.parametrize(
    "contents", ["{other}\n{rest}", "", "no pid\n"], ids=["reused pid", "empty", "garbage"]
)
async def test_a_stale_pid_file_is_seen_through(data_directory: Path, contents: str) -> None:
    with EmbeddedServer(embedded_settings(data_directory)):
        store = store_of(data_directory)
        rest = (store.cluster / "postmaster.pid").read_text().partition("\n")[2]
        lock_file = store.socket_directory / ".s.PGSQL.5432.lock"
        lock_rest = lock_file.read_text().partition("\n")[2]
    wait_until_stopped(data_directory)
    account = server_account(store.cluster)
    # PostgreSQL believes in a pid file whose process exists and belongs to the same account.
    with _a_process_of(account) as other:
        for path, text in (
            (store.cluster / "postmaster.pid", contents.format(other=other.pid, rest=rest)),
            (lock_file, f"{other.pid}\n{lock_rest}"),
        ):
            path.write_text(text)
            os.chown(path, account.uid, account.gid)
        with EmbeddedServer(embedded_settings(data_directory)) as endpoint:
            assert await fetch_value(endpoint, "SELECT 1") == 1
        assert other.poll() is None, "the other process was left alone"


def test_a_server_started_by_hand_is_named_and_left_alone(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    endpoint = server.start()
    server.stop_now()
    store = store_of(data_directory)
    with subprocess.Popen(
        [endpoint.bin_directory / "postgres", "-D", store.cluster, "-k", store.socket_directory, "-h", ""],
        cwd="/",
        env={"LC_ALL": "C"},
        stderr=subprocess.DEVNULL,
        **server_account(store.cluster).popen_options(),
    ) as by_hand:
        wait_for(lambda: "ready" in _pid_file_text(store.cluster), "it did not start")
        with pytest.raises(EmbeddedServerError, match="started by hand") as caught:
            server.start()
        assert caught.value.facts["pid"] == by_hand.pid
        assert by_hand.poll() is None
        by_hand.send_signal(signal.SIGINT)


def test_a_mistake_in_the_configuration_is_named_with_the_end_of_the_log(data_directory: Path) -> None:
    server = EmbeddedServer(embedded_settings(data_directory))
    server.start()
    server.stop_now()
    configuration = store_of(data_directory).cluster / "postgresql.conf"
    right = configuration.read_text()
    configuration.write_text(right + "shared_bufers = 1\n")
    with pytest.raises(EmbeddedServerError, match='unrecognized configuration parameter "shared_bufers"'):
        server.start()
    wait_until_stopped(data_directory)
    configuration.write_text(right)
    server.start()
    server.stop()


def test_a_start_that_takes_too_long_is_reported_in_time(data_directory: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"the server was not ready after 0\.001 s"):
        EmbeddedServer(embedded_settings(data_directory, start_timeout_seconds=0.001)).start()
    wait_until_stopped(data_directory)


def test_whoever_cannot_get_the_start_lock_says_so(data_directory: Path) -> None:
    with FileLock(store_of(data_directory).start_lock) as lock:
        assert lock.try_exclusive()
        server = EmbeddedServer(embedded_settings(data_directory, start_timeout_seconds=0.05))
        for call in (server.start, server.stop_now):
            with pytest.raises(EmbeddedServerError, match="another process kept starting or stopping"):
                call()


def test_a_server_that_does_not_stop_is_reported_in_time(data_directory: Path) -> None:
    with EmbeddedServer(embedded_settings(data_directory)):
        pid = postmaster_pid(data_directory)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EmbeddedServerError, match=r"the server still ran after 0\.2 s") as caught:
            EmbeddedServer(embedded_settings(data_directory, start_timeout_seconds=0.2)).stop_now()
        assert caught.value.facts["pid"] == pid
        os.kill(pid, signal.SIGCONT)
        wait_until_stopped(data_directory)


async def test_a_socket_directory_in_tmp_is_used_again_after_everything_was_killed() -> None:
    with a_data_directory("a" * 120) as data_directory:
        with UserProcess(embedded_settings(data_directory)) as user:
            dsn = user.wait_for_server()
            os.kill(watchdog_pid(data_directory), signal.SIGKILL)
            os.kill(postmaster_pid(data_directory), signal.SIGKILL)
            user.kill()
        wait_until_stopped(data_directory)
        with EmbeddedServer(embedded_settings(data_directory)) as endpoint:
            assert endpoint.dsn == dsn
            assert await fetch_value(endpoint, "SELECT 1") == 1
            assert endpoint.socket_directory
            # Somebody else could have put one of that name there.
            is_private = functools.partial(launch._is_private, endpoint.socket_directory)
            account = server_account(endpoint.data_directory)
            assert is_private(account)
            assert not is_private(dataclasses.replace(account, uid=account.uid + 1))


def test_a_long_log_is_put_aside(data_directory: Path) -> None:
    log = store_of(data_directory).log
    with log.open("wb") as file:
        file.truncate(launch.LONGEST_LOG_BYTES + 1)
    with EmbeddedServer(embedded_settings(data_directory)):
        assert log.stat().st_size < 10_000
        assert log.with_suffix(".log.1").stat().st_size > launch.LONGEST_LOG_BYTES


def test_a_file_size_limit_is_named_and_the_next_start_is_clean(new_data_directory: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(EmbeddedServerError, match="initdb failed"):
            EmbeddedServer(embedded_settings(new_data_directory)).start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not is_running(store_of(new_data_directory))
    with EmbeddedServer(embedded_settings(new_data_directory)):
        assert not list(store_of(new_data_directory).directory.glob("*unfinished*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk to fill")
@pytest.mark.parametrize("megabytes", [1, 60], ids=["for initdb", "for the server"])
def test_a_full_disk_is_named_in_bounded_time_and_room_made_is_used(megabytes: int) -> None:
    with _a_small_disk(megabytes) as data_directory:
        server = EmbeddedServer(embedded_settings(data_directory))
        if megabytes > 1:
            server.start()
            server.stop_now()
            wait_until_stopped(data_directory)
            with pytest.raises(OSError, match="No space left"):
                (data_directory / "ballast").write_bytes(bytes(megabytes * 2**20))
        began = time.monotonic()
        with pytest.raises(EmbeddedServerError, match="the disk is full"):
            server.start()
        assert time.monotonic() - began < 20
        subprocess.run(["mount", "-o", "remount,size=200m", data_directory], check=True)
        with server:
            assert server.status().state == "running"


@contextlib.contextmanager
def _a_small_disk(megabytes: int) -> Iterator[Path]:
    with a_data_directory() as data_directory:
        data_directory.mkdir()
        options = f"size={megabytes}m,mode=711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", data_directory], check=True)
        try:
            yield data_directory
        finally:
            end_everything(data_directory)
            subprocess.run(["umount", data_directory], check=True)


@contextlib.contextmanager
def _a_process_of(account: Account) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"], cwd="/", **account.popen_options()) as process:
        try:
            yield process
        finally:
            process.kill()


async def _fetch_when_back(dsn: str, query: str, killed: int, data_directory: Path) -> object:
    wait_for(lambda: f"[{killed}]" not in server_log(data_directory).splitlines()[-1], "it was not started")
    async with asyncio.timeout(30):
        while True:
            try:
                return await fetch_value(dsn, query)
            except (asyncpg.CannotConnectNowError, OSError):
                await asyncio.sleep(0.01)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _processor_seconds(pid: int) -> float:
    """Processor time a process has used, as ps knows it, in hundredths where there is /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pid_file_text(cluster: Path) -> str:
    path = cluster / "postmaster.pid"
    return path.read_text() if path.exists() else ""
