"""The way to the exchange as an ExecutionHandler sees it; a bot brings its own."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from gal_friday.dal.models import Order, OrderStatus
from gal_friday.dal.order_names import OrderKey, OrderName

__all__ = ["Amendment", "Answer", "OrderGateway", "OrderKey", "OrderName"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What is to become of an order at the exchange: base units and prices; None stays as it is."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the exchange answered.

    `status` is where the order stands by it, and `filled_quantity` the base units filled in all, where it
    says so; `at` is its time (default: when the answer arrived, by our clock); `reason` says why it refused.
    """

    accepted: bool = True
    reason: str | None = None
    exchange_order_id: str | None = None
    status: OrderStatus | None = None
    filled_quantity: Decimal | None = None
    at: datetime | None = None
    raw: dict[str, Any] | None = None


class OrderGateway(Protocol):
    """Sends to the exchange and gives back its answer.

    A refusal is an answer. Whatever is raised, and no answer in time, means that it is not known whether the
    exchange has acted. An order goes out with its `client_order_id`, by which the exchange and we know it.
    """

    async def submit(self, order: Order) -> Answer:
        """Send a new order."""
        ...

    async def cancel(self, order: Order) -> Answer:
        """Ask for an order to be canceled."""
        ...

    async def amend(self, order: Order, amendment: Amendment) -> Answer:
        """Ask for an order to be changed."""
        ...
