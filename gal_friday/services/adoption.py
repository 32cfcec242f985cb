"""Adoption: an account that has been trading is taken over with what it holds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from gal_friday.adapters.holdings import HeldPosition, Holdings
from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import (
    AccountMode,
    CashFlow,
    CashFlowKind,
    Fill,
    Instrument,
    InstrumentKind,
    Order,
    OrderStatus,
    OrderType,
    PositionSide,
    ReportSource,
    Side,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, InvalidValue
from gal_friday.money import ZERO, canonical, exact

#: What the ids of orders and fills begin with that stand for a position taken over.
OPENING = "OPENING-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """An account to be taken over: whose, where, and what it holds."""

    account_id: str
    exchange: str
    holdings: Holdings
    reporting_currency: str = "USD"
    mode: AccountMode = AccountMode.LIVE


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was booked, or had been before: the opening cash flow of each currency, and positions.

    `is_new` is False where all of it was there.
    """

    is_new: bool
    openings: Mapping[str, Decimal]
    positions: int


async def adopt(database: Database, adoption: Adoption, *, actor: str | None = None) -> Adopted:
    """Open an account with what it holds; done again with the same it adds nothing.

    Each position becomes an order of origin EXTERNAL and a fill with source MANUAL at its entry price, both
    with an id that begins with OPENING-, applied as every fill is. The balances become one OPENING cash flow
    for each currency, so that with those fills the books come to exactly what is held: in spot, what a
    position cost was there before it was bought, and what it holds was not.

    Raises InvalidValue where positions hold more of a coin than there is or a strategy is long and short in a
    pair at once, AlreadyExists where the account has books that begin otherwise, InvalidReference for an
    unknown strategy.
    """
    openings = opening_amounts(adoption.holdings)
    _refuse_both_sides(adoption.holdings.positions)
    if not openings and not adoption.holdings.positions:
        raise InvalidValue("there is nothing to take over", account_id=adoption.account_id)

    async def take(uow: UnitOfWork) -> bool:
        wanted = _Beginning(openings, _fills_of(adoption.holdings.positions))
        is_new = not await _has_books(uow, adoption.account_id)
        if is_new:
            await _open(uow, adoption, openings)
        stored = await _beginning(uow, adoption.account_id)
        if stored != wanted:
            raise AlreadyExists(
                "the account's books begin otherwise; take it over under another account_id",
                account_id=adoption.account_id,
                stored=stored.shown(),
                given=wanted.shown(),
            )
        return is_new

    is_new = await database.retrying(take, actor=actor)
    return Adopted(is_new, openings, len(adoption.holdings.positions))


def opening_amounts(holdings: Holdings) -> dict[str, Decimal]:
    """What was there of each currency before the positions were entered; nothing is left out. Exact.

    Raises InvalidValue where spot positions hold more of a coin than there is.
    """
    amounts: dict[str, Decimal] = defaultdict(lambda: ZERO, holdings.balances)
    bought: dict[str, Decimal] = defaultdict(lambda: ZERO)
    with exact():
        for position in holdings.positions:
            if position.kind is not InstrumentKind.SPOT:
                continue
            base, quote = currencies_of(position)
            units = position.quantity * position.contract_multiplier
            signed = units if position.side is PositionSide.LONG else -units
            amounts[base] -= signed
            amounts[quote] += signed * position.entry_price
            bought[base] += signed
    for currency, in_positions in bought.items():
        balance = holdings.balances.get(currency, ZERO)
        if in_positions > balance:
            raise InvalidValue(
                "positions hold more of it than there is",
                currency=currency,
                in_positions=in_positions,
                balance=balance,
            )
    return {currency: canonical(amount) for currency, amount in sorted(amounts.items()) if amount}


def currencies_of(position: HeldPosition) -> tuple[str, str]:
    """Base and quote currency."""
    base, _, rest = position.trading_pair.partition("/")
    return base, rest.partition(":")[0]


def _refuse_both_sides(positions: Sequence[HeldPosition]) -> None:
    sides: dict[tuple[str, str | None], PositionSide] = {}
    for each in positions:
        if sides.setdefault((each.trading_pair, each.strategy_id), each.side) is not each.side:
            raise InvalidValue(
                "a strategy has one net position in a pair",
                trading_pair=each.trading_pair,
                strategy_id=each.strategy_id,
            )


#: Pair, strategy, side, quantity and price of a position taken over, or of the fill it became.
_OpeningFill = tuple[str, str, str, Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What an account's books begin with."""

    openings: Mapping[str, Decimal]
    positions: Sequence[_OpeningFill]

    def shown(self) -> str:
        amounts = [f"{amount:f} {currency}" for currency, amount in self.openings.items()]
        held = [
            f"{side} {quantity:f} {pair} at {price:f}" for pair, _, side, quantity, price in self.positions
        ]
        return ", ".join(amounts + held) or "nothing"


def _side(position: HeldPosition) -> Side:
    return Side.BUY if position.side is PositionSide.LONG else Side.SELL


def _fills_of(positions: Sequence[HeldPosition]) -> list[_OpeningFill]:
    return sorted(
        (
            each.trading_pair,
            each.strategy_id or "",
            _side(each).value,
            canonical(each.quantity),
            canonical(each.entry_price),
        )
        for each in positions
    )


async def _has_books(uow: UnitOfWork, account_id: str) -> bool:
    return await uow.cash_flows.exists(CashFlow.account_id == account_id) or await uow.fills.exists(
        Fill.account_id == account_id
    )


async def _beginning(uow: UnitOfWork, account_id: str) -> _Beginning:
    flows = await uow.session.execute(
        select(CashFlow.currency, func.sum(CashFlow.amount))
        .where(CashFlow.account_id == account_id, CashFlow.kind == CashFlowKind.OPENING)
        .group_by(CashFlow.currency)
        .order_by(CashFlow.currency)
    )
    fills = await uow.session.execute(
        select(Fill, Order.strategy_id)
        .join(Order, Order.id == Fill.order_id)
        .where(Fill.account_id == account_id, Fill.fill_id.startswith(OPENING, autoescape=True))
    )
    return _Beginning(
        {currency: canonical(amount) for currency, amount in flows if amount},
        sorted(
            (
                fill.trading_pair,
                strategy_id or "",
                fill.side.value,
                canonical(fill.quantity_filled),
                canonical(fill.fill_price),
            )
            for fill, strategy_id in fills
        ),
    )


async def _open(uow: UnitOfWork, adoption: Adoption, openings: Mapping[str, Decimal]) -> None:
    at, reason = adoption.holdings.at, f"taken over from {adoption.exchange}"
    await uow.accounts.open_account(
        adoption.account_id,
        mode=adoption.mode,
        exchange=adoption.exchange,
        reporting_currency=adoption.reporting_currency,
        initial_capital=openings.get(adoption.reporting_currency, ZERO),
        opened_at=at,
        reason=reason,
    )
    await uow.cash_flows.open_holdings(
        openings, occurred_at=at, account_id=adoption.account_id, reason=reason
    )
    for number, position in enumerate(adoption.holdings.positions, 1):
        await _list_instrument(uow, adoption.exchange, position)
        await _enter(uow, adoption, position, f"{OPENING}{number}")


async def _list_instrument(uow: UnitOfWork, exchange: str, position: HeldPosition) -> None:
    """Store what the pair is, unless that goes without saying. Raises AlreadyExists where it is another."""
    listed = await uow.instruments.get((exchange, position.trading_pair))
    kind, multiplier = position.kind, position.contract_multiplier
    if listed is None:
        if kind is InstrumentKind.SPOT and multiplier == 1:
            return
        base, quote = currencies_of(position)
        listed = await uow.instruments.add(
            Instrument(
                exchange=exchange,
                trading_pair=position.trading_pair,
                base_currency=base,
                quote_currency=quote,
                settle_currency=None if kind is InstrumentKind.SPOT else quote,
                kind=kind,
                contract_multiplier=multiplier,
            )
        )
    if (listed.kind, listed.contract_multiplier) != (kind, multiplier):
        raise AlreadyExists(
            "the instrument is listed as something else",
            trading_pair=position.trading_pair,
            stored=f"{listed.kind} × {listed.contract_multiplier}",
            given=f"{kind} × {multiplier}",
        )


async def _enter(uow: UnitOfWork, adoption: Adoption, position: HeldPosition, name: str) -> None:
    entered: dict[str, Any] = {
        "account_id": adoption.account_id,
        "exchange": adoption.exchange,
        "exchange_order_id": name,
        "trading_pair": position.trading_pair,
        "side": _side(position),
    }
    await uow.orders.adopt_external(
        Order(
            **entered,
            order_type=OrderType.MARKET,
            quantity=position.quantity,
            strategy_id=position.strategy_id,
            status=OrderStatus.FILLED,
            submitted_at=position.opened_at,
        ),
        at=position.opened_at,
        source=ReportSource.MANUAL,
    )
    outcome = await uow.execution.apply_fill(
        Fill(
            **entered,
            fill_id=name,
            quantity_filled=position.quantity,
            fill_price=position.entry_price,
            filled_at=position.opened_at,
            source=ReportSource.MANUAL,
        )
    )
    if outcome.result is FillResult.REJECTED:
        raise InvalidValue(outcome.reason or "", trading_pair=position.trading_pair)
