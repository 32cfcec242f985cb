"""Executions of orders that are not known yet."""

from collections.abc import Sequence

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.fills import UnmatchedFill
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID


class UnmatchedFillRepository(BaseRepository[UnmatchedFill]):
    model = UnmatchedFill

    async def add_once(self, fill: UnmatchedFill) -> UnmatchedFill | None:
        """Keep a fill until its order is known; None where it is kept already."""
        return await self._add_once(
            fill,
            [
                UnmatchedFill.account_id,
                UnmatchedFill.exchange,
                UnmatchedFill.trading_pair,
                UnmatchedFill.order_id,
                UnmatchedFill.exchange_order_id,
                UnmatchedFill.client_order_id,
                UnmatchedFill.fill_id,
            ],
        )

    @one_statement
    async def of_exchange_order(
        self, exchange: str, exchange_order_id: str, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[UnmatchedFill]:
        """Fills that wait for this order, in the order they arrived."""
        return await self.find_all(
            UnmatchedFill.account_id == account_id,
            UnmatchedFill.exchange == exchange,
            UnmatchedFill.exchange_order_id == exchange_order_id,
            order_by=UnmatchedFill.received_at,
        )
