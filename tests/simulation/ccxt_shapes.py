"""Orders, trades and balances as ccxt gives them: floats, milliseconds, None for what is not told."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.simulation.venue import VenueFill, VenueOrder

#: ccxt's own word for any of its structures.
Shape = dict[str, Any]


def order_shape(order: VenueOrder) -> Shape:
    """The order as it stands now."""
    milliseconds = in_milliseconds(order.created_at)
    return {
        "id": order.id,
        "clientOrderId": order.client_order_id,
        "timestamp": milliseconds,
        "datetime": order.created_at.isoformat().replace("+00:00", "Z"),
        "lastTradeTimestamp": None,
        "lastUpdateTimestamp": in_milliseconds(order.updated_at),
        "symbol": order.symbol,
        "type": "market" if order.type == "stop" else order.type,
        "timeInForce": "GTC",
        "postOnly": None,
        "reduceOnly": None,
        "side": order.side,
        "price": _number(order.price),
        "triggerPrice": _number(order.stop_price),
        "stopPrice": _number(order.stop_price),
        "stopLossPrice": _number(order.stop_price),
        "amount": _number(order.amount),
        "cost": _number(order.cost),
        "average": _number(order.cost / order.filled) if order.filled else None,
        "filled": _number(order.filled),
        "remaining": _number(order.remaining),
        "status": order.status,
        "fee": None,
        "fees": [],
        "trades": [],
        "info": {"number": str(order.number), "vol": str(order.amount), "vol_exec": str(order.filled)},
    }


def trade_shape(fill: VenueFill) -> Shape:
    fee = {"cost": _number(fill.fee), "currency": fill.fee_currency}
    return {
        "id": fill.id,
        "order": fill.order.id,
        "timestamp": in_milliseconds(fill.at),
        "datetime": fill.at.isoformat().replace("+00:00", "Z"),
        "symbol": fill.order.symbol,
        "type": "limit" if fill.is_maker else "market",
        "side": fill.order.side,
        "takerOrMaker": "maker" if fill.is_maker else "taker",
        "price": _number(fill.price),
        "amount": _number(fill.amount),
        "cost": _number(fill.amount * fill.price),
        "fee": fee,
        "fees": [fee],
        "info": {"vol": str(fill.amount), "price": str(fill.price), "fee": str(fill.fee)},
    }


def balance_shape(balances: Mapping[str, Decimal], open_orders: Sequence[VenueOrder]) -> Shape:
    """Totals, of which what open orders would spend is in use."""
    used: dict[str, Decimal] = dict.fromkeys(balances, Decimal(0))
    for order in open_orders:
        base, _, quote = order.symbol.partition("/")
        if order.side == "sell":
            used[base] = used.get(base, Decimal(0)) + order.remaining
        elif order.price is not None:
            used[quote] += order.remaining * order.price
    shape: Shape = {"info": {}, "timestamp": None, "datetime": None, "free": {}, "used": {}, "total": {}}
    for currency, total in balances.items():
        parts = {"free": total - used[currency], "used": used[currency], "total": total}
        shape[currency] = {name: _number(amount) for name, amount in parts.items()}
        for name, amount in parts.items():
            shape[name][currency] = _number(amount)
        shape["info"][currency] = str(total)
    return shape


def in_milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
