"""Orders by any of their names."""

from dataclasses import dataclass
from uuid import UUID

from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, Order
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderKey:
    """An order by the names others have for it: the exchange's id first, then ours.

    *exchange* and *trading_pair* are needed where several have an order of that id.
    """

    exchange_order_id: str | None = None
    client_order_id: str | None = None
    exchange: str | None = None
    trading_pair: str | None = None
    account_id: str = DEFAULT_ACCOUNT_ID


#: Our id of an order, or the names others have for it.
OrderName = UUID | OrderKey


async def id_of(uow: UnitOfWork, order: OrderName) -> UUID:
    """Our id of an order. Raises NotFound, and Ambiguous where several have the name."""
    if isinstance(order, UUID):
        return order
    found = None
    if order.exchange_order_id is not None:
        found = await uow.orders.get_by_exchange_order_id(
            order.exchange_order_id,
            exchange=order.exchange,
            trading_pair=order.trading_pair,
            account_id=order.account_id,
        )
    if found is None and order.client_order_id is not None:
        found = await uow.orders.get_by_client_order_id(
            order.client_order_id, exchange=order.exchange, account_id=order.account_id
        )
    if found is None:
        raise NotFound(
            table=Order.__tablename__,
            exchange_order_id=order.exchange_order_id,
            client_order_id=order.client_order_id,
        )
    return found.id
