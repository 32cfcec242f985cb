"""The ledger of raw incoming signals."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import case
from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.enums import ProcessingStatus
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.portfolio import SignalLog
from gal_friday.dal.upserts import given_values


class SignalLogRepository(BaseRepository[SignalLog]):
    model = SignalLog

    async def record(self, entry: SignalLog) -> SignalLog:
        """Enter a signal that arrived, or count it as a repetition of the one entered first.

        Gives back the entry as it stands: it has the id of *entry* where the signal is new. One statement, so
        of many that arrive at once exactly one is new. An *entry* is no repetition of itself: it may be
        recorded again where the answer to a commit was lost.
        """
        statement = insert(SignalLog).values(given_values(entry))
        is_repetition = case((SignalLog.id == statement.excluded.id, 0), else_=1)
        stored = await self._stored(
            statement.on_conflict_do_update(
                index_elements=[SignalLog.account_id, SignalLog.fingerprint],
                set_={"duplicate_count": SignalLog.duplicate_count + is_repetition},
            )
        )
        return stored.one()

    @one_statement
    async def seen(self, fingerprint: str, *, account_id: str = DEFAULT_ACCOUNT_ID) -> bool:
        """Whether a signal with this fingerprint has arrived. To take one, ask `record` instead."""
        return await self.exists(SignalLog.account_id == account_id, SignalLog.fingerprint == fingerprint)

    @one_statement
    async def find_by_status(
        self, status: ProcessingStatus, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[SignalLog]:
        """Entries in this state, in the order they arrived."""
        return await self.find_all(
            SignalLog.account_id == account_id,
            SignalLog.processing_status == status,
            order_by=SignalLog.received_at,
        )

    @one_statement
    async def between(
        self,
        start: datetime,
        end: datetime,
        *,
        instrument: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[SignalLog]:
        """Signals that first arrived from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            SignalLog.account_id == account_id,
            *within(SignalLog.received_at, start, end),
            *given((SignalLog.instrument, instrument)),
            order_by=SignalLog.received_at,
        )
