"""Waiting for a condition, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.01
#: Long enough for a machine that is slow and busy; whatever is waited for comes much sooner.
DEADLINE_SECONDS = 60.0


async def until(
    condition: Callable[[], Awaitable[bool]], what: str, *, seconds: float = DEADLINE_SECONDS
) -> None:
    """Return once *condition* holds. Raises TimeoutError naming *what* was waited for."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(POLL_SECONDS)
