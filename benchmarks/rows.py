"""Rows as a bot would store them: plain values by column, the same for every peer."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from benchmarks.harness.workbench import Workbench
from gal_friday.dal.models import new_id

Row = dict[str, Any]

ACCOUNT: Final = "default"
STRATEGY: Final = "momentum"
EXCHANGE: Final = "kraken"
PAIR: Final = "BTC/USD"
NOON: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)

MAKE_STRATEGY = """
    INSERT INTO strategies (strategy_id, name, version, timeframe, trading_pairs)
    VALUES ($1, $1, '1', '5m', ARRAY['BTC/USD'])
"""


def order_row(**others: Any) -> Row:
    """A limit order for some 3 BTC."""
    identity = new_id()
    return {
        "id": identity,
        "account_id": ACCOUNT,
        "client_order_id": identity.hex,
        "strategy_id": STRATEGY,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "side": "BUY",
        "order_type": "LIMIT",
        "quantity": Decimal("3.00000003"),
        "limit_price": Decimal("50000.1"),
        **others,
    }


def fill_row(order: Row, number: int = 0, **others: Any) -> Row:
    """A fill of one BTC, a millisecond after the one before."""
    identity = new_id()
    return {
        "id": identity,
        "account_id": ACCOUNT,
        "order_id": order["id"],
        "fill_id": identity.hex,
        "exchange_order_id": order["id"].hex,
        "exchange": order["exchange"],
        "trading_pair": order["trading_pair"],
        "side": order["side"],
        "quantity_filled": Decimal("1.00000001"),
        "fill_price": Decimal("50000.1") + number % 1000,
        "quote_currency": "USD",
        "commission": Decimal("13.37"),
        "commission_asset": "USD",
        "filled_at": NOON + timedelta(milliseconds=number),
        **others,
    }


def signal_row(**others: Any) -> Row:
    """A signal to buy at the market."""
    identity = new_id()
    return {
        "id": identity,
        "account_id": ACCOUNT,
        "strategy_id": STRATEGY,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "side": "BUY",
        "entry_type": "MARKET",
        "confidence": Decimal("0.75"),
        "fingerprint": hashlib.sha256(identity.bytes).hexdigest(),
        **others,
    }


def position_row(**others: Any) -> Row:
    """A long position."""
    return {
        "id": new_id(),
        "account_id": ACCOUNT,
        "strategy_id": STRATEGY,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "quote_currency": "USD",
        "side": "LONG",
        "quantity": Decimal(2),
        "cost": Decimal(100_000),
        "entry_price": Decimal(50_000),
        "opened_at": NOON,
        **others,
    }


async def with_strategy(bench: Workbench) -> None:
    """Store the strategy all orders belong to."""
    owner = await bench.owner()
    await owner.execute(MAKE_STRATEGY, STRATEGY)
    await owner.close()


async def store_orders(bench: Workbench, count: int, **others: Any) -> list[Row]:
    """Orders that are there before the work begins."""
    rows = [order_row(**others) for _ in range(count)]
    await store_order_rows(bench, rows)
    return rows


async def store_order_rows(bench: Workbench, rows: Sequence[Row]) -> None:
    """Store *rows*, which are alike in their columns."""
    owner = await bench.owner()
    await owner.copy_records_to_table(
        "orders", records=[tuple(row.values()) for row in rows], columns=list(rows[0])
    )
    await owner.close()
