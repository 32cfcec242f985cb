"""Trying again: bounded in time, jittered, logged; retry_policy.py says after which errors."""

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

from gal_friday.dal.retry_policy import Work, is_retried
from gal_friday.errors import PersistenceError

T = TypeVar("T")

log = logging.getLogger(__name__)


async def retry(
    attempt: Callable[[], Awaitable[T]],
    *,
    work: Work,
    timeout_seconds: float,
    attempts: int | None = None,
) -> T:
    """Await *attempt* until it succeeds, again after each error this kind of *work* is tried again after.

    The waits in between are random and grow, as the kind's pace says, and are as long as an error asks for
    in its fact `retry_after_seconds`. No attempt begins later than *timeout_seconds* after the first one,
    and there are at most *attempts*; then the last error is raised.
    """
    stop = stop_before_delay(timeout_seconds)
    jitter = wait_random_exponential(multiplier=work.pace.first, max=work.pace.longest)
    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda error: is_retried(error, work)),
        stop=stop if attempts is None else stop | stop_after_attempt(attempts),
        wait=lambda state: max(jitter(state), _asked_for(state)),
        before_sleep=_log_retry,
        reraise=True,
    )

    async def awaited() -> T:  # tenacity awaits coroutine functions only
        return await attempt()

    return await retrying(awaited)


def _asked_for(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    seconds = error.facts.get("retry_after_seconds") if isinstance(error, PersistenceError) else None
    return seconds if isinstance(seconds, float) else 0.0


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
