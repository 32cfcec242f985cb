"""What is asked of an exchange: the names and shapes of ccxt's asyncio classes, without ccxt.

An exchange of `ccxt.async_support` is one as it is; so is anything else with these methods.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

#: An order, a trade or a balance as ccxt unifies it: https://docs.ccxt.com/#/README?id=order-structure
Unified = Mapping[str, Any]


class ExchangeApi(Protocol):
    """Times are milliseconds since 1970 in UTC, a symbol is BASE/QUOTE, `BASE/QUOTE:SETTLE` for a contract.

    Whatever is raised means that there is no answer, except an `OrderNotFound` of `fetch_order`. An attribute
    `has` (name → bool) says which methods work and `features` which of them need a symbol, where they exist.
    """

    async def fetch_open_orders(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: dict[str, Any] = ...,
    ) -> Sequence[Unified]:
        """Orders that can still fill."""
        ...

    async def fetch_closed_orders(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: dict[str, Any] = ...,
    ) -> Sequence[Unified]:
        """A page of orders that are at their end, made at *since* or later."""
        ...

    async def fetch_order(
        self,
        id: str,  # noqa: A002 -- the name ccxt has for it
        symbol: str | None = None,
        params: dict[str, Any] = ...,
    ) -> Unified:
        """One order by the exchange's id."""
        ...

    async def fetch_my_trades(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: dict[str, Any] = ...,
    ) -> Sequence[Unified]:
        """A page of the account's executions at *since* or later."""
        ...

    async def fetch_balance(self, params: dict[str, Any] = ...) -> Unified:
        """What the account holds: `total` has the amount of each currency."""
        ...
