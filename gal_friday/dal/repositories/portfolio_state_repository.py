"""Equity and risk of accounts."""

from collections.abc import Sequence

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.portfolio import PortfolioState
from gal_friday.errors import NotFound


class PortfolioStateRepository(BaseRepository[PortfolioState]):
    model = PortfolioState

    async def of_account(self, account_id: str = DEFAULT_ACCOUNT_ID) -> Sequence[PortfolioState]:
        """The account's state, one row per currency."""
        return await self.find_all(PortfolioState.account_id == account_id, order_by=PortfolioState.currency)

    async def get_for_update(self, currency: str, *, account_id: str = DEFAULT_ACCOUNT_ID) -> PortfolioState:
        """The state in *currency*, locked until this transaction ends. Raises NotFound, LockTimeout."""
        key = account_id, currency
        state = await self._session.get(PortfolioState, key, with_for_update=True, populate_existing=True)
        if state is None:
            raise NotFound(table=PortfolioState.__tablename__, key=key)
        return state
