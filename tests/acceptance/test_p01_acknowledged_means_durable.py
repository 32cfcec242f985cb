"""P01: what was acknowledged is there after any crash; what was not is there whole or not at all."""

import random

from tests.crash.bench import Bench
from tests.crash.faults import Kind, kinds_not_run

POSSIBLE = [kind for kind in Kind if kind not in kinds_not_run()]


def test_the_only_fault_that_may_not_be_possible_is_a_full_disk() -> None:
    """It takes a disk to be filled up; `make crash` says why there is none."""
    assert set(kinds_not_run()) <= {Kind.DISK_FULL}


async def test_acknowledged_calls_outlive_every_kind_of_fault() -> None:
    seed = random.randrange(10**6)
    again = f"python -m tests.crash --seed {seed}"
    async with Bench(seed) as bench:
        for kind in random.Random(seed).sample(POSSIBLE, len(POSSIBLE)):
            outcome = await bench.round(kind)
            assert outcome.verdict.violations == [], f"{kind}; {again}"
        everything = await bench.check_all()
    assert everything.violations == [], again
    assert everything.checked > 10 * len(POSSIBLE)
