"""Reads what a signal is judged by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.models.accounts import Account
from gal_friday.dal.models.enums import RiskScope, Side
from gal_friday.dal.models.signals import Signal
from gal_friday.money import ZERO, exact
from gal_friday.services.risk.books import Holding, Intention, Pair, books_of
from gal_friday.services.risk.situation import DayResult, Instrument, Limits, Situation
from gal_friday.services.risk.statements import HOLDING, LEAD, LOCK, READ

_READ_ANEW = {"populate_existing": True}


@dataclass(frozen=True, slots=True)
class Reading:
    """The row READ gives; its last three columns hold rows of their own."""

    signal: Signal
    currency: str
    contract_multiplier: Decimal
    quantity_step: Decimal | None
    min_notional: Decimal | None
    closed_equity: Decimal | None
    peak_equity: Decimal | None
    config_hash: str | None
    account_halt: str | None
    strategy_halt: str | None
    moment: datetime
    limits: Sequence[Sequence[Any]]
    lines: Sequence[Sequence[Any]]
    results: Sequence[Sequence[Any]]

    def situation(self, *, quantity: Decimal, price: Decimal) -> Situation:
        """What is read, with what is asked for."""
        pair = Pair(self.signal.exchange, self.signal.trading_pair)
        holdings, intentions = _lines(self.lines)
        with exact():
            books = books_of(holdings, intentions, {pair: price})
        return Situation(
            signal=self.signal,
            quantity=quantity,
            price=price,
            currency=self.currency,
            instrument=Instrument(self.contract_multiplier, self.quantity_step, self.min_notional),
            books=books,
            results=[DayResult(*row) for row in self.results],
            limits=[Limits(RiskScope(scope), *rest) for scope, *rest in self.limits],
            closed_equity=self.closed_equity or ZERO,
            peak_equity=self.peak_equity or ZERO,
            halts={RiskScope.ACCOUNT: self.account_halt, RiskScope.STRATEGY: self.strategy_halt},
            decided_at=self.moment,
        )


async def lock_account(session: AsyncSession, signal_id: UUID) -> Account | None:
    """The signal's account, once no other decision is being made in it; None where there is no such signal.

    Raises LeaseLost where another process leads the account; its lease is locked before the account is.
    FOR NO KEY UPDATE: rows that refer to the account, as fills do, are stored by others meanwhile.
    """
    await session.execute(LEAD, {"signal_id": signal_id})
    found = await session.scalars(LOCK, {"signal_id": signal_id}, execution_options=_READ_ANEW)
    return found.one_or_none()


async def read_account(session: AsyncSession, signal_id: UUID, *, at: datetime | None) -> Reading:
    """What the signal is judged by, as of *at* (default: now, by the server's clock).

    After `lock_account`: others would otherwise be about to change what is read.
    """
    found = await session.execute(READ, {"signal_id": signal_id, "at": at}, execution_options=_READ_ANEW)
    return Reading(*found.one())


def _lines(lines: Sequence[Sequence[Any]]) -> tuple[list[Holding], list[Intention]]:
    holdings, intentions = [], []
    for kind, strategy_id, exchange, trading_pair, currency, multiplier, side, *amounts in lines:
        line = strategy_id, Pair(exchange, trading_pair), currency, multiplier, Side(side)
        if kind == HOLDING:
            holdings.append(Holding(*line, *amounts))
        else:
            intentions.append(Intention(*line, *amounts))
    return holdings, intentions
