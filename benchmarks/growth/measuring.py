"""How long each call takes, over and over: the median and the slowest but one in a hundred."""

import contextlib
import gc
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from tests.conftest import Undo
from tests.plans.cases import BASE_CALLS, CALLS
from tests.plans.sample import Call

#: Calls that give back, go through or store many rows; all others are about one row or a few.
COMPLEX = (
    "apply_fills",
    "between",
    "equity_curve",
    "find_by_status",
    "find_open_trades",
    "get_active_orders",
    "get_active_positions",
    "get_historical_data",
    "get_open_positions",
    "get_recent_errors",
    "get_recent_orders",
    "get_recent_signals",
    "get_rollovers",
    "get_strategy_performance",
    "get_trade_history",
    "mark_pairs",
    "of_model",
    "page",
    "search",
    "stream",
    "top",
)
GOAL_MILLISECONDS = {"simple": 10.0, "complex": 50.0}
#: They wait for others or leave something in the session that the next call would find.
LEFT_OUT = frozenset({"leases.take", "leases.renew", "halts.wait_for_intents", "configurations.activate"})
WARM_UP = 5


@dataclass(frozen=True)
class Latency:
    """One call's times at one size of the tables."""

    call: str
    kind: str
    rows: int
    p50_milliseconds: float
    p99_milliseconds: float

    @property
    def is_slow(self) -> bool:
        """Whether it misses the goal of its kind."""
        return self.p99_milliseconds >= GOAL_MILLISECONDS[self.kind]


def calls() -> Iterator[tuple[str, str, Call]]:
    """Every call of the plans' tests: its name, its kind and what to await."""
    for name, variants in {**BASE_CALLS, **CALLS}.items():
        if name not in LEFT_OUT:
            kind = "complex" if name.rpartition(".")[2] in COMPLEX else "simple"
            for number, call in enumerate(variants, 1):
                yield f"{name} {number}" if len(variants) > 1 else name, kind, call


async def measure(
    pool: DatabaseConnectionPool, name: str, kind: str, call: Call, *, rows: int, times: int
) -> Latency:
    """The latency of *call* inside a transaction that is undone; BEGIN and ROLLBACK are not in it.

    What is imported by now is frozen out of Python's garbage collection, as a bot does once it has started:
    to look through all of it takes a tenth of a second, whoever's turn it is.
    """
    gc.collect()
    gc.freeze()
    taken = [await _timed(pool, call) for _ in range(WARM_UP + times)][WARM_UP:]
    percentiles = statistics.quantiles(taken, n=100, method="inclusive")
    return Latency(name, kind, rows, percentiles[49] * 1_000, percentiles[98] * 1_000)


async def _timed(pool: DatabaseConnectionPool, call: Call) -> float:
    seconds = 0.0
    with contextlib.suppress(Undo):
        async with pool.transaction(actor="growth") as uow:
            start = time.perf_counter()
            await call(uow)
            await uow.flush()
            seconds = time.perf_counter() - start
            raise Undo
    return seconds
