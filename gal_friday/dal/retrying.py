"""Trying again: bounded in time, jittered, logged."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from gal_friday.errors import ConnectionRejected, PersistenceError

T = TypeVar("T")

log = logging.getLogger(__name__)


async def retry(
    work: Callable[[], Awaitable[T]],
    *,
    on: tuple[type[PersistenceError], ...],
    timeout_seconds: float,
    attempts: int | None = None,
    first_wait_seconds: float = 0.05,
    longest_wait_seconds: float = 1.0,
) -> T:
    """Await *work* until it succeeds, again after each error of the kinds *on*.

    The waits in between are random, up to *first_wait_seconds* at first and up to *longest_wait_seconds*
    later. No attempt begins later than *timeout_seconds* after the first one, and there are at most
    *attempts*; then the last error is raised. ConnectionRejected is raised at once: the next answer would be
    the same.
    """

    def may_pass(error: BaseException) -> bool:
        return isinstance(error, on) and not isinstance(error, ConnectionRejected)

    stop = stop_before_delay(timeout_seconds)
    retrying = AsyncRetrying(
        retry=retry_if_exception(may_pass),
        stop=stop if attempts is None else stop | stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=first_wait_seconds, max=longest_wait_seconds),
        before_sleep=_log_retry,
        reraise=True,
    )

    async def attempt() -> T:  # tenacity awaits coroutine functions only
        return await work()

    return await retrying(attempt)


def _log_retry(state: RetryCallState) -> None:
    assert state.outcome is not None
    log.warning(
        "retrying",
        extra={
            "error": str(state.outcome.exception()),
            "attempt": state.attempt_number,
            "wait_seconds": round(state.upcoming_sleep, 3),
        },
    )
