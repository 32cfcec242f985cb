"""Limits to keep within."""

from collections.abc import Sequence

from sqlalchemy import or_

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.enums import RiskScope
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.signals import RiskLimit


class RiskLimitRepository(BaseRepository[RiskLimit]):
    model = RiskLimit

    @one_statement
    async def get_active_limits(
        self,
        *,
        strategy_id: str | None = None,
        trading_pair: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[RiskLimit]:
        """Limits in force for the account, and for the strategy and pair where given; all of them bind."""
        applies = [RiskLimit.scope == RiskScope.ACCOUNT]
        if strategy_id is not None:
            applies.append((RiskLimit.scope == RiskScope.STRATEGY) & (RiskLimit.key == strategy_id))
        if trading_pair is not None:
            applies.append((RiskLimit.scope == RiskScope.PAIR) & (RiskLimit.key == trading_pair))
        return await self.find_all(
            RiskLimit.account_id == account_id, RiskLimit.active, or_(*applies), order_by=RiskLimit.scope
        )
