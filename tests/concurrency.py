"""Several at once, and work broken off wherever it waits."""

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


async def at_once(work: Callable[[int], Awaitable[T]], count: int) -> list[T]:
    """What *work* gives for 0 … *count* - 1, all begun before any is awaited."""
    return list(await asyncio.gather(*(work(number) for number in range(count))))


async def interrupted_everywhere(
    work: Callable[[int], Coroutine[Any, Any, object]],
    check: Callable[[int], Awaitable[object]],
    *,
    by_timeout: bool = False,
) -> int:
    """Do *work* again and again, interrupted where it waits for the 1st, 2nd … time, until it gets through.

    Both are given that number; *check* is awaited after each interruption. Interrupted by a cancellation, or
    by a timeout that expires. Gives back in how many places it was.
    """
    step = 1
    while not await _interrupted_at(step, work(step), by_timeout=by_timeout):
        await check(step)
        step += 1
    await check(step)
    log.info("interrupted in %d places", step - 1)
    return step - 1


async def _interrupted_at(step: int, work: Coroutine[Any, Any, object], *, by_timeout: bool) -> bool:
    """Whether *work* got through before it had to wait for the *step*th time."""
    expected: type[BaseException] = TimeoutError if by_timeout else asyncio.CancelledError

    async def run() -> bool:
        async with asyncio.timeout(None) as timeout:
            task = asyncio.current_task()
            assert task is not None

            def interrupt() -> None:
                if by_timeout:
                    timeout.reschedule(0)
                else:
                    task.cancel()

            return await _stepped(work, step, interrupt)
        raise AssertionError("a timeout that expires raises")

    try:
        return await asyncio.create_task(run())
    except expected:
        return False


@types.coroutine
def _stepped(
    work: Coroutine[Any, Any, object], step: int, interrupt: Callable[[], object]
) -> Generator[Any, None, bool]:
    """Await *work*, and call *interrupt* when it waits for the *step*th time; whether it never did."""
    waits = 0
    raised: BaseException | None = None
    while True:
        try:
            awaited = work.send(None) if raised is None else work.throw(raised)
        except StopIteration:
            assert waits < step, "the interruption got lost"
            return True
        waits += 1
        if waits == step:
            interrupt()
        raised = None
        try:
            yield awaited
        except BaseException as error:  # noqa: BLE001 -- handed on to the work
            raised = error
