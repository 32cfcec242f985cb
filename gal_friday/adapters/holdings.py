"""What an account holds, from a file or from its exchange: balances, and positions with their entry price."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from gal_friday.adapters.ccxt import balances
from gal_friday.adapters.ccxt_values import Record
from gal_friday.adapters.exchange_api import ExchangeApi, Unified
from gal_friday.adapters.exchange_errors import told
from gal_friday.dal.models.enums import InstrumentKind, PositionSide
from gal_friday.errors import ExchangeUnavailable

_SIDES = {"long": PositionSide.LONG, "short": PositionSide.SHORT}
#: Nothing may have been executed for so long before, so that a clock that is off a little misleads nobody.
QUIET = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPosition:
    """An open position: base units, or contracts of *contract_multiplier* base units each."""

    trading_pair: str
    side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    opened_at: datetime
    strategy_id: str | None = None
    kind: InstrumentKind = InstrumentKind.SPOT
    contract_multiplier: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Holdings:
    """All an account holds at an instant: of each currency, free or not, and the positions in it."""

    at: datetime
    balances: Mapping[str, Decimal]
    positions: Sequence[HeldPosition] = ()


async def holdings_of(api: ExchangeApi, exchange: str, *, timeout_seconds: float = 30.0) -> Holdings:
    """What the exchange says the account holds now.

    Contracts are positions; what is held of a coin is a balance, since no exchange knows what it was bought
    for. Raises ExchangeUnavailable, also where something was executed in the last minute or meanwhile: what
    is held and since when would not be certain. Raises NotUnderstood.
    """
    at = datetime.now(UTC)

    async def ask(what: str, *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await getattr(api, what)(*arguments)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is no answer
            raise ExchangeUnavailable(told(what, error), exchange=exchange) from None

    held, problems = balances(exchange, await ask("fetch_balance"))
    if problems:
        raise problems[0]
    positions: list[HeldPosition] = []
    if getattr(api, "has", {}).get("fetchPositions"):
        for fields in await ask("fetch_positions"):
            position = _position(exchange, fields, at)
            positions += [position] if position else []
    since = (at - QUIET - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if await ask("fetch_my_trades", None, since):
        raise ExchangeUnavailable(
            "orders are being executed; wait a minute without any, and try again", exchange=exchange
        )
    return Holdings(at, held, positions)


def _position(exchange: str, fields: Unified, at: datetime) -> HeldPosition | None:
    record = Record(exchange, "position", fields)
    contracts = record.amount("contracts")
    if not contracts:
        return None
    pair = record.text("symbol")
    if pair is None or ":" not in pair:
        raise record.refuse("symbol", "is no contract; give positions bought on margin in a file")
    base_and_quote, _, settled_in = pair.partition(":")
    if settled_in.partition("-")[0] != base_and_quote.partition("/")[2]:
        raise record.refuse("symbol", "is settled in another currency than its price is in")
    side = _SIDES.get(str(fields.get("side")).lower())
    if side is None:
        raise record.refuse("side", "is neither long nor short")
    return HeldPosition(
        trading_pair=pair,
        side=side,
        quantity=abs(contracts),
        entry_price=record.positive("entryPrice"),
        opened_at=record.time("timestamp") or at,
        kind=InstrumentKind.FUTURE if "-" in settled_in else InstrumentKind.PERPETUAL,
        contract_multiplier=record.amount("contractSize") or Decimal(1),
    )
