"""What an exchange's client raised, in words that give no secret away."""

import re

_LONGEST_MESSAGE = 300


def told(what: str, error: Exception) -> str:
    """*error* of the question *what*; what follows a URL's question mark may hold keys, and is left out."""
    words = re.sub(r"\?\S*", "?…", str(error))[:_LONGEST_MESSAGE]
    return f"{what}: {type(error).__name__}" + (f": {words}" if words else "")


def is_not_found(error: Exception) -> bool:
    """Whether the answer was that there is no such order: ccxt's OrderNotFound, known by its name."""
    return any(kind.__name__ == "OrderNotFound" for kind in type(error).__mro__)
