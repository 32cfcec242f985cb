"""What an account, or one strategy of it, is worth: by currency, as the books and the last marks say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import CTE, func, literal, null, select, union

from gal_friday.dal.models import CashFlow, CashFlowKind, Instrument, PortfolioState, Position, PositionMark
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.dal.valuation import (
    INSTRUMENT_OF_POSITION,
    IS_SPOT,
    contract_multiplier,
    unrealized_pnl,
    value_at,
)
from gal_friday.money import ZERO, exact
from gal_friday.services.rates import Rates

#: Money its owner puts in or takes out; every other cash flow is a gain or a loss.
CAPITAL_KINDS = (
    CashFlowKind.OPENING,
    CashFlowKind.DEPOSIT,
    CashFlowKind.WITHDRAWAL,
    CashFlowKind.TRANSFER,
)


@dataclass(frozen=True, slots=True)
class CurrencyEquity:
    """Equity in one currency; amounts are in it.

    `unrealized_pnl` is of open positions quoted in it, each at its last mark and rounded to 18 decimals;
    `unmarked_positions` of them have none and count as worth what they cost. `exposure` adds long and short.
    `bound` is what open spot positions cost plus the margin in use. `capital` is what its owner put in less
    what was taken out, since `capital_since`.
    """

    currency: str
    closed_equity: Decimal
    unrealized_pnl: Decimal
    exposure: Decimal
    bound: Decimal
    capital: Decimal
    capital_since: datetime | None
    peak_equity: Decimal | None
    unmarked_positions: int

    @property
    def equity(self) -> Decimal:
        """Closed equity and unrealised profit and loss, exact."""
        with exact():
            return self.closed_equity + self.unrealized_pnl

    @property
    def available(self) -> Decimal:
        """Closed equity that no position binds, exact; what open orders reserve is not taken off."""
        with exact():
            return self.closed_equity - self.bound

    @property
    def realized_pnl(self) -> Decimal:
        """All that was gained and lost so far, commission, funding and interest included; exact."""
        with exact():
            return self.closed_equity - self.capital


@dataclass(frozen=True, slots=True)
class Equity:
    """Equity by currency, and in one.

    `total` is in `currency`, 18 decimals; None where no rates were given and it takes some. `rates` are those
    used.
    """

    by_currency: Mapping[str, CurrencyEquity]
    currency: str
    total: Decimal | None
    rates: Mapping[str, Decimal]


async def equity_by_currency(
    uow: UnitOfWork, account_id: str, strategy_id: str | None = None
) -> Mapping[str, CurrencyEquity]:
    """Equity of the account, read by one statement: as it stood at one instant.

    With a *strategy_id*: as if the account had traded that strategy only. Its equity is then the account's
    capital, what the strategy's positions realised after commission, other cash flows booked on them such as
    funding, and their unrealised profit and loss.
    """
    closed_part = (
        _closed_of_account(account_id)
        if strategy_id is None
        else _closed_of_strategy(account_id, strategy_id)
    )
    open_part = _open_positions(account_id, strategy_id)
    capital_part = _capital(account_id)
    parts = (closed_part, open_part, capital_part)
    currencies = union(*(select(part.c.currency) for part in parts)).cte("currencies")
    statement = (
        select(
            currencies.c.currency,
            (
                func.coalesce(closed_part.c.amount, ZERO)
                + (ZERO if strategy_id is None else func.coalesce(capital_part.c.amount, ZERO))
            ).label("closed_equity"),
            func.coalesce(open_part.c.unrealized_pnl, ZERO).label("unrealized_pnl"),
            func.coalesce(open_part.c.exposure, ZERO).label("exposure"),
            (func.coalesce(open_part.c.cost, ZERO) + func.coalesce(closed_part.c.margin_used, ZERO)).label(
                "bound"
            ),
            func.coalesce(capital_part.c.amount, ZERO).label("capital"),
            capital_part.c.since.label("capital_since"),
            closed_part.c.peak_equity,
            func.coalesce(open_part.c.unmarked, 0).label("unmarked_positions"),
        )
        .select_from(currencies)
        .outerjoin(closed_part, closed_part.c.currency == currencies.c.currency)
        .outerjoin(open_part, open_part.c.currency == currencies.c.currency)
        .outerjoin(capital_part, capital_part.c.currency == currencies.c.currency)
        .order_by(currencies.c.currency)
    )
    return {row.currency: CurrencyEquity(*row) for row in await uow.session.execute(statement)}


def in_one_currency(
    equities: Mapping[str, CurrencyEquity], currency: str, given: Mapping[str, Decimal] | None
) -> Equity:
    """*equities* with their total in *currency*. Raises MissingRate where *given* lacks one that it takes."""
    rates = Rates(currency, given)
    amounts = {name: each.equity for name, each in equities.items()}
    foreign = any(amount for name, amount in amounts.items() if name != currency)
    total = None if given is None and foreign else rates.total(amounts)
    return Equity(equities, currency, total, rates.used)


def _closed_of_account(account_id: str) -> CTE:
    return (
        select(
            PortfolioState.currency,
            PortfolioState.closed_equity.label("amount"),
            PortfolioState.margin_used,
            PortfolioState.peak_equity,
        )
        .where(PortfolioState.account_id == account_id)
        .cte("closed")
    )


def _closed_of_strategy(account_id: str, strategy_id: str) -> CTE:
    of_strategy = (Position.account_id == account_id, Position.strategy_id == strategy_id)
    realized = (
        select(
            Position.quote_currency.label("currency"),
            func.sum(Position.realized_pnl - Position.total_commission).label("amount"),
        )
        .where(*of_strategy)
        .group_by(Position.quote_currency)
    )
    booked_on_them = (
        select(CashFlow.currency, func.sum(CashFlow.amount))
        .join(Position, Position.id == CashFlow.position_id)
        # A numbered adjustment is part of what its position realised.
        .where(*of_strategy, CashFlow.kind.not_in(CAPITAL_KINDS), CashFlow.applied_seq.is_(None))
        .group_by(CashFlow.currency)
    )
    both = realized.union_all(booked_on_them).subquery()
    return (
        select(
            both.c.currency,
            func.sum(both.c.amount).label("amount"),
            literal(ZERO).label("margin_used"),
            null().label("peak_equity"),
        )
        .group_by(both.c.currency)
        .cte("closed")
    )


def _open_positions(account_id: str, strategy_id: str | None) -> CTE:
    price = PositionMark.current_price
    return (
        select(
            Position.quote_currency.label("currency"),
            func.sum(unrealized_pnl(price)).label("unrealized_pnl"),
            func.sum(value_at(price)).label("exposure"),
            func.sum(Position.cost * contract_multiplier()).filter(IS_SPOT).label("cost"),
            func.count().filter(price.is_(None)).label("unmarked"),
        )
        .outerjoin(Instrument, INSTRUMENT_OF_POSITION)
        .outerjoin(PositionMark, PositionMark.position_id == Position.id)
        .where(
            Position.account_id == account_id,
            Position.closed_at.is_(None),
            *([] if strategy_id is None else [Position.strategy_id == strategy_id]),
        )
        .group_by(Position.quote_currency)
        .cte("open_positions")
    )


def _capital(account_id: str) -> CTE:
    return (
        select(
            CashFlow.currency,
            func.sum(CashFlow.amount).label("amount"),
            func.min(CashFlow.occurred_at).label("since"),
        )
        .where(CashFlow.account_id == account_id, CashFlow.kind.in_(CAPITAL_KINDS))
        .group_by(CashFlow.currency)
        .cte("capital")
    )
