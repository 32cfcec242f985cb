"""What ccxt says, in our words."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gal_friday.dal.models import Fill, OrderStatus, ReportSource, Side
from gal_friday.services.order_gateway import Answer, OrderKey
from tests.simulation.ccxt_shapes import Shape

VENUE = "simulated"

_STATUSES = {
    "open": OrderStatus.NEW,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "rejected": OrderStatus.REJECTED,
}


def status_of(order: Shape) -> OrderStatus:
    status = _STATUSES[order["status"]]
    return OrderStatus.PARTIALLY_FILLED if status is OrderStatus.NEW and order["filled"] else status


def key_of(order: Shape) -> OrderKey:
    return OrderKey(
        exchange_order_id=order["id"],
        client_order_id=order["clientOrderId"],
        exchange=VENUE,
        trading_pair=order["symbol"],
    )


def moment_of(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def answer_of(order: Shape, *, accepted: bool = True, reason: str | None = None) -> Answer:
    return Answer(
        accepted=accepted,
        reason=reason,
        exchange_order_id=order["id"],
        status=status_of(order),
        filled_quantity=exactly(order["filled"]),
        at=moment_of(order["lastUpdateTimestamp"]),
        raw=plain(order),
    )


def fill_of(trade: Shape, source: ReportSource) -> Fill:
    return Fill(
        exchange=VENUE,
        trading_pair=trade["symbol"],
        side=Side(trade["side"].upper()),
        exchange_order_id=trade["order"],
        fill_id=trade["id"],
        quantity_filled=exactly(trade["amount"]),
        fill_price=exactly(trade["price"]),
        commission=exactly(trade["fee"]["cost"]),
        commission_asset=trade["fee"]["currency"],
        filled_at=moment_of(trade["timestamp"]),
        source=source,
        raw=plain(trade),
    )


def exactly(number: float) -> Decimal:
    """The shortest decimal that is this float."""
    return Decimal(repr(number))


def plain(shape: Shape) -> dict[str, Any]:
    """For a JSON column, which takes no floats."""
    return {name: repr(value) if isinstance(value, float) else value for name, value in shape["info"].items()}
