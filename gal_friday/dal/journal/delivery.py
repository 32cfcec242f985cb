"""Facts out of the journal into the database: in order, each once, and what it refuses set aside."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import APPLY_FILLS, FillOutcome, FillResult, outcomes_of
from gal_friday.dal.journal.facts import Fact, OrderFact, ReportedFill
from gal_friday.dal.journal.refused import RefusedFacts
from gal_friday.dal.journal.stats import JournalStats
from gal_friday.dal.models.types import dumps
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.durable_log.segments import Record
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

log = logging.getLogger(__name__)


def is_away(error: BaseException) -> bool:
    """Whether *error* says that the database could not take a fact now, and nothing of the fact."""
    if type(error) is DatabaseError:
        return str(error.facts.get("sqlstate") or "XX")[:2] in _AWAY_SQLSTATES
    return isinstance(error, AWAY)


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

    def __init__(self, pool: DatabaseConnectionPool, refused: RefusedFacts, stats: JournalStats) -> None:
        self._pool = pool
        self._refused = refused
        self._stats = stats

    async def deliver(self, batch: Sequence[Record], done: Callable[[int], None]) -> None:
        """Let *batch* take effect, telling *done* the number of each record that is dealt with.

        Raises what `is_away` is true of; what comes before is done then.
        """
        facts = [(record, await self._decoded(record)) for record in batch]
        for (is_fill, *_), group in itertools.groupby(facts, key=lambda pair: _kind(pair[1])):
            items = [(record, fact) for record, fact in group if fact is not None]
            if is_fill:
                await self._apply(items, done)
                done(items[-1][0].sequence)
            else:
                for record, fact in items:
                    await self._take(record, fact)
                    done(record.sequence)
        done(batch[-1].sequence)

    async def _decoded(self, record: Record) -> Fact | None:
        try:
            return Fact.decode(record.payload)
        except (ValueError, KeyError, TypeError) as error:
            await self._refuse(record, f"unreadable: {type(error).__name__}: {error}")
            return None

    async def _apply(self, items: Sequence[tuple[Record, Fact]], done: Callable[[int], None]) -> None:
        """Fills in one call; where the server refuses the call, one by one."""
        first = items[0][1]
        reports = dumps([fact.content.to_json() for _, fact in items])
        try:
            outcomes = await apply_reports(
                self._pool, reports, actor=first.actor, application=first.application
            )
        except PersistenceError as error:
            if is_away(error):
                raise
            if len(items) == 1:
                await self._refuse(items[0][0], str(error))
                return
            for item in items:
                await self._apply([item], done)
                done(item[0].sequence)
            return
        for (record, _), outcome in zip(items, outcomes, strict=True):
            if outcome.result is FillResult.REJECTED:
                await self._refuse(record, outcome.reason or outcome.result)
            elif outcome.result is FillResult.DUPLICATE:
                self._stats.duplicates += 1
            else:
                self._stats.applied += 1

    async def _take(self, record: Record, fact: Fact) -> None:
        assert isinstance(fact.content, OrderFact)
        try:
            outcome = await stored(self._pool, fact.content.take, actor=fact.actor)
        except PersistenceError as error:
            if is_away(error):
                raise
            await self._refuse(record, str(error))
        else:
            self._stats.applied += outcome.applied
            self._stats.duplicates += not outcome.applied

    async def _refuse(self, record: Record, reason: str) -> None:
        await asyncio.to_thread(self._refused.add, record.payload, reason)
        self._stats.refused += 1
        log.error(
            "the database refused a fact; it was set aside",
            extra={"file": str(self._refused.path), "reason": reason},
        )


def _kind(fact: Fact | None) -> tuple[bool, str | None, str | None]:
    """Fills with the same attribution go together."""
    if fact is None or not isinstance(fact.content, ReportedFill):
        return False, None, None
    return True, fact.actor, fact.application
