"""What the watchdog decides, with the watchdog in this process."""

import contextlib
import fcntl
import os
import queue
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gal_friday.embedded import EmbeddedServer, watchdog
from gal_friday.embedded.postmaster import ready
from gal_friday.embedded.store import Store
from gal_friday.embedded.watchdog import Watchdog
from gal_friday.locks import Deadline, FileLock, is_held
from tests.embedded_servers import embedded_settings, end_everything, store_of, watchdog_pid
from tests.servers import wait_for


@pytest.fixture
def store(data_directory: Path) -> Store:
    # The plan is the copied one's until the server has been started here.
    with EmbeddedServer(embedded_settings(data_directory)):
        pass
    end_everything(data_directory)
    return store_of(data_directory)


@contextlib.contextmanager
def a_watchdog(store: Store, *, starts_server: bool = True) -> Iterator[threading.Thread]:
    """A thread that ends when the watchdog would."""
    fd = -1
    if starts_server:
        with FileLock(store.server_lock) as lock:
            assert lock.try_exclusive()
            fd = os.dup(lock.fd)
    dog = Watchdog(str(store.plan), fd)
    thread = threading.Thread(target=dog.run)
    thread.start()
    try:
        wait_for(lambda: ready(store.cluster) is not None, "the server did not start")
        yield thread
        thread.join(60)
        assert not thread.is_alive()
    finally:
        os.close(dog._watchdog_lock)


@contextlib.contextmanager
def a_user(store: Store) -> Iterator[None]:
    with FileLock(store.users_lock) as share:
        share.shared()
        yield


def kill(store: Store) -> int:
    pid_file = ready(store.cluster)
    assert pid_file
    os.kill(pid_file.pid, signal.SIGKILL)
    return pid_file.pid


def is_replaced(store: Store, pid: int) -> bool:
    pid_file = ready(store.cluster)
    return pid_file is not None and pid_file.pid != pid


def test_it_restarts_a_killed_server_in_use_and_stops_it_after_the_last_user(store: Store) -> None:
    share = FileLock(store.users_lock)
    share.shared()
    with a_watchdog(store):
        killed = kill(store)
        wait_for(lambda: is_replaced(store, killed), "the server was not started again")
        share.close()
    assert not is_held(store.server_lock)
    assert not (store.cluster / "postmaster.pid").exists(), "it was a clean stop"


def test_it_gives_up_on_a_server_that_keeps_being_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "SHORT_LIFE_SECONDS", 600)  # a slow machine takes its time to start one
    with a_user(store), a_watchdog(store):
        for _ in range(watchdog.SHORT_LIVES_ALLOWED - 1):
            killed = kill(store)
            wait_for(lambda pid=killed: is_replaced(store, pid), "the server was not started again")  # type: ignore[misc]  # no types in lambdas
        kill(store)
    wait_for(lambda: not is_held(store.server_lock), "its children did not notice")


def test_it_does_not_restart_a_server_nobody_uses(store: Store) -> None:
    store.pin.touch()  # or it would have stopped already
    with a_watchdog(store) as dog, FileLock(store.start_lock) as start_lock:
        assert start_lock.try_exclusive()
        kill(store)
        wait_for(lambda: not is_held(store.server_lock), "SIGKILL did not end it")
        store.pin.unlink()
        assert dog.is_alive(), "it waits for whoever starts or stops the server"
    assert not is_held(store.server_lock)


def test_it_leaves_a_server_that_ended_by_itself_alone(store: Store) -> None:
    with a_user(store), a_watchdog(store):
        pid_file = ready(store.cluster)
        assert pid_file
        os.kill(pid_file.pid, signal.SIGTERM)
    assert not is_held(store.server_lock)


def test_it_lets_the_next_one_take_over_who_was_faster_to_start_a_killed_server(store: Store) -> None:
    server = EmbeddedServer(embedded_settings(store.start_lock.parent))
    with a_user(store):
        with a_watchdog(store), FileLock(store.start_lock) as start_lock:
            assert start_lock.try_exclusive()
            kill(store)
            # What start() does; the watchdog waits meanwhile.
            with FileLock(store.server_lock) as server_lock:
                wait_for(server_lock.try_exclusive, "SIGKILL did not end it")
                server._start(store, server_lock, Deadline(30))
            wait_for(lambda: ready(store.cluster) is not None, "the server did not start")
            others = ready(store.cluster)
        assert others == ready(store.cluster)


def test_it_goes_on_when_a_user_came_back_at_the_last_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    is_needed = Watchdog._is_needed

    def reported(dog: Watchdog) -> bool:
        answers.put(answer := is_needed(dog))
        return answer

    monkeypatch.setattr(Watchdog, "_is_needed", reported)
    with FileLock(store.start_lock) as start_lock:
        assert start_lock.try_exclusive()
        with a_watchdog(store):
            # Nobody uses the server: the watchdog waits for the start lock to stop it.
            with a_user(store):
                fcntl.flock(start_lock.fd, fcntl.LOCK_UN)
                assert answers.get(timeout=30) is True
                assert ready(store.cluster)
            assert answers.get(timeout=30) is False
    assert not is_held(store.server_lock)


def test_it_keeps_a_pinned_server_until_the_pin_is_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "PIN_POLL_SECONDS", 0.01)
    store.pin.touch()
    looks = 0
    seen = threading.Event()
    is_pinned = Watchdog._is_pinned

    def counted(dog: Watchdog) -> bool:
        nonlocal looks
        looks += 1
        if looks > 3:
            seen.set()
        return is_pinned(dog)

    monkeypatch.setattr(Watchdog, "_is_pinned", counted)
    with a_watchdog(store):
        assert seen.wait(30)
        assert ready(store.cluster)
        store.pin.unlink()
    assert not is_held(store.server_lock)


def test_it_takes_over_a_server_it_did_not_start(store: Store) -> None:
    data_directory = store.start_lock.parent
    server = EmbeddedServer(embedded_settings(data_directory))
    server.start()
    os.kill(watchdog_pid(data_directory), signal.SIGKILL)
    wait_for(lambda: not is_held(store.watchdog_lock), "SIGKILL did not end it")
    with a_watchdog(store, starts_server=False):
        server.stop()
    assert not is_held(store.server_lock)
    assert not (store.cluster / "postmaster.pid").exists(), "it was a clean stop"


def test_a_deleted_data_directory_takes_its_server_with_it(store: Store) -> None:
    hidden = store.plan.with_name("hidden")
    with a_user(store), a_watchdog(store):
        store.plan.rename(hidden)
        kill(store)
    hidden.rename(store.plan)
    wait_for(lambda: not is_held(store.server_lock), "there was no plan left to start it again by")


def test_its_process_outlives_whoever_started_it(store: Store) -> None:
    data_directory = store.start_lock.parent
    with EmbeddedServer(embedded_settings(data_directory)):
        pid = watchdog_pid(data_directory)
        assert os.getsid(pid) != os.getsid(0)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(pid, number)
        assert watchdog_pid(data_directory) == pid
