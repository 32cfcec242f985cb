"""Chance that depends on the seed alone: each actor and purpose draws from a generator of its own."""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Random generators by name. What one of them draws never moves another."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generators: dict[str, random.Random] = {}

    def of(self, *names: object) -> random.Random:
        """The generator of this name; the same one whenever it is asked for."""
        name = "/".join(map(str, names))
        if name not in self._generators:
            digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
            self._generators[name] = random.Random(digest)
        return self._generators[name]


def weighted(generator: random.Random, weights: Sequence[tuple[T, int]]) -> T:
    """One of several things, each as often as its weight says."""
    things, shares = zip(*weights, strict=True)
    drawn = generator.choices(things, shares)[0]
    assert any(drawn is thing for thing in things)
    return drawn  # type: ignore[no-any-return]  # random's own annotation loses it
