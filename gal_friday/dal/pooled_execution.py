"""Applying fills in one round trip: a statement that is a transaction of its own."""

from collections.abc import Sequence

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import Execution, FillOutcome, FillResult, reports_of
from gal_friday.dal.journal.delivery import apply_reports
from gal_friday.dal.journal.fact_journal import FactJournal
from gal_friday.dal.journal.facts import fills_as_facts
from gal_friday.dal.models import Fill
from gal_friday.dal.retry_policy import Work


class PooledExecution(Execution):
    """Fills taken outside of any unit of work."""

    def __init__(self, pool: DatabaseConnectionPool, journal: FactJournal | None = None) -> None:
        self._pool = pool
        self._journal = journal or FactJournal(pool)

    async def apply_fills(self, fills: Sequence[Fill], *, actor: str | None = None) -> Sequence[FillOutcome]:
        """Let *fills* take effect one after the other, in the order given; as `apply_fill`, all or none.

        Tried again after TransactionConflict and where the connection was lost: what had been stored already
        is answered as DUPLICATE. Where the database does not take them within the journal's
        `patience_seconds`, or facts wait for it already, they are JOURNALED: on disk, and applied in order,
        each on its own, once the database is back. Without a journal it is tried for
        `retry_timeout_seconds`, and DatabaseUnavailable raised.
        """
        reports, application = reports_of(fills), self._pool.application_name

        async def attempt() -> Sequence[FillOutcome]:
            return await apply_reports(self._pool, reports, actor=actor, application=application)

        async def direct() -> Sequence[FillOutcome]:
            return await self._pool.retry(attempt, work=Work.STATEMENT)

        outcomes = await self._journal.take(
            direct, lambda: fills_as_facts(reports, actor=actor, application=application)
        )
        return [FillOutcome(FillResult.JOURNALED) for _ in fills] if outcomes is None else outcomes
