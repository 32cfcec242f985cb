"""Orders: compared with the sums of their fills."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace

from sqlalchemy import Subquery, Text, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.criteria import given
from gal_friday.dal.models import Fill, Order
from gal_friday.money import ZERO, average_price_rounded
from gal_friday.state.differences import Difference, differences_of
from gal_friday.state.ledger import stream

ORDER_COLUMNS = ("filled_quantity", "cost", "average_fill_price", "commission_quote", "commission_by_asset")


class OrderCheck:
    """Reads every order beside the sums of its applied fills, and says which of its own sums are others."""

    def __init__(self) -> None:
        self.orders = 0

    async def differences(self, session: AsyncSession, account_id: str | None) -> AsyncIterator[Difference]:
        """Sums on orders of *account_id*, or of every account, that are not those of their fills."""
        sums = _sums_by_order()
        statement = (
            select(
                Order.id,
                *(getattr(Order, column) for column in ORDER_COLUMNS),
                sums.c.filled.label("sum_filled"),
                sums.c.cost.label("sum_cost"),
                sums.c.commission_quote.label("sum_commission_quote"),
                sums.c.commission_by_asset.label("sum_commission_by_asset"),
            )
            .outerjoin(sums, sums.c.order_id == Order.id)
            .where(*given((Order.account_id, account_id)))
        )
        async with aclosing(stream(session, statement)) as orders:
            async for order in orders:
                self.orders += 1
                filled, cost = order.sum_filled or ZERO, order.sum_cost or ZERO
                rebuilt = SimpleNamespace(
                    filled_quantity=filled,
                    cost=cost,
                    average_fill_price=average_price_rounded(cost, filled) if filled else None,
                    commission_quote=order.sum_commission_quote or ZERO,
                    commission_by_asset=order.sum_commission_by_asset or {},
                )
                for difference in differences_of("orders", order.id, ORDER_COLUMNS, order, rebuilt):
                    yield difference


def _sums_by_order() -> Subquery:
    """Of an order's applied fills; commission by asset is text without trailing zeros, as on the order."""
    by_asset = (
        select(
            Fill.order_id,
            Fill.commission_asset,
            func.sum(Fill.quantity_filled).label("filled"),
            func.sum(Fill.quantity_filled * Fill.fill_price).label("cost"),
            func.sum(Fill.commission_quote).label("commission_quote"),
            func.sum(Fill.commission).label("commission"),
            func.bool_or(Fill.commission != ZERO).label("was_charged"),
        )
        .where(Fill.applied_seq.is_not(None))
        .group_by(Fill.order_id, Fill.commission_asset)
        .subquery()
    )
    return (
        select(
            by_asset.c.order_id,
            func.sum(by_asset.c.filled).label("filled"),
            func.sum(by_asset.c.cost).label("cost"),
            func.sum(by_asset.c.commission_quote).label("commission_quote"),
            func.jsonb_object_agg(
                by_asset.c.commission_asset, cast(func.trim_scale(by_asset.c.commission), Text), type_=JSONB
            )
            .filter(by_asset.c.was_charged)
            .label("commission_by_asset"),
        )
        .group_by(by_asset.c.order_id)
        .subquery()
    )
