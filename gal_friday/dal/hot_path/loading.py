"""Making many objects at once, among which there are no cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

#: How many more objects than before there have to be for the collector to look among them.
LESS_OFTEN = 10_000

_lock = Lock()
_blocks = 0
_before = (0, 0, 0)


@contextmanager
def collection_held_off() -> Iterator[None]:
    """A block in which Python looks for no cycles among the objects it makes.

    Not for a block that awaits anything: others go on meanwhile, and their garbage would stay.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def collection_made_rarer() -> Iterator[None]:
    """A block, which may await, in which Python looks less often: the garbage of others still goes.

    Where blocks overlap, the last that ends sets the collector back to what it was.
    """
    global _blocks, _before  # noqa: PLW0603 -- the collector is the process's
    with _lock:
        _blocks += 1
        if _blocks == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < LESS_OFTEN:
                gc.set_threshold(LESS_OFTEN, *_before[1:])
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0 and gc.get_threshold() == (LESS_OFTEN, *_before[1:]):  # nobody else has set it
                gc.set_threshold(*_before)
