"""Applying fills in one round trip: a statement that is a transaction of its own."""

from collections.abc import Sequence

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import APPLY_FILLS, Execution, FillOutcome, outcomes_of, reports_of
from gal_friday.dal.models import Fill
from gal_friday.dal.retry_policy import Work


class PooledExecution(Execution):
    """Fills taken outside of any unit of work."""

    def __init__(self, pool: DatabaseConnectionPool) -> None:
        self._pool = pool

    async def apply_fills(self, fills: Sequence[Fill], *, actor: str | None = None) -> Sequence[FillOutcome]:
        """Let *fills* take effect one after the other, in the order given; as `apply_fill`, all or none.

        Tried again after TransactionConflict and where the connection was lost, for at most
        `retry_timeout_seconds`: what had been stored already is answered as DUPLICATE.
        """
        parameters = {
            "reports": reports_of(fills),
            "actor": actor,
            "application": self._pool.application_name,
        }

        async def attempt() -> Sequence[FillOutcome]:
            async with self._pool.autocommit() as connection:
                result = await connection.execute(APPLY_FILLS, parameters)
                return outcomes_of(result.mappings().all())

        return await self._pool.retry(attempt, work=Work.STATEMENT)
