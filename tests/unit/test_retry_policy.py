"""What is tried again after which error."""

import inspect
from collections.abc import Iterator

import pytest

from gal_friday import errors
from gal_friday.dal.retry_policy import RETRIED, Work, is_retried
from gal_friday.dal.retrying import retry
from gal_friday.errors import (
    CommitUnknown,
    ConnectionLost,
    ConnectionRejected,
    DatabaseUnavailable,
    PersistenceError,
    StaleWrite,
    TransactionConflict,
)


def every_error() -> Iterator[type[PersistenceError]]:
    for _, thing in inspect.getmembers(errors, inspect.isclass):
        if issubclass(thing, PersistenceError):
            yield thing


def test_every_error_is_in_the_table() -> None:
    assert set(RETRIED) == set(every_error())


def test_what_may_be_stored_already_is_never_done_again() -> None:
    assert not any(is_retried(CommitUnknown(), work) for work in Work)


def test_a_version_the_caller_has_read_is_not_read_anew_behind_its_back() -> None:
    assert is_retried(StaleWrite(), Work.UNIT_OF_WORK)
    assert [work for work in Work if is_retried(StaleWrite(), work)] == [Work.UNIT_OF_WORK]


def test_every_kind_of_work_is_tried_again_after_something() -> None:
    assert set().union(*RETRIED.values()) == set(Work)


def test_work_that_begins_a_transaction_outlasts_a_restart_but_no_refused_login() -> None:
    assert is_retried(DatabaseUnavailable(), Work.BEGIN)
    assert not any(is_retried(ConnectionRejected(), work) for work in Work)


def test_an_error_made_elsewhere_counts_as_the_one_it_derives_from() -> None:
    class Deadlock(TransactionConflict):
        """Of an adapter."""

    assert is_retried(Deadlock(), Work.UNIT_OF_WORK)
    assert not any(is_retried(OSError(), work) for work in Work)


async def test_tries_end_with_the_last_error() -> None:
    tries = 0

    async def always_lost() -> None:
        nonlocal tries
        tries += 1
        raise ConnectionLost(tries=tries)

    with pytest.raises(ConnectionLost) as caught:
        await retry(always_lost, work=Work.READ, timeout_seconds=60, attempts=3)
    assert caught.value.facts == {"tries": 3}


async def test_what_is_not_in_the_table_for_this_work_is_raised_at_once() -> None:
    tries = 0

    async def stale() -> None:
        nonlocal tries
        tries += 1
        raise StaleWrite

    with pytest.raises(StaleWrite):
        await retry(stale, work=Work.SAVE, timeout_seconds=60)
    assert tries == 1
