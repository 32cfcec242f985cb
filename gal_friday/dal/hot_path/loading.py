"""Loading many rows at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_holding = 0
_was_enabled = False


@contextmanager
def collection_held_off() -> Iterator[None]:
    """A block in which Python looks for no cycles among the rows it makes: there are none, and many rows.

    For the whole process; blocks may overlap.
    """
    global _holding, _was_enabled  # noqa: PLW0603 -- the collector is the process's, too
    if _holding == 0:
        _was_enabled = gc.isenabled()
        gc.disable()
    _holding += 1
    try:
        yield
    finally:
        _holding -= 1
        if _holding == 0 and _was_enabled:
            gc.enable()
