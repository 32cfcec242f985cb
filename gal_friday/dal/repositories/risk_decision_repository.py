"""Verdicts of the risk check."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import within
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.signals import RiskDecision


class RiskDecisionRepository(BaseRepository[RiskDecision]):
    model = RiskDecision

    @one_statement
    async def of_signal(self, signal_id: UUID) -> Sequence[RiskDecision]:
        """Every verdict on the signal, in the order they were made."""
        return await self.find_all(RiskDecision.signal_id == signal_id, order_by=RiskDecision.decided_at)

    @one_statement
    async def of_order(self, order_id: UUID) -> Sequence[RiskDecision]:
        """Every verdict on the order, in the order they were made."""
        return await self.find_all(RiskDecision.order_id == order_id, order_by=RiskDecision.decided_at)

    @one_statement
    async def between(
        self, start: datetime, end: datetime, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[RiskDecision]:
        """Verdicts made from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            RiskDecision.account_id == account_id,
            *within(RiskDecision.decided_at, start, end),
            order_by=RiskDecision.decided_at,
        )
