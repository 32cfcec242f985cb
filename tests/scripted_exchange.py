"""An exchange that answers what it was given, in the shapes ccxt has."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gal_friday.dal.models import Order
from tests.factories import NOON, PAIR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NetworkError(Exception):
    """As ccxt names it."""


class OrderNotFound(Exception):
    """As ccxt names it."""


@dataclass
class ScriptedExchange:
    """Lists it gives whole, unless told to fail or to do something first."""

    open: list[dict[str, Any]] = field(default_factory=list)
    closed: list[dict[str, Any]] = field(default_factory=list)
    trades: list[dict[str, Any]] = field(default_factory=list)
    total: dict[str, Any] = field(default_factory=lambda: {"USD": "5000000"})
    #: Orders that are in no list and known by their id all the same.
    unlisted: list[dict[str, Any]] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    before: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    never_answers: set[str] = field(default_factory=set)
    has: dict[str, bool] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)
    positions: list[dict[str, Any]] = field(default_factory=list)
    heeds_since: bool = True
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def fetch_open_orders(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: dict[str, Any] = {},  # noqa: B006 -- as ccxt declares it
    ) -> list[dict[str, Any]]:
        await self._answer("fetch_open_orders", params.get("clientOrderId"))
        return list(self.open)

    async def fetch_closed_orders(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: dict[str, Any] = {},  # noqa: B006
    ) -> list[dict[str, Any]]:
        await self._answer("fetch_closed_orders", params.get("clientOrderId"))
        return [order for order in self.closed if (order["timestamp"] or 0) >= (since or 0)]

    async def fetch_order(
        self,
        id: str,  # noqa: A002 -- the name ccxt has for it
        symbol: str | None = None,
        params: dict[str, Any] = {},  # noqa: B006
    ) -> dict[str, Any]:
        await self._answer("fetch_order", id)
        for order in (*self.open, *self.closed, *self.unlisted):
            if order["id"] == id:
                return order
        raise OrderNotFound(id)

    async def fetch_my_trades(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: dict[str, Any] = {},  # noqa: B006
    ) -> list[dict[str, Any]]:
        await self._answer("fetch_my_trades", symbol)
        return [
            trade
            for trade in self.trades
            if not isinstance(trade["timestamp"], int)
            or not self.heeds_since
            or (since or 0) <= trade["timestamp"] <= params.get("until", trade["timestamp"])
        ]

    async def fetch_balance(self, params: dict[str, Any] = {}) -> dict[str, Any]:  # noqa: B006
        await self._answer("fetch_balance", None)
        return {"total": dict(self.total), "info": {}}

    async def fetch_positions(self) -> list[dict[str, Any]]:
        await self._answer("fetch_positions", None)
        return self.positions

    async def _answer(self, method: str, about: Any) -> None:
        self.asked.append((method, about))
        if (hook := self.before.pop(method, None)) is not None:
            await hook()
        if method in self.never_answers:
            await asyncio.Event().wait()
        if method in self.failing:
            raise self.failing[method]

    def times_asked(self, method: str) -> int:
        return sum(name == method for name, _ in self.asked)


def milliseconds(moment: datetime) -> int:
    return round((moment - EPOCH).total_seconds() * 1000)


def their_order(order: Order | None = None, /, **overrides: Any) -> dict[str, Any]:
    """An order as ccxt unifies it; that of *order* where one is given."""
    values: dict[str, Any] = {
        "id": "OX-1",
        "clientOrderId": order.client_order_id if order else None,
        "symbol": order.trading_pair if order else PAIR,
        "side": order.side.lower() if order else "buy",
        "type": order.order_type.lower() if order else "limit",
        "status": "open",
        "amount": float(order.quantity or 0) if order else 2.0,
        "filled": 0.0,
        "price": float(order.limit_price or 0) if order else 50_000.0,
        "timestamp": milliseconds(NOON),
        "fee": None,
        "fees": [],
        "info": {"as": "received"},
    }
    if order is not None and order.exchange_order_id is not None:
        values["id"] = order.exchange_order_id
    return {**values, **overrides}


def their_trade(order: Order | None = None, /, **overrides: Any) -> dict[str, Any]:
    """One unit executed at 50,000 for 13 USD, as ccxt unifies it."""
    values: dict[str, Any] = {
        "id": "T-1",
        "order": (order.exchange_order_id if order else None) or "OX-1",
        "symbol": order.trading_pair if order else PAIR,
        "side": order.side.lower() if order else "buy",
        "type": "limit",
        "takerOrMaker": "maker",
        "amount": 1.0,
        "price": 50_000.0,
        "cost": 50_000.0,
        "timestamp": milliseconds(NOON),
        "fee": {"cost": 13.0, "currency": "USD"},
        "fees": [],
        "info": {"as": "received"},
    }
    return {**values, **overrides}


def expected_usd(*moved: str) -> str:
    """What is left of the opening balance."""
    return str(Decimal(5_000_000) + sum(map(Decimal, moved)))
