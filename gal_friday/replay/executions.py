"""One execution of an order, and what it does to a position."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gal_friday.dal.models import Order, Position
from gal_friday.money import amount_rounded, average_price_rounded, exact


@dataclass(frozen=True, slots=True)
class Execution:
    """The *number*th execution of *order*: *quantity* base units at *price*; the rate is a proportion."""

    order: Order
    number: int
    quantity: Decimal
    price: Decimal
    at: datetime
    commission_rate: Decimal

    @property
    def cost(self) -> Decimal:
        """Exact value in quote currency."""
        with exact():
            return self.quantity * self.price

    @property
    def commission(self) -> Decimal:
        """In quote currency, half up to 18 decimals."""
        with exact():
            return amount_rounded(self.cost * self.commission_rate)


def put_in(position: Position, execution: Execution) -> None:
    """Make the position larger."""
    with exact():
        position.quantity += execution.quantity
        position.cost += execution.cost
        position.total_commission += execution.commission
    position.entry_price = average_price_rounded(position.cost, position.quantity)
    position.last_applied_seq += 1


def take_out(position: Position, execution: Execution) -> Decimal:
    """Make the position smaller; gives back the profit or loss that realised, before commission."""
    quantity = execution.quantity
    with exact():
        # The last piece takes whatever cost is left, so that nothing is lost to rounding.
        cost = (
            position.cost
            if quantity == position.quantity
            else average_price_rounded(position.cost * quantity, position.quantity)
        )
        realized = amount_rounded(execution.cost - cost)
        position.quantity -= quantity
        position.cost -= cost
        position.realized_pnl += realized
        position.total_commission += execution.commission
    position.last_applied_seq += 1
    return realized
