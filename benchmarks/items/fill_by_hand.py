"""Applying a fill as a careful program without gal_friday would: what it reads and locks, then writes.

The same rows in the same order, and the same figures to the last decimal; who runs the statements decides
how many of them travel together. Nothing here turns a position around: no fill of W4b does.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any, Final, NamedTuple
from uuid import UUID

from benchmarks.items import fill_statements as sql
from benchmarks.rows import Row
from gal_friday.dal.models import new_id

Stored = Mapping[str, Any]

#: More digits than any product or quotient here has before it is rounded.
EXACT: Final = Context(prec=120, rounding=ROUND_HALF_UP)
PRICE: Final = Decimal("1e-18")
PERCENT: Final = Decimal("1e-8")
ZERO: Final = Decimal(0)


class Statement(NamedTuple):
    """SQL and its parameters $1, $2, …"""

    sql: str
    values: tuple[Any, ...]


def flat(statement: Statement) -> tuple[Any, ...]:
    """As asyncpg takes it: the values one by one."""
    return (statement.sql, *statement.values)


def attribution(fill: Row) -> Statement:
    """What triggers put on record with the changes."""
    return Statement(sql.ATTRIBUTE, (fill["filled_at"].isoformat(), f"fill {fill['fill_id']}"))


def reads(fill: Row) -> tuple[Statement, ...]:
    """What to read and lock: order, stored fill, instrument, position, trade, as `Found` has them."""
    order_id, currency = fill["order_id"], fill["quote_currency"]
    return (
        Statement(sql.LOCK_ORDER, (order_id,)),
        Statement(sql.KNOWN_FILL, (order_id, fill["fill_id"])),
        Statement(sql.INSTRUMENT, (order_id,)),
        Statement(sql.LOCK_POSITION, (order_id, currency)),
        Statement(sql.LOCK_TRADE, (order_id, currency)),
    )


@dataclass(frozen=True, slots=True)
class Found:
    """What was read; None where there is no such row."""

    order: Stored
    known: Stored | None
    instrument: Stored | None
    position: Stored | None
    trade: Stored | None


def writes(found: Found, fill: Row) -> Iterator[Statement]:
    """What the fill changes; nothing where it is stored already."""
    if found.known is None:
        with localcontext(EXACT):
            yield from _writes(found, fill)


def _writes(found: Found, fill: Row) -> Iterator[Statement]:
    order, position, trade = found.order, found.position, found.trade
    account, currency, at = order["account_id"], fill["quote_currency"], fill["filled_at"]
    quantity, price, fee = fill["quantity_filled"], fill["fill_price"], fill["commission"]
    multiplier = found.instrument["contract_multiplier"] if found.instrument else Decimal(1)
    net = quantity if fill["side"] == "BUY" else -quantity
    gain: Decimal | None = None

    if position is None or trade is None:
        position_id, trade_id, sequence = new_id(), new_id(), 1
        yield from _opening(order, fill, position_id, trade_id)
    else:
        position_id, trade_id, sequence = position["id"], trade["id"], position["last_applied_seq"] + 1
        change, gain, is_flat = _change_of_position(position, fill, net, multiplier)
        yield change
        yield _change_of_trade(trade, order, fill, gain, multiplier, ends=is_flat)

    filled, value = order["filled_quantity"] + quantity, order["cost"] + quantity * price
    fees = order["commission_quote"] + fee
    status = "FILLED" if filled >= order["quantity"] else "PARTIALLY_FILLED"
    progress = (
        *(order["id"], filled, value, _average(value, filled)),
        *(json.dumps({fill["commission_asset"]: f"{fees.normalize():f}"}), fees, position_id, trade_id),
        *(status, at, at if status == "FILLED" else None),
    )
    yield Statement(sql.ADVANCE_ORDER, progress)
    execution = (
        *(fill["id"], account, order["id"], position_id, trade_id, fill["fill_id"]),
        *(order["exchange_order_id"], order["exchange"], order["trading_pair"], sequence, fill["side"]),
        *(quantity, price, currency, fee, fill["commission_asset"], fee, multiplier, net, gain, at),
    )
    yield Statement(sql.ADD_FILL, execution)
    yield Statement(sql.BOOK_EQUITY, (account, currency, (gain or ZERO) - fee))
    event = {
        "fill": str(fill["id"]),
        "order": str(order["id"]),
        "trade": str(trade_id),
        "side": fill["side"],
        "order_status": status,
        "quantity": str(quantity),
        "price": str(price),
        "realized_pnl": None if gain is None else str(gain),
    }
    yield Statement(sql.ADD_EVENT, (account, f"position-{position_id}", sequence, json.dumps(event), at))


def _opening(order: Stored, fill: Row, position_id: UUID, trade_id: UUID) -> Iterator[Statement]:
    quantity, price, fee, at = (
        fill[name] for name in ("quantity_filled", "fill_price", "commission", "filled_at")
    )
    place = (order["account_id"], order["strategy_id"])
    pair = (order["exchange"], order["trading_pair"], fill["quote_currency"])
    value = quantity * price
    side = "LONG" if fill["side"] == "BUY" else "SHORT"
    yield Statement(sql.ADD_POSITION, (position_id, *place, *pair, side, quantity, value, price, fee, at))
    beginning = (*pair, fill["side"], at, quantity, value, price, fee, -fee)
    yield Statement(sql.BEGIN_TRADE, (trade_id, *place, position_id, order["id"], *beginning))


def _change_of_position(
    position: Stored, fill: Row, net: Decimal, multiplier: Decimal
) -> tuple[Statement, Decimal | None, bool]:
    """The change, what it realised where the position becomes smaller, and whether that is flat then."""
    value = fill["quantity_filled"] * fill["fill_price"]
    held = position["quantity"] if position["side"] == "LONG" else -position["quantity"]
    after = abs(held + net)
    gain: Decimal | None = None
    if (held < 0) != (net < 0):
        released = position["cost"]
        if after:
            released = _average(position["cost"] * fill["quantity_filled"], position["quantity"])
        gain = (value - released) * multiplier * (1 if held > 0 else -1)
        cost = position["cost"] - released
    else:
        cost = position["cost"] + value
    changed = (
        *(position["id"], after, cost, _average(cost, after) if after else position["entry_price"]),
        *(gain or ZERO, fill["commission"], position["last_applied_seq"] + 1),
        None if after else fill["filled_at"],
    )
    return Statement(sql.CHANGE_POSITION, changed), gain, not after


def _change_of_trade(
    trade: Stored, order: Stored, fill: Row, gain: Decimal | None, multiplier: Decimal, *, ends: bool
) -> Statement:
    quantity, fee = fill["quantity_filled"], fill["commission"]
    value = quantity * fill["fill_price"]
    profit = trade["realized_pnl"] + (gain or ZERO) - fee
    if gain is None:
        entered, entry_value = trade["quantity"] + quantity, trade["entry_value"] + value
        average = _average(entry_value, entered)
        return Statement(sql.ENTER_TRADE, (trade["id"], entered, entry_value, average, fee, profit))
    exited, exit_value = trade["filled_quantity"] + quantity, trade["exit_value"] + value
    percent = (profit * 100 / (trade["entry_value"] * multiplier)).quantize(PERCENT) if ends else None
    changed = (
        *(trade["id"], exited, exit_value, _average(exit_value, exited), fee, profit, percent),
        *(order["id"], fill["filled_at"], order["order_type"] if ends else None),
        "CLOSED" if ends else "PARTIALLY_FILLED",
    )
    return Statement(sql.EXIT_TRADE, changed)


def _average(value: Decimal, quantity: Decimal) -> Decimal:
    return (value / quantity).quantize(PRICE)
