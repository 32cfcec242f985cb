"""What an exchange says an account holds."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gal_friday.adapters.holdings import holdings_of
from gal_friday.dal.models import InstrumentKind, PositionSide
from gal_friday.errors import ExchangeUnavailable, NotUnderstood
from tests.factories import NOON
from tests.scripted_exchange import NetworkError, ScriptedExchange, milliseconds, their_trade

A_POSITION = {
    "id": "P-1",
    "symbol": "XRP/USDT:USDT",
    "side": "short",
    "contracts": 3.0,
    "contractSize": 10.0,
    "entryPrice": 0.5,
    "timestamp": milliseconds(NOON),
}


def an_exchange(*positions: dict[str, Any]) -> ScriptedExchange:
    return ScriptedExchange(
        has={"fetchPositions": True}, positions=list(positions), total={"USDT": 100.5, "XRP": 0}
    )


async def test_balances_and_contracts_are_taken_as_they_are() -> None:
    exchange = an_exchange(
        A_POSITION,
        {**A_POSITION, "symbol": "BTC/USDT:USDT-261225", "side": "long", "contractSize": None},
        {**A_POSITION, "contracts": 0},
    )
    held = await holdings_of(exchange, "any")
    assert held.balances == {"USDT": Decimal("100.5")}
    perpetual, future = held.positions
    assert (perpetual.side, perpetual.quantity, perpetual.entry_price, perpetual.opened_at) == (
        *(PositionSide.SHORT, Decimal(3), Decimal("0.5"), NOON),
    )
    assert (perpetual.kind, perpetual.contract_multiplier) == (InstrumentKind.PERPETUAL, Decimal(10))
    assert (future.kind, future.contract_multiplier) == (InstrumentKind.FUTURE, Decimal(1))
    assert datetime.now(UTC) - held.at < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"symbol": "XRP/USDT"}, "symbol"),
        ({"symbol": "XRP/USD:XRP"}, "symbol"),
        ({"symbol": None}, "symbol"),
        ({"side": None}, "side"),
        ({"entryPrice": None}, "entryPrice"),
        ({"contracts": "some"}, "contracts"),
    ],
)
async def test_a_position_that_makes_no_sense_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        await holdings_of(an_exchange({**A_POSITION, **fields}), "any")
    assert raised.value.facts["field"] == field


async def test_a_balance_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(NotUnderstood, match="USD"):
        await holdings_of(ScriptedExchange(total={"USD": "much"}), "any")


async def test_what_is_held_while_orders_are_executed_is_not_certain() -> None:
    just_now = milliseconds(datetime.now(UTC) - timedelta(seconds=20))
    with pytest.raises(ExchangeUnavailable, match="being executed"):
        await holdings_of(ScriptedExchange(trades=[their_trade(timestamp=just_now)]), "any")


async def test_an_exchange_that_does_not_answer_is_an_error() -> None:
    url = "GET https://exchange/balance?key=topsecret"
    with pytest.raises(
        ExchangeUnavailable, match=r"fetch_balance: NetworkError: GET https://exchange/balance\?…"
    ):
        await holdings_of(ScriptedExchange(failing={"fetch_balance": NetworkError(url)}), "any")
    with pytest.raises(ExchangeUnavailable, match="TimeoutError"):
        await holdings_of(ScriptedExchange(never_answers={"fetch_balance"}), "any", timeout_seconds=0.05)
