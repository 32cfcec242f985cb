"""The exchange as one instance of a bot reaches it: ccxt's asyncio methods over a network that fails."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tests.simulation.ccxt_errors import NetworkError, OrderNotFound, RequestTimeout
from tests.simulation.ccxt_shapes import Shape, balance_shape, in_milliseconds, order_shape, trade_shape
from tests.simulation.chance import Chance, weighted
from tests.simulation.venue import Venue

#: The most orders or trades one answer has.
PAGE = 20


class CallFate(StrEnum):
    """What becomes of a call."""

    ANSWERED = "answered"
    NOT_SENT = "never arrived"
    NOT_ANSWERED = "acted on, its answer lost"


async def _pass() -> None:
    """Where nobody watches calls."""


@dataclass(slots=True)
class Exchange:
    """Given to what takes a `ccxt.async_support` exchange.

    *name* tells the instances apart. *checkpoint* is awaited before each call and before each answer: there
    an instance may be stopped or killed.
    """

    venue: Venue
    chance: Chance
    name: str
    id: str = "simulated"
    has: dict[str, bool] = field(
        default_factory=lambda: dict.fromkeys(
            ("fetchOpenOrders", "fetchClosedOrders", "fetchMyTrades", "fetchBalance", "fetchOrder"), True
        )
    )
    checkpoint: Callable[[], Awaitable[None]] = _pass
    is_calm: bool = False

    async def fetch_open_orders(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: Shape | None = None,
    ) -> list[Shape]:
        await self._call("fetch_open_orders")
        listed = [order for order in self.venue.open_orders() if symbol in {None, order.symbol}]
        return [order_shape(order) for order in listed if in_milliseconds(order.created_at) >= (since or 0)]

    async def fetch_closed_orders(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: Shape | None = None,
    ) -> list[Shape]:
        await self._call("fetch_closed_orders")
        listed = [
            order_shape(order)
            for order in self.venue.orders.values()
            if order.status != "open" and symbol in {None, order.symbol}
        ]
        return _page(listed, since, limit, params)

    async def fetch_my_trades(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: Shape | None = None,
    ) -> list[Shape]:
        await self._call("fetch_my_trades")
        listed = [
            trade_shape(fill) for fill in self.venue.visible_fills() if symbol in {None, fill.order.symbol}
        ]
        return _page(listed, since, limit, params)

    async def fetch_balance(self, params: Shape | None = None) -> Shape:
        await self._call("fetch_balance")
        return balance_shape(self.venue.balances, self.venue.open_orders())

    async def fetch_order(
        self,
        id: str | None,  # noqa: A002  # ccxt's name, which callers may use
        symbol: str | None = None,
        params: Shape | None = None,
    ) -> Shape:
        """By its id, or by `params["clientOrderId"]`. Raises OrderNotFound."""
        await self._call("fetch_order")
        client_order_id = (params or {}).get("clientOrderId")
        if client_order_id is not None:
            order = self.venue.by_client_order_id(client_order_id)
        else:
            order = self.venue.orders.get(id or "")
        if order is None:
            raise OrderNotFound(client_order_id or id)
        return order_shape(order)

    async def create_order(  # noqa: PLR0917  # ccxt's parameters
        self,
        symbol: str,
        type: str,  # noqa: A002
        side: str,
        amount: float | Decimal,
        price: float | Decimal | None = None,
        params: Shape | None = None,
    ) -> Shape:
        """*params* may have clientOrderId and stopLossPrice. Raises as `Venue.place`, and NetworkError."""
        told = params or {}
        stop = told.get("stopLossPrice")
        is_lost = await self._call("create_order")
        order = self.venue.place(
            symbol,
            "stop" if stop is not None else type,
            side,
            _exact(amount),
            price=None if price is None else _exact(price),
            stop_price=None if stop is None else _exact(stop),
            client_order_id=told.get("clientOrderId"),
        )
        shape = order_shape(order)
        await self._answer("create_order", is_lost=is_lost)
        return shape

    async def cancel_order(
        self,
        id: str,  # noqa: A002
        symbol: str | None = None,
        params: Shape | None = None,
    ) -> Shape:
        """Raises what Venue.cancel does, and NetworkError."""
        is_lost = await self._call("cancel_order")
        shape = order_shape(self.venue.cancel(id))
        await self._answer("cancel_order", is_lost=is_lost)
        return shape

    async def _call(self, method: str) -> bool:
        """Reach the exchange, or not; gives back whether the answer will be lost. Raises NetworkError."""
        await self.checkpoint()
        if self.is_calm:
            return False
        weights = [(CallFate.ANSWERED, 93), (CallFate.NOT_SENT, 2), (CallFate.NOT_ANSWERED, 5)]
        fate = weighted(self.chance.of("call", self.name, method), weights)
        if fate is CallFate.NOT_SENT:
            raise NetworkError(method)
        return fate is CallFate.NOT_ANSWERED

    async def _answer(self, method: str, *, is_lost: bool) -> None:
        await self.checkpoint()
        if is_lost:
            raise RequestTimeout(method)


def _page(listed: Sequence[Shape], since: int | None, limit: int | None, params: Shape | None) -> list[Shape]:
    """The oldest ones since."""
    until = (params or {}).get("until")
    found = [
        shape
        for shape in listed
        if shape["timestamp"] >= (since or 0) and (until is None or shape["timestamp"] <= until)
    ]
    return found[: min(limit or PAGE, PAGE)]


def _exact(amount: float | Decimal) -> Decimal:
    return Decimal(str(amount))
