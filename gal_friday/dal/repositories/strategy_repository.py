"""Strategies and what they achieved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import func, select, union_all

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.enums import TradeStatus
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.strategies import Strategy
from gal_friday.dal.models.trades import ArchivedTrade, Trade
from gal_friday.errors import Ambiguous
from gal_friday.money import MONEY_DECIMALS, ZERO, average_price_rounded, ratio_rounded


@dataclass(frozen=True, slots=True)
class StrategyPerformance:
    """What closed trades brought, in their quote currency, after commission.

    `win_rate` has 8 decimals, `average_pnl` and `pnl_stddev` (of the sample) have 18; they are None where too
    few trades were closed to say. `average_duration` is from first entry to last exit.
    """

    strategy_id: str
    quote_currency: str | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal | None
    total_pnl: Decimal
    total_commission: Decimal
    average_pnl: Decimal | None
    pnl_stddev: Decimal | None
    best_trade: Decimal | None
    worst_trade: Decimal | None
    average_duration: timedelta | None


class StrategyRepository(BaseRepository[Strategy]):
    model = Strategy

    @one_statement
    async def find_active_strategies(self) -> Sequence[Strategy]:
        """Strategies that run, newest first."""
        return await self.find_all(Strategy.is_active, order_by=Strategy.created_at.desc())

    async def update_performance_metrics(
        self,
        strategy_id: str,
        *,
        total_trades: int | None = None,
        winning_trades: int | None = None,
        total_pnl: Decimal | None = None,
        max_drawdown: Decimal | None = None,
    ) -> Strategy:
        """Set the running totals given; the others stay. *max_drawdown* is a proportion, 0.25 for a quarter.

        Raises NotFound, StaleWrite.
        """
        given = {
            "total_trades": total_trades,
            "winning_trades": winning_trades,
            "total_pnl": total_pnl,
            "max_drawdown": max_drawdown,
        }
        strategy = await self.one(strategy_id)
        for name, value in given.items():
            if value is not None:
                setattr(strategy, name, value)
        return await self.update(strategy)

    async def get_strategy_performance(
        self,
        strategy_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        quote_currency: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> StrategyPerformance:
        """What trades entered from *start* up to, not including, *end* brought, archived ones too.

        Raises Ambiguous where they are in several currencies and *quote_currency* names none of them: amounts
        of different currencies have no sum.
        """
        both = union_all(
            *(
                select(
                    table.quote_currency,
                    table.realized_pnl,
                    table.total_commission,
                    table.entry_timestamp,
                    table.exit_timestamp,
                ).where(
                    table.account_id == account_id,
                    table.strategy_id == strategy_id,
                    table.status == TradeStatus.CLOSED,
                    *within(table.entry_timestamp, start, end),
                    *given((table.quote_currency, quote_currency)),
                )
                for table in (Trade, ArchivedTrade)
            )
        ).subquery()
        pnl = both.c.realized_pnl
        statement = select(
            both.c.quote_currency,
            func.count().label("trades"),
            func.count().filter(pnl > 0).label("wins"),
            func.count().filter(pnl < 0).label("losses"),
            func.sum(pnl).label("total"),
            func.sum(both.c.total_commission).label("commission"),
            func.round(func.stddev_samp(pnl), MONEY_DECIMALS).label("deviation"),
            func.max(pnl).label("best"),
            func.min(pnl).label("worst"),
            func.sum(both.c.exit_timestamp - both.c.entry_timestamp).label("duration"),
        ).group_by(both.c.quote_currency)
        rows = (await self._session.execute(statement.order_by(both.c.quote_currency))).all()
        if len(rows) > 1:
            raise Ambiguous(
                "name a quote_currency",
                strategy_id=strategy_id,
                currencies=[row.quote_currency for row in rows],
            )
        if not rows:
            return StrategyPerformance(
                strategy_id, quote_currency, 0, 0, 0, None, ZERO, ZERO, None, None, None, None, None
            )
        (row,) = rows
        return StrategyPerformance(
            strategy_id=strategy_id,
            quote_currency=row.quote_currency,
            total_trades=row.trades,
            winning_trades=row.wins,
            losing_trades=row.losses,
            win_rate=ratio_rounded(Decimal(row.wins), Decimal(row.trades)),
            total_pnl=row.total,
            total_commission=row.commission,
            average_pnl=average_price_rounded(row.total, Decimal(row.trades)),
            pnl_stddev=row.deviation,
            best_trade=row.best,
            worst_trade=row.worst,
            average_duration=row.duration / row.trades,
        )
