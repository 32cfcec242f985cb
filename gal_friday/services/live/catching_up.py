"""Following what was stored without the engine: by the journal, or before an error came in between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gal_friday.dal.journal.fact_journal import FactJournal
from gal_friday.errors import LeaseLost, PersistenceError
from gal_friday.services.live.lifecycle import Leadership

log = logging.getLogger(__name__)

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.05, 1.0


class CatchingUp:
    """Lets entries follow as soon as the database has what the journal took, whether anybody asks or not.

    What is behind stays so until following it has succeeded.
    """

    def __init__(
        self, journal: FactJournal, leadership: Leadership, catch_up: Callable[[], Awaitable[None]]
    ) -> None:
        self._journal = journal
        self._leadership = leadership
        self._catch_up = catch_up
        self._noticed = journal.stats().journaled
        self._fallen_behind = 0
        self._caught_up = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether something was stored, or is to be, that no entry has followed yet."""
        return self._caught_up < self._fallen_behind

    def notice(self) -> None:
        """Catch up in the background if facts went to the journal since this was asked last."""
        journaled = self._journal.stats().journaled
        if journaled != self._noticed:
            self._noticed = journaled
            self.fall_behind()

    def fall_behind(self) -> None:
        """Catch up in the background, as soon as that is possible."""
        self._fallen_behind += 1
        if self._task is None:
            self._task = asyncio.create_task(self._keep_trying())

    async def now(self) -> None:
        """Catch up where that is due and no fact waits for the database. Raises why it is not possible."""
        self.notice()
        if self.is_behind and not self._journal.pending():
            behind = self._fallen_behind
            await self._catch_up()
            self._caught_up = max(self._caught_up, behind)

    async def end(self) -> None:
        """Leave what is behind to the next to lead."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_trying(self) -> None:
        wait_seconds = _FIRST_WAIT_SECONDS
        try:
            while self.is_behind and (lease := self._leadership.held) and not lease.lost.is_set():
                try:
                    await self._journal.caught_up()
                    if not self._leadership.is_recovering:
                        with self._leadership.busy():
                            await self.now()
                        continue
                except LeaseLost as error:
                    log.warning("left to the next to lead", extra={"error": str(error)})
                    return
                except PersistenceError as error:
                    log.warning("behind, to be tried again", extra={"error": str(error)})
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
        except Exception:  # nobody awaits this task: what ends it is told here
            log.exception("entries do not follow any more")
        finally:
            self._task = None
