"""Kraken's REST interface on the loopback, answering with recordings; for ccxt's own `kraken` class."""

import base64
import copy
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import ccxt.async_support  # type: ignore[import-untyped]  # ccxt ships no types
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.replays import RECORDINGS

PAGE = 50
_ASSETS = {"XXBT": "XBT", "XETH": "ETH", "ZUSD": "USD", "USDT": "USDT"}
_PAIRS = {"XBTUSDT": ("XXBT", "USDT"), "ETHUSDT": ("XETH", "USDT")}


def recording(name: str) -> dict[str, Any] | None:
    """What Kraken answered, or None where the recordings are absent."""
    path = RECORDINGS / "kraken" / f"{name}.json"
    if not path.exists():
        return None
    answer = json.loads(path.read_text())
    assert answer["error"] == []
    result: dict[str, Any] = answer["result"]
    return result


def is_recorded() -> bool:
    """Whether the recordings are at hand."""
    return recording("http_open_orders") is not None


@dataclass
class Kraken:
    """An account at Kraken in Kraken's own words, and what was asked of it."""

    open: dict[str, Any] = field(default_factory=dict)
    closed: dict[str, Any] = field(default_factory=dict)
    trades: dict[str, Any] = field(default_factory=dict)
    balance: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def as_recorded(cls) -> "Kraken":
        """The account of the recordings."""
        return cls(
            (recording("http_open_orders") or {})["open"],
            (recording("http_closed_orders") or {})["closed"],
            (recording("http_trades_history") or {})["trades"],
            recording("http_spot_balance") or {},
        )

    @classmethod
    def generated(cls) -> "Kraken":
        """The same in the same form, for where the recordings are absent."""
        bought = _order("BTC", "buy", "0.50000000", "29500.0", 1688583840.8648)
        sold = _order("ETH", "sell", "1.00000000", "0", 1688584240.1234)
        return cls(
            {"O26VBY-ISGAE-JP5TLU": bought, "OYEQF4-FDE4C-NMUYUI": sold},
            {
                "O5KZFT-GH3AD-LP6TLU": {**bought, "status": "closed", "vol_exec": "0.50000000"},
                "OCLOSED-2-TESTID": {**sold, "status": "closed", "vol_exec": "1.00000000"},
            },
            {
                "TCCCTY": _trade("O26VBY-ISGAE-JP5TLU", bought, "29500.50", "23.60", 1688585840.8921),
                "TDCVFQ": _trade("OYEQF4-FDE4C-NMUYUI", sold, "1799.75", "3.60", 1688586440.3456),
            },
            {"ZUSD": "200000.00", "XXBT": "0.5", "ETH": "2.0"},
        )

    @classmethod
    def busy(cls, *, orders: int, fills_each: int) -> "Kraken":
        """Closed orders with fills, many of them of the same second."""
        kraken = cls()
        for number in range(orders):
            name = f"O{number:05}"
            opened = 1688583840.5 + number // 20
            volume = f"{fills_each}.00000000"
            order = {**_order("BTC", "buy", volume, "29500.0", opened), "userref": number}
            kraken.closed[name] = {**order, "status": "closed", "vol_exec": volume}
            for part in range(fills_each):
                fill = {**_trade(name, order, "29500.0", "0.1", opened), "vol": "1.00000000"}
                kraken.trades[f"T{number:05}-{part}"] = fill
        return kraken

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The URL it answers at."""
        app = web.Application()
        app.router.add_route("*", "/0/{kind}/{name}", self._answer)
        async with TestServer(app) as server:
            yield f"http://{server.host}:{server.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Any]:
        """ccxt's `kraken`, which talks to this one."""
        async with self.listening() as url:
            exchange = ccxt.async_support.kraken(
                {
                    "apiKey": "key",
                    "secret": base64.b64encode(b"secret").decode(),
                    "enableRateLimit": False,
                    "urls": {"api": {"public": url, "private": url}},
                }
            )
            try:
                yield exchange
            finally:
                await exchange.close()

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.asked.append(name)
        if name in self.errors:
            return web.json_response({"error": [self.errors[name]]})
        asked = {key: str(value) for key, value in (await request.post()).items()}
        result = copy.deepcopy(getattr(self, f"_{name.lower()}")(asked))
        return web.json_response({"error": [], "result": result})

    def _assets(self, _: Mapping[str, str]) -> dict[str, Any]:
        return {
            name: {"aclass": "currency", "altname": altname, "decimals": 10, "status": "enabled"}
            for name, altname in _ASSETS.items()
        }

    def _assetpairs(self, _: Mapping[str, str]) -> dict[str, Any]:
        return {
            name: {
                "altname": name,
                "base": base,
                "quote": quote,
                "pair_decimals": 2,
                "lot_decimals": 8,
                "status": "online",
                "leverage_buy": [],
            }
            for name, (base, quote) in _PAIRS.items()
        }

    def _openorders(self, asked: Mapping[str, str]) -> dict[str, Any]:
        return {"open": _of_client(self.open, asked)}

    def _closedorders(self, asked: Mapping[str, str]) -> dict[str, Any]:
        return {"closed": _page(_of_client(self.closed, asked), asked, "opentm"), "count": len(self.closed)}

    def _tradeshistory(self, asked: Mapping[str, str]) -> dict[str, Any]:
        return {"trades": _page(self.trades, asked, "time"), "count": len(self.trades)}

    def _queryorders(self, asked: Mapping[str, str]) -> dict[str, Any]:
        known = self.open | self.closed
        return {name: known[name] for name in [asked["txid"]] if name in known}

    def _balanceex(self, _: Mapping[str, str]) -> dict[str, Any]:
        return {name: {"balance": amount, "hold_trade": "0"} for name, amount in self.balance.items()}

    def _openpositions(self, _: Mapping[str, str]) -> list[Any]:
        return []


def _order(base: str, side: str, volume: str, price: str, opened: float) -> dict[str, Any]:
    pair = {"BTC": "XBTUSDT", "ETH": "ETHUSDT"}[base]
    kind = "limit" if float(price) else "market"
    return {
        "userref": 0,
        "status": "open",
        "opentm": opened,
        "descr": {"pair": pair, "type": side, "ordertype": kind, "price": price, "price2": "0"},
        "vol": volume,
        "vol_exec": "0.00000000",
        "fee": "0.00000",
        "price": price,
        "oflags": "fciq",
    }


def _trade(order_id: str, order: dict[str, Any], price: str, fee: str, time: float) -> dict[str, Any]:
    return {
        "ordertxid": order_id,
        "pair": order["descr"]["pair"],
        "time": time,
        "type": order["descr"]["type"],
        "ordertype": order["descr"]["ordertype"],
        "price": price,
        "fee": fee,
        "vol": order["vol"],
        "maker": True,
    }


def _of_client(orders: dict[str, Any], asked: Mapping[str, str]) -> dict[str, Any]:
    wanted = asked.get("cl_ord_id")
    return {
        name: order for name, order in orders.items() if wanted is None or order.get("cl_ord_id") == wanted
    }


def _page(records: dict[str, Any], asked: Mapping[str, str], time: str) -> dict[str, Any]:
    """Fifty of them, the newest first, as Kraken pages."""
    start, end = float(asked.get("start", 0)), float(asked.get("end", 1e12))
    within = [(name, each) for name, each in records.items() if start <= each[time] <= end]
    newest_first = sorted(within, key=lambda item: -float(item[1][time]))
    offset = int(asked.get("ofs", 0))
    return dict(newest_first[offset : offset + PAGE])
