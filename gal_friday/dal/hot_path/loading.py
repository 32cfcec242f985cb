"""Making many objects at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

#: How many objects more than before there have to be for the collector to look among them.
RARELY = 100_000

_lock = Lock()
_blocks = 0
_before = (0, 0, 0)


@contextmanager
def collection_made_rare() -> Iterator[None]:
    """A block in which Python looks rarely for cycles among the many objects it makes: there are none.

    It may await: garbage that others make meanwhile is still collected. Where blocks overlap, the last that
    ends sets the collector back to what it was.
    """
    global _blocks, _before  # noqa: PLW0603 -- the collector is the process's
    with _lock:
        _blocks += 1
        if _blocks == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < RARELY:
                gc.set_threshold(RARELY, *_before[1:])
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0:
                gc.set_threshold(*_before)
