"""Several at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def at_once(work: Callable[[int], Awaitable[T]], count: int) -> list[T]:
    """What *work* gives for 0 … *count* - 1, all begun before any is awaited."""
    return list(await asyncio.gather(*(work(number) for number in range(count))))
