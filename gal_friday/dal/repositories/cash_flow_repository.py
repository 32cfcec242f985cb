"""Money that moved for another reason than a fill."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.accounts import CashFlow
from gal_friday.dal.models.enums import CashFlowKind
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID


class CashFlowRepository(BaseRepository[CashFlow]):
    model = CashFlow

    async def get_by_venue_id(
        self, kind: CashFlowKind, venue_id: str, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> CashFlow | None:
        """The movement the exchange knows by this id, or None."""
        return await self.find_one_by(
            CashFlow.account_id == account_id, CashFlow.kind == kind, CashFlow.venue_id == venue_id
        )

    async def between(
        self,
        start: datetime,
        end: datetime,
        *,
        currency: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[CashFlow]:
        """Movements from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            CashFlow.account_id == account_id,
            *within(CashFlow.occurred_at, start, end),
            *given((CashFlow.currency, currency)),
            order_by=CashFlow.occurred_at,
        )

    async def totals(self, *, account_id: str = DEFAULT_ACCOUNT_ID) -> Mapping[str, Decimal]:
        """The sum of all movements of the account, by currency."""
        statement = (
            select(CashFlow.currency, func.sum(CashFlow.amount).label("total"))
            .where(CashFlow.account_id == account_id)
            .group_by(CashFlow.currency)
        )
        return {row.currency: row.total for row in await self._session.execute(statement)}
