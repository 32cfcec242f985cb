"""Executions."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.fills import Fill
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.errors import AlreadyExists


class FillRepository(BaseRepository[Fill]):
    model = Fill

    async def add_once(self, fill: Fill) -> Fill | None:
        """Store a fill that is new; None where it is stored already, however it was reported then.

        Its identity is account, exchange, pair, the exchange's order id and fill id. Raises InvalidReference
        for an unknown order or position, ConstraintViolated for a quantity that is not positive.
        """
        # With one of its two keys named, of several that try at once one may be refused for the other.
        stored = await self._add_once(fill)
        other = await self.get(fill.id) if stored is None else None
        if other is not None and (other.order_id, other.fill_id) != (fill.order_id, fill.fill_id):
            raise AlreadyExists(
                "another fill has this id", table="fills", constraint="pk_fills", key={"id": fill.id}
            )
        return stored

    @one_statement
    async def get_by_identity(
        self,
        exchange: str,
        trading_pair: str,
        exchange_order_id: str,
        fill_id: str,
        *,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Fill | None:
        """The fill the exchange knows by these ids, or None."""
        return await self.find_one_by(
            Fill.account_id == account_id,
            Fill.exchange == exchange,
            Fill.trading_pair == trading_pair,
            Fill.exchange_order_id == exchange_order_id,
            Fill.fill_id == fill_id,
        )

    @one_statement
    async def of_order(self, order_id: UUID) -> Sequence[Fill]:
        """The order's fills, oldest first by the exchange's clock."""
        return await self.find_all(Fill.order_id == order_id, order_by=Fill.filled_at)

    @one_statement
    async def of_position(self, position_id: UUID) -> Sequence[Fill]:
        """The position's fills in the order they were applied, which is the order to rebuild it in."""
        return await self.find_all(Fill.position_id == position_id, order_by=Fill.applied_seq)

    @one_statement
    async def between(
        self,
        start: datetime,
        end: datetime,
        *,
        trading_pair: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[Fill]:
        """Fills from *start* up to, not including, *end* by the exchange's clock, oldest first."""
        return await self.find_all(
            Fill.account_id == account_id,
            *within(Fill.filled_at, start, end),
            *given((Fill.trading_pair, trading_pair)),
            order_by=Fill.filled_at,
        )
