"""The way to one exchange, for one mode, as a LiveTradingEngine sees it."""

from typing import Protocol

from gal_friday.dal.models import AccountMode, Order
from gal_friday.services.order_gateway import Answer, OrderGateway


class TradingGateway(OrderGateway, Protocol):
    """An OrderGateway that says what it is for, and can be asked what became of an order."""

    @property
    def mode(self) -> AccountMode:
        """LIVE trades real money; PAPER does not."""
        ...

    @property
    def exchange(self) -> str:
        """The exchange, as `Order.exchange` names it."""
        ...

    async def find(self, order: Order) -> Answer | None:
        """How the exchange has the order of this client_order_id, or None where it does not know it.

        None means that it was never accepted and never will be. Whatever is raised means that nobody knows.
        """
        ...
