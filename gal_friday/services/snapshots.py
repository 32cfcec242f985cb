"""The rows of portfolio_snapshots."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from gal_friday.dal.criteria import given
from gal_friday.dal.models import (
    WORKING_ORDER_STATUSES,
    Instrument,
    Order,
    PortfolioSnapshot,
    Position,
    PositionMark,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.dal.valuation import INSTRUMENT_OF_POSITION, unrealized_pnl, value_at
from gal_friday.money import ZERO, canonical, ratio_rounded
from gal_friday.services.drawdowns import CURVE_KEY, Drawdowns, kept_for_the_next, percent
from gal_friday.services.equity import Equity
from gal_friday.services.rates import Rates


async def make_snapshot(
    uow: UnitOfWork,
    equity: Equity,
    drawdowns: Drawdowns,
    rates: Rates,
    *,
    at: datetime,
    account_id: str,
    strategy_id: str | None,
    extra: dict[str, Any],
) -> PortfolioSnapshot:
    """A snapshot of *equity*, every column filled, not yet stored. Amounts are in `equity.currency`."""
    assert equity.total is not None
    by_currency = equity.by_currency.items()
    exposure = rates.total({name: each.exposure for name, each in by_currency})
    positions = await _open_positions(uow, account_id, strategy_id)
    return PortfolioSnapshot(
        account_id=account_id,
        strategy_id=strategy_id,
        snapshot_timestamp=at,
        currency=equity.currency,
        total_equity=equity.total,
        available_balance=rates.total({name: each.available for name, each in by_currency}),
        unrealized_pnl=rates.total({name: each.unrealized_pnl for name, each in by_currency}),
        realized_pnl=rates.total({name: each.realized_pnl for name, each in by_currency}),
        total_exposure=exposure,
        total_exposure_pct=percent(exposure, equity.total),
        leverage=ratio_rounded(exposure, equity.total) if equity.total > 0 else ZERO,
        daily_pnl=drawdowns.daily_pnl,
        daily_pnl_pct=drawdowns.daily_pnl_pct,
        daily_drawdown_pct=drawdowns.daily_drawdown_pct,
        weekly_drawdown_pct=drawdowns.weekly_drawdown_pct,
        total_drawdown_pct=drawdowns.total_drawdown_pct,
        open_orders_count=await _working_orders(uow, account_id, strategy_id),
        positions=positions,
        rates={name: canonical(rate) for name, rate in sorted(rates.used.items())},
        extra={**extra, CURVE_KEY: kept_for_the_next(equity, drawdowns)},
    )


async def _working_orders(uow: UnitOfWork, account_id: str, strategy_id: str | None) -> int:
    return await uow.orders.count(
        Order.account_id == account_id,
        Order.status.in_(WORKING_ORDER_STATUSES),
        *given((Order.strategy_id, strategy_id)),
    )


async def _open_positions(
    uow: UnitOfWork, account_id: str, strategy_id: str | None
) -> Sequence[dict[str, Any]]:
    price = PositionMark.current_price
    statement = (
        select(
            Position.exchange,
            Position.trading_pair,
            Position.strategy_id,
            Position.side,
            Position.quantity,
            Position.entry_price,
            price.label("current_price"),
            Position.quote_currency.label("currency"),
            value_at(price).label("value"),
            func.coalesce(unrealized_pnl(price), ZERO).label("unrealized_pnl"),
        )
        .outerjoin(Instrument, INSTRUMENT_OF_POSITION)
        .outerjoin(PositionMark, PositionMark.position_id == Position.id)
        .where(
            Position.account_id == account_id,
            Position.closed_at.is_(None),
            *given((Position.strategy_id, strategy_id)),
        )
        .order_by(Position.id)
    )
    return [
        {
            name: canonical(value) if isinstance(value, Decimal) else value
            for name, value in row._mapping.items()  # noqa: SLF001 -- SQLAlchemy's public name for it
        }
        for row in await uow.session.execute(statement)
    ]
