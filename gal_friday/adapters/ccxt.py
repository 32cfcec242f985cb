"""Orders, trades and balances as ccxt unifies them, as ours.

Everything that cannot be understood is a NotUnderstood that names exchange, record, field and value; nothing
is filled in by guess. ccxt itself is not needed here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from gal_friday.adapters.ccxt_values import Record, exact_decimal, plain
from gal_friday.dal.models.enums import LiquidityType, OrderStatus, OrderType, Side, TimeInForce
from gal_friday.errors import NotUnderstood
from gal_friday.money import ZERO, exact

_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_LIQUIDITY = {"maker": LiquidityType.MAKER, "taker": LiquidityType.TAKER}
#: Ends that need no further look; what `open` and `closed` mean depends on what is filled.
_ENDS = {
    "canceled": OrderStatus.CANCELED,
    "cancelled": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED,
    "failed": OrderStatus.REJECTED,
}
_OPEN = {"open", "canceling", "pending"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """An order as the exchange tells it: base units, prices in quote currency.

    `status` is NEW, PARTIALLY_FILLED or one an order ends in. `reported_at` is when the exchange last changed
    it, as far as it says; `raw` its record as received.
    """

    exchange_order_id: str
    client_order_id: str | None
    trading_pair: str
    side: Side
    order_type: OrderType
    status: OrderStatus
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    post_only: bool = False
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    filled_quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    opened_at: datetime | None = None
    reported_at: datetime | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in {OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeReport:
    """An execution as the exchange tells it; `fees` by currency, negative is a rebate."""

    fill_id: str | None
    exchange_order_id: str
    trading_pair: str
    side: Side
    quantity: Decimal
    price: Decimal
    filled_at: datetime
    fees: Mapping[str, Decimal]
    liquidity_type: LiquidityType | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False)


def order_report(exchange: str, fields: Mapping[str, Any], *, listed_as_open: bool = False) -> OrderReport:
    """A unified order as ours. Raises NotUnderstood.

    One without status is open where it was *listed_as_open*, else at its end once nothing of it remains. One
    `closed` with nothing filled is CANCELED, and how much is filled has to be known of it: where `filled` is
    not told, `amount` less `remaining` tells. Without a type it is LIMIT where it has a price, else MARKET.
    """
    record = Record(exchange, "order", fields)
    quantity = _positive_or_none(record, "amount")
    filled = _filled(record, quantity)
    price = _positive_or_none(record, "price")
    order_type, stop_price = _type(record, has_price=price is not None)
    is_market = order_type is OrderType.MARKET
    return OrderReport(
        exchange_order_id=_needed(record, "id"),
        client_order_id=record.text("clientOrderId"),
        trading_pair=_needed(record, "symbol"),
        side=_side(record),
        order_type=order_type,
        status=_status(record, quantity, filled, listed_as_open=listed_as_open),
        time_in_force=_time_in_force(record),
        reduce_only=fields.get("reduceOnly") is True,
        post_only=fields.get("postOnly") is True,
        quantity=quantity,
        quote_quantity=None if quantity else _positive_or_none(record, "cost"),
        filled_quantity=filled,
        limit_price=None if is_market else price,
        stop_price=stop_price,
        opened_at=record.time("timestamp"),
        reported_at=record.time("lastUpdateTimestamp") or record.time("lastTradeTimestamp"),
        raw=_raw(fields),
    )


def trade_report(exchange: str, fields: Mapping[str, Any]) -> TradeReport:
    """A unified trade of one's own as ours. Raises NotUnderstood."""
    record = Record(exchange, "trade", fields)
    filled_at = record.time("timestamp")
    if filled_at is None:
        raise record.refuse("timestamp", "an execution has a time")
    liquidity = fields.get("takerOrMaker")
    return TradeReport(
        fill_id=record.text("id"),
        exchange_order_id=_needed(record, "order"),
        trading_pair=_needed(record, "symbol"),
        side=_side(record),
        quantity=record.positive("amount"),
        price=_price(record),
        filled_at=filled_at,
        fees=_fees(record),
        liquidity_type=_LIQUIDITY.get(liquidity) if isinstance(liquidity, str) else None,
        raw=_raw(fields),
    )


def balances(exchange: str, fields: Mapping[str, Any]) -> tuple[dict[str, Decimal], list[NotUnderstood]]:
    """What is held of each currency, free or not, and what could not be understood.

    Currencies of which there is nothing are left out.
    """
    totals = fields.get("total")
    held: dict[str, Decimal] = {}
    problems: list[NotUnderstood] = []
    if not isinstance(totals, Mapping):
        return {}, [Record(exchange, "balance", fields).refuse("total", "is missing")]
    for currency, total in totals.items():
        record = Record(exchange, "balance", {"id": currency, "total": total})
        try:
            amount = record.amount("total")
            if amount is None:
                raise record.refuse("total", "is missing")
            if amount:
                held[str(currency)] = amount
        except NotUnderstood as error:
            problems.append(error)
    return held, problems


def _needed(record: Record, name: str) -> str:
    value = record.text(name)
    if value is None:
        raise record.refuse(name, "is missing")
    return value


def _side(record: Record) -> Side:
    side = record.fields.get("side")
    if not isinstance(side, str) or side.lower() not in _SIDES:
        raise record.refuse("side", "is neither buy nor sell")
    return _SIDES[side.lower()]


def _positive_or_none(record: Record, name: str) -> Decimal | None:
    """What was ordered: zero stands for nothing said."""
    value = record.amount(name)
    if value is not None and value < 0:
        raise record.refuse(name, "is less than zero")
    return value or None


def _price(record: Record) -> Decimal:
    price = record.amount("price")  # an exchange may well report a price of zero or less
    if price is None:
        raise record.refuse("price", "is missing")
    return price


def _filled(record: Record, quantity: Decimal | None) -> Decimal | None:
    """What is filled, by its own word or by what remains."""
    filled, remaining = record.amount("filled"), record.amount("remaining")
    if filled is not None or quantity is None or remaining is None or not ZERO <= remaining <= quantity:
        return filled
    with exact():
        return quantity - remaining


def _status(
    record: Record, quantity: Decimal | None, filled: Decimal | None, *, listed_as_open: bool
) -> OrderStatus:
    said = record.fields.get("status")
    if said is None:
        is_complete = filled is not None and filled > ZERO and (quantity is None or filled >= quantity)
        if not listed_as_open and not is_complete:
            raise record.refuse("status", "is missing, and what is filled does not tell")
        said = "open" if listed_as_open else "closed"
    if said in _OPEN:
        return OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.NEW
    if said == "closed":
        if filled is None:
            raise record.refuse("filled", "is missing, and what remains does not tell")
        return OrderStatus.CANCELED if filled == ZERO else OrderStatus.FILLED
    if not isinstance(said, str) or said not in _ENDS:
        raise record.refuse("status", "is none an order can have")
    return _ENDS[said]


def _type(record: Record, *, has_price: bool) -> tuple[OrderType, Decimal | None]:
    """How it executes, and the price that triggers it."""
    said = str(record.fields.get("type") or "").lower()
    take_profit = _positive_or_none(record, "takeProfitPrice")
    trigger = (
        take_profit
        or _positive_or_none(record, "stopLossPrice")
        or _positive_or_none(record, "triggerPrice")
        or _positive_or_none(record, "stopPrice")
    )
    if "trailing" in said:
        return OrderType.TRAILING_STOP, trigger
    if take_profit or "profit" in said:
        return OrderType.TAKE_PROFIT, trigger
    if trigger or "stop" in said:
        limited = has_price and "market" not in said
        return OrderType.STOP_LIMIT if limited else OrderType.STOP_LOSS, trigger
    if "limit" in said or (not said and has_price):
        return OrderType.LIMIT, None
    if "market" in said or not said:
        return OrderType.MARKET, None
    raise record.refuse("type", "is no way an order executes")


def _time_in_force(record: Record) -> TimeInForce:
    said = str(record.fields.get("timeInForce"))
    return TimeInForce(said) if said in TimeInForce.__members__ else TimeInForce.GTC  # PO is post_only


def _fees(record: Record) -> Mapping[str, Decimal]:
    """What was charged in each currency; a fee of nothing needs none."""
    listed = record.fields.get("fees") or [record.fields.get("fee")]
    charged: dict[str, Decimal] = {}
    for fee in listed if isinstance(listed, Sequence) else ():
        if not isinstance(fee, Mapping):
            continue
        try:
            cost = exact_decimal(fee.get("cost"))
        except ValueError as error:
            raise Record(record.exchange, "trade", {"id": record.id, "fee": fee}).refuse(
                "fee.cost", str(error)
            ) from None
        if not cost:
            continue
        currency = fee.get("currency")
        if not isinstance(currency, str) or not currency:
            raise Record(record.exchange, "trade", {"id": record.id, "fee": fee}).refuse(
                "fee.currency", "a fee has a currency"
            )
        with exact():
            charged[currency] = charged.get(currency, ZERO) + cost
    return charged


def _raw(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The exchange's own record, as a JSON column can hold it."""
    info = fields.get("info")
    return {str(key): plain(value) for key, value in info.items()} if isinstance(info, Mapping) else {}
