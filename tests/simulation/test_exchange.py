"""The exchange of the simulation itself: what it does follows from the seed, and its books add up."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.simulation.agenda import Agenda
from tests.simulation.ccxt_errors import BaseError, DuplicateOrderId, RequestTimeout
from tests.simulation.ccxt_shapes import Shape
from tests.simulation.chance import Chance
from tests.simulation.exchange import Exchange
from tests.simulation.feed import Feed
from tests.simulation.market import Market
from tests.simulation.venue import Venue

DEPOSIT = Decimal(1_000_000)


async def traded(seed: int) -> tuple[Venue, list[Any]]:
    """An hour of orders and cancels, and all that was heard of them."""
    chance, agenda = Chance(seed), Agenda()
    venue = Venue(agenda, Market(chance), chance, DEPOSIT)
    exchange, feed = Exchange(venue, chance, "A"), Feed(venue, agenda, chance, "A")
    heard: list[Any] = []

    async def hear(kind: str, shape: Shape) -> None:
        heard.append((agenda.elapsed, kind, shape["id"], shape.get("status"), shape.get("filled")))

    feed.connect(hear)

    async def act() -> None:
        venue.market.tick()
        venue.tick()
        price = venue.market.price("BTC/USD")
        tick = venue.market.ticks
        try:
            order = await exchange.create_order(
                "ETH/USD" if tick % 3 == 0 else "BTC/USD",
                "limit" if tick % 3 else "market",
                "buy" if tick % 2 else "sell",
                0.25,
                float(price) if tick % 3 else None,
                {"clientOrderId": f"C{tick}"},
            )
            if tick % 4 == 0:
                await exchange.cancel_order(order["id"])
            heard.append(await exchange.fetch_my_trades(limit=5))
        except BaseError as error:
            heard.append((agenda.elapsed, type(error).__name__, str(error)))

    for minute in range(1, 61):
        agenda.after(timedelta(minutes=minute), act)
    await agenda.run_until(agenda.now + timedelta(hours=2))
    return venue, heard


async def test_the_same_seed_is_the_same_exchange() -> None:
    (venue, heard), (again, heard_again) = await traded(7), await traded(7)
    assert heard == heard_again
    assert [(f.id, f.amount, f.price) for f in venue.fills] == [
        (f.id, f.amount, f.price) for f in again.fills
    ]
    assert (await traded(8))[1] != heard


async def test_balances_are_what_was_deposited_and_traded() -> None:
    venue, _ = await traded(7)
    assert len(venue.fills) > 20
    for symbol, base in (("BTC/USD", "BTC"), ("ETH/USD", "ETH")):
        fills = [fill for fill in venue.fills if fill.order.symbol == symbol]
        net = sum((f.amount if f.order.side == "buy" else -f.amount for f in fills), Decimal(0))
        fees = sum((f.fee for f in fills if f.fee_currency == base), Decimal(0))
        assert venue.balances.get(base, 0) == net - fees
    assert all(order.filled <= order.amount for order in venue.orders.values())


async def test_what_the_exchange_did_before_its_answer_was_lost_stays_done() -> None:
    chance, agenda = Chance(1), Agenda()
    venue = Venue(agenda, Market(chance), chance, DEPOSIT)
    exchange = Exchange(venue, chance, "A")
    lost = None
    for number in range(100):
        try:
            await exchange.create_order(
                "BTC/USD", "limit", "buy", 0.1, 1000.0, {"clientOrderId": str(number)}
            )
        except RequestTimeout:
            lost = str(number)
        except BaseError:
            assert venue.by_client_order_id(str(number)) is None
    assert lost is not None
    exchange.is_calm = True
    assert (await exchange.fetch_order(None, params={"clientOrderId": lost}))["status"] == "open"
    with pytest.raises(DuplicateOrderId):
        await exchange.create_order("BTC/USD", "limit", "buy", 0.1, 1000.0, {"clientOrderId": lost})
