"""The journal of facts on the disk of one instance, which outlives its processes."""

from pathlib import Path

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.journal.fact_journal import FactJournal
from gal_friday.errors import DatabaseUnavailable

_MAX_BYTES = 16 * 1024 * 1024
#: Longer than any simulation lasts: here a database that is away says so at once.
_PATIENCE_SECONDS = 3_600.0


class SteppedJournal(FactJournal):
    """Delivers when it is told to, not in the background: what happens when is the seed's to say."""

    def deliver_soon(self) -> None:
        """A step of the process will."""

    async def caught_up(self) -> None:
        if self.pending():
            raise DatabaseUnavailable("facts wait in the journal for it", facts=self.pending())

    async def drop(self) -> None:
        """Let go of the files, as the kernel does for a process that is killed."""
        self._is_closing = True
        for log in self._logs:
            await log.close()


async def open_journal(pool: DatabaseConnectionPool, directory: Path) -> SteppedJournal:
    return await SteppedJournal.open(
        pool, directory, max_bytes=_MAX_BYTES, patience_seconds=_PATIENCE_SECONDS
    )
