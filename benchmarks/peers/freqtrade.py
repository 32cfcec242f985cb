"""freqtrade's persistence with its own tables, in a schema of their own: some have the names of ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from freqtrade.persistence import Order, Trade, init_db
from sqlalchemy import insert, make_url

from benchmarks.harness.workbench import Workbench

MAKE_SCHEMA = "CREATE SCHEMA IF NOT EXISTS freqtrade"


def trade(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "exchange": "kraken",
        "pair": f"C{number}/USD",
        "is_open": True,
        "open_rate": 50_000.0,
        "stake_amount": 100_000.0,
        "amount": 2.0,
        "strategy": "momentum",
    }


def order(number: int) -> dict[str, Any]:
    return {
        "ft_trade_id": number,
        "ft_order_side": "sell",
        "ft_pair": f"C{number}/USD",
        "ft_is_open": True,
        "ft_amount": 2.0,
        "ft_price": 51_000.5,
        "order_id": f"order-{number}",
        "status": "open",
        "side": "sell",
        "order_type": "limit",
        "price": 51_000.5,
        "amount": 2.0,
    }


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Any]:
    owner = await bench.owner()
    await owner.execute(MAKE_SCHEMA)
    await owner.close()
    # Through the proxy of the round trips too, but as one who may make tables.
    url = make_url(bench.url).set(
        drivername="postgresql+psycopg", username=make_url(bench.owner_url).username
    )
    in_schema = url.update_query_dict({"options": "-csearch_path=freqtrade"})
    init_db(in_schema.render_as_string(hide_password=False))

    def store(count: int) -> None:
        """*count* open trades with an open order each; nothing where they are there."""
        if Trade.get_open_trade_count() == 0:
            Trade.session.execute(insert(Trade), [trade(number) for number in range(1, count + 1)])
            Trade.session.execute(insert(Order), [order(number) for number in range(1, count + 1)])
            Trade.session.commit()

    try:
        yield SimpleNamespace(Trade=Trade, store=store)
    finally:
        Trade.session.remove()
        Trade.session.get_bind().dispose()
