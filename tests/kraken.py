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

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Any]:
        """ccxt's `kraken`, which talks to this one."""
        app = web.Application()
        app.router.add_route("*", "/0/{kind}/{name}", self._answer)
        async with TestServer(app) as server:
            url = f"http://{server.host}:{server.port}"
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
