"""Facts out of the journal into the database: in order, each once, and what it refuses set aside."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import APPLY_FILLS, FillOutcome, FillResult, outcomes_of
from gal_friday.dal.journal.facts import Fact, OrderFact, ReportedFill
from gal_friday.dal.journal.stats import JournalStats
from gal_friday.dal.models.types import dumps
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.durable_log.refused import RefusedRecords
from gal_friday.errors import (
    AlreadyExists,
    DatabaseError,
    DatabaseUnavailable,
    DiskFull,
    LockTimeout,
    PermissionDenied,
    PersistenceError,
    PoolTimeout,
    ReadOnly,
    StaleWrite,
    StatementTimeout,
    TransactionConflict,
)

T = TypeVar("T")

#: The database could not take a fact, and says nothing of the fact itself: it will take it another time.
AWAY = (
    *(DatabaseUnavailable, PoolTimeout, StatementTimeout, LockTimeout, TransactionConflict, StaleWrite),
    *(DiskFull, PermissionDenied, ReadOnly),
)
# Of errors without a name of their own: wrong state, no resources, intervention, system, internal.
_AWAY_SQLSTATES = frozenset({"25", "53", "55", "57", "58", "XX", "F0"})

#: So often a fact is tried alone before it is to blame for an error that may be the database's.
TRIES_ALONE = 5

log = logging.getLogger(__name__)


def is_away(error: BaseException) -> bool:
    """Whether *error* says that the database could not take a fact now, and nothing of the fact."""
    if type(error) is DatabaseError:
        return str(error.facts.get("sqlstate") or "XX")[:2] in _AWAY_SQLSTATES
    return isinstance(error, AWAY)


def may_be_the_facts(error: Exception) -> bool:
    """Whether *error* does not tell if the database could not take a fact, or could not take this one."""
    if type(error) is DatabaseError:
        return str(error.facts.get("sqlstate") or "XX").startswith("XX")
    if isinstance(error, PersistenceError):
        return isinstance(error, StatementTimeout)
    return not isinstance(error, OSError | MemoryError)


async def stored(
    pool: DatabaseConnectionPool, work: Callable[[UnitOfWork], Awaitable[T]], *, actor: str | None
) -> T:
    """What *work* gives; it is idempotent."""
    try:
        return await pool.retrying(work, actor=actor)
    except AlreadyExists:  # another order was being given the same exchange_order_id; it has it by now
        return await pool.retrying(work, actor=actor)


async def apply_reports(
    pool: DatabaseConnectionPool, reports: str, *, actor: str | None, application: str | None
) -> Sequence[FillOutcome]:
    """What the server makes of *reports* (`reports_of`), in one round trip."""
    async with pool.autocommit() as connection:
        result = await connection.execute(
            APPLY_FILLS, {"reports": reports, "actor": actor, "application": application}
        )
        return outcomes_of(result.mappings().all())


class FactDelivery:
    """Takes records of a journal to a database."""

    def __init__(self, pool: DatabaseConnectionPool, refused: RefusedRecords, stats: JournalStats) -> None:
        self._pool = pool
        self._refused = refused
        self._stats = stats
        self._suspect = b""
        self._tries = 0

    async def deliver(self, batch: Sequence[bytes], done: Callable[[int], None]) -> None:
        """Let *batch* take effect, telling *done* how many at a time are dealt with, in order.

        Raises what does not tell that a fact is wrong; what comes before is done then. What
        `may_be_the_facts` is true of is raised `TRIES_ALONE` times at most while the database answers.
        """
        facts = [(line, _decoded(line)) for line in batch]
        for (is_fill, *_), group in itertools.groupby(facts, key=lambda pair: _kind(pair[1])):
            if is_fill:
                await self._apply([(line, fact) for line, fact in group if isinstance(fact, Fact)], done)
                continue
            for line, fact in group:
                if isinstance(fact, Fact):
                    await self._take(line, fact)
                else:
                    await self._refuse(line, fact)
                done(1)

    async def _apply(self, items: Sequence[tuple[bytes, Fact]], done: Callable[[int], None]) -> None:
        """Fills in one call; where the server refuses the call, one by one."""
        first = items[0][1]
        reports = dumps([fact.content.to_json() for _, fact in items])
        try:
            outcomes = await apply_reports(
                self._pool, reports, actor=first.actor, application=first.application
            )
        except Exception as error:
            if len(items) == 1:
                if not await self._is_wrong(items[0][0], error):
                    raise
                await self._refuse(items[0][0], _reason(error))
                done(1)
                return
            if is_away(error) or may_be_the_facts(error):
                raise
            for item in items:
                await self._apply([item], done)
            return
        for (line, _), outcome in zip(items, outcomes, strict=True):
            if outcome.result is FillResult.REJECTED:
                await self._refuse(line, outcome.reason or outcome.result)
            elif outcome.result is FillResult.DUPLICATE:
                self._stats.duplicates += 1
            else:
                self._stats.applied += 1
            done(1)

    async def _take(self, line: bytes, fact: Fact) -> None:
        assert isinstance(fact.content, OrderFact)
        try:
            outcome = await stored(self._pool, fact.content.take, actor=fact.actor)
        except Exception as error:
            if not await self._is_wrong(line, error):
                raise
            await self._refuse(line, _reason(error))
        else:
            self._stats.applied += outcome.applied
            self._stats.duplicates += not outcome.applied

    async def _is_wrong(self, line: bytes, error: Exception) -> bool:
        """Whether it is for the fact in *line*, tried alone, that the database raised *error*."""
        if not may_be_the_facts(error):
            return isinstance(error, PersistenceError) and not is_away(error)
        if (await self._pool.health_check()).ok:
            self._tries = self._tries + 1 if self._suspect == line else 1
            self._suspect = line
        return self._suspect == line and self._tries >= TRIES_ALONE

    async def _refuse(self, line: bytes, reason: str) -> None:
        await asyncio.to_thread(self._refused.add, line, reason)
        self._stats.refused += 1
        log.error(
            "the database refused a fact; it was set aside",
            extra={"file": str(self._refused.path), "reason": reason},
        )


def _decoded(line: bytes) -> Fact | str:
    """The fact in *line*, or why there is none."""
    try:
        return Fact.decode(line)
    except Exception as error:  # noqa: BLE001 -- whatever it is: it must not stop those behind it
        return f"unreadable: {_reason(error)}"


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, PersistenceError) else f"{type(error).__name__}: {error}"


def _kind(fact: Fact | str) -> tuple[bool, str | None, str | None]:
    """Fills with the same attribution go together."""
    if isinstance(fact, str) or not isinstance(fact.content, ReportedFill):
        return False, None, None
    return True, fact.actor, fact.application
