"""What was ever said about an order."""

from collections.abc import Sequence
from uuid import UUID

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.orders import OrderHistory


class OrderHistoryRepository(BaseRepository[OrderHistory]):
    model = OrderHistory

    @one_statement
    async def of_order(self, order_id: UUID) -> Sequence[OrderHistory]:
        """Every change of the order and every report about it, oldest first."""
        return await self.find_all(OrderHistory.order_id == order_id, order_by=OrderHistory.occurred_at)
