"""Questions to an exchange: each answered in bounded time, or on record as not answered."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

from gal_friday.adapters.ccxt import OrderReport, TradeReport, balances, order_report, trade_report
from gal_friday.adapters.exchange_api import ExchangeApi, Unified
from gal_friday.adapters.exchange_errors import is_not_found, told
from gal_friday.adapters.exchange_pages import Fetch, all_pages
from gal_friday.errors import NotUnderstood

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Absent(Enum):
    """Why there is no order: the exchange does not know it, or did not answer."""

    UNKNOWN = "unknown"
    NO_ANSWER = "no answer"


class Questions:
    """One reading of an exchange; `failures` has what it did not answer, `problems` what made no sense."""

    def __init__(
        self, api: ExchangeApi, exchange: str, *, timeout_seconds: float, window: timedelta | None
    ) -> None:
        self._api = api
        self._exchange = exchange
        self._timeout_seconds = timeout_seconds
        self._window = window
        self.failures: list[str] = []
        self.problems: list[str] = []

    async def open_orders(self, pairs: Sequence[str]) -> list[OrderReport] | None:
        """Orders that can still fill; None without an answer."""
        listed: list[Unified] = []
        for symbol in self._symbols("fetchOpenOrders", pairs):
            answer = await self._ask("fetch_open_orders", self._api.fetch_open_orders(symbol))
            if answer is None:
                return None
            listed += answer
        return [report for each in listed if (report := self._order(each, listed_as_open=True)) is not None]

    async def closed_orders(self, since: datetime, pairs: Sequence[str]) -> list[OrderReport] | None:
        """Orders at their end, made since; None without an answer or where the exchange cannot list them."""
        if self._lacks("fetchClosedOrders"):
            return None
        records = await self._pages("fetchClosedOrders", self._api.fetch_closed_orders, since, pairs)
        if records is None:
            return None
        return [report for each in records if (report := self._order(each)) is not None]

    async def trades(
        self, since: datetime, pairs: Sequence[str], *, pair: str | None = None
    ) -> list[TradeReport] | None:
        """Executions since, of *pair* or of all, oldest first; None without an answer."""
        records = await self._pages("fetchMyTrades", self._api.fetch_my_trades, since, pairs, pair)
        if records is None:
            return None
        understood = []
        for record in records:
            try:
                understood.append(trade_report(self._exchange, record))
            except NotUnderstood as error:
                self.problems.append(str(error))
        return understood

    async def balances(self) -> Mapping[str, Decimal] | None:
        """What there is of each currency; None without an answer, or where part of it made no sense."""
        answer = await self._ask("fetch_balance", self._api.fetch_balance())
        if answer is None:
            return None
        held, problems = balances(self._exchange, answer)
        self.problems += map(str, problems)
        return None if problems else held

    async def order(self, exchange_order_id: str, pair: str | None) -> OrderReport | Absent:
        """One order by the exchange's id."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._api.fetch_order(exchange_order_id, pair)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is no answer
            if is_not_found(error):
                return Absent.UNKNOWN
            self.failures.append(told(f"fetch_order {exchange_order_id}", error))
            return Absent.NO_ANSWER
        return self._order(answer) or Absent.NO_ANSWER

    async def orders_by_client_id(
        self, client_order_id: str, pair: str, since: datetime
    ) -> list[OrderReport] | None:
        """Orders that carry our id; None without an answer."""
        params = {"clientOrderId": client_order_id}
        found: list[OrderReport] = []
        asked: list[tuple[str, Fetch, int | None]] = [
            ("fetch_open_orders", self._api.fetch_open_orders, None)
        ]
        if not self._lacks("fetchClosedOrders"):
            asked.append(("fetch_closed_orders", self._api.fetch_closed_orders, _milliseconds(since)))
        for name, fetch, start in asked:
            answer = await self._ask(f"{name} of {client_order_id}", fetch(pair, start, None, dict(params)))
            if answer is None:
                return None
            found += [
                report
                for each in answer
                if each.get("clientOrderId") == client_order_id
                and (report := self._order(each, listed_as_open=start is None)) is not None
            ]
        return found

    async def _pages(
        self, method: str, fetch: Fetch, since: datetime, pairs: Sequence[str], pair: str | None = None
    ) -> list[Unified] | None:
        name = str(getattr(fetch, "__name__", method))
        exchange_id = str(getattr(self._api, "id", self._exchange))

        async def page(
            symbol: str | None, start: int | None, limit: int | None, params: dict[str, Any]
        ) -> Sequence[Unified]:
            async with asyncio.timeout(self._timeout_seconds):
                return await fetch(symbol, start, limit, params)

        records: list[Unified] = []
        for symbol in [pair] if pair else self._symbols(method, pairs):
            reading = all_pages(
                page,
                exchange=exchange_id,
                symbol=symbol,
                since=_milliseconds(since),
                until=_milliseconds(datetime.now(UTC)),
                window=None if self._window is None else self._window // timedelta(milliseconds=1),
            )
            answer = await self._ask(name, reading, timeout_seconds=None)
            if answer is None:
                return None
            records += answer
        return records

    async def _ask(self, what: str, answer: Awaitable[T], *, timeout_seconds: float | None = 0) -> T | None:
        seconds = self._timeout_seconds if timeout_seconds == 0 else timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is no answer
            self.failures.append(told(what, error))
            return None

    def _order(self, fields: Unified, *, listed_as_open: bool = False) -> OrderReport | None:
        try:
            return order_report(self._exchange, fields, listed_as_open=listed_as_open)
        except NotUnderstood as error:
            self.problems.append(str(error))
            return None

    def _lacks(self, method: str) -> bool:
        """Whether the exchange says that it cannot be asked this."""
        has = getattr(self._api, "has", {})
        return method in has and not has[method]

    def _symbols(self, method: str, pairs: Sequence[str]) -> Sequence[str | None]:
        """All pairs at once, unless the exchange wants them one by one."""
        features = getattr(self._api, "features", None) or {}
        kind = (getattr(self._api, "options", None) or {}).get("defaultType", "spot")
        of_kind = features.get(kind) or {}
        feature = (of_kind.get("linear") or of_kind).get(method) or {}
        return list(pairs) if feature.get("symbolRequired") else [None]


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
