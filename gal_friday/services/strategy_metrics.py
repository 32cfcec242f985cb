"""Daily performance of strategies, computed from their closed trades, archived ones too."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from sqlalchemy import Subquery, func, select, union_all

from gal_friday.dal.base import UpsertCounts
from gal_friday.dal.criteria import given
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    ArchivedTrade,
    Strategy,
    StrategyMetric,
    Trade,
    TradeStatus,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import Ambiguous, InvalidValue
from gal_friday.money import ZERO, exact
from gal_friday.services.metric_columns import ClosedTrade, columns_of_day, columns_of_window
from gal_friday.services.performance import drawdown
from gal_friday.services.rates import Rates

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A pair whose daily candles (timeframe 1d, final ones) stand for the market."""

    exchange: str
    trading_pair: str


@dataclass(frozen=True, slots=True)
class Basis:
    """What the figures of a strategy are computed on.

    *capital* is what the strategy began with, in the trades' quote currency; by default what the account was
    opened with in it. *currency* is needed where trades are quoted in several. *window_days* bounds how far
    the figures of risk look back. *risk_free_rate* is a yearly proportion. Without a *benchmark* there is no
    correlation, beta or alpha.
    """

    capital: Decimal | None = None
    currency: str | None = None
    benchmark: Benchmark | None = None
    risk_free_rate: Decimal = ZERO
    window_days: int = 365


class StrategyMetrics:
    """Computes strategy_metrics from one account's trades, and the totals kept with strategies.

    A row's counts, amounts and durations are of the trades closed on its UTC day. Its figures of risk, which
    are drawdown, ratios, value at risk and benchmark, are of the window that ends with that day: from the
    first day a trade was closed, at most `Basis.window_days` long, days without trades included. The formulas
    are those of `gal_friday.services.performance`. A figure that cannot be told is None.
    """

    def __init__(self, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        self.account_id = account_id

    async def compute(
        self,
        uow: UnitOfWork,
        strategy_id: str,
        first: date,
        last: date | None = None,
        *,
        basis: Basis | None = None,
    ) -> Sequence[StrategyMetric]:
        """The metrics of each day from *first* to *last* (default: *first*), both included; stores nothing.

        Raises NotFound for an unknown strategy, Ambiguous for trades in several currencies where the basis
        names none, InvalidValue for a capital or window that is not above zero.
        """
        basis, last = basis or Basis(), last or first
        if basis.window_days < 1:
            raise InvalidValue("a window has at least one day", window_days=basis.window_days)
        await uow.strategies.one(strategy_id)
        end = _begin_of(last) + _DAY
        start = _begin_of(first) - (basis.window_days - 1) * _DAY
        both = self._closed_trades(strategy_id, end, basis.currency)
        currency, first_closed, pnl_before = await self._summary(uow, both, start, basis.currency)
        capital = await self._capital(uow, basis, currency)
        statement = (
            select(both.c.exit_timestamp, both.c.entry_timestamp, both.c.realized_pnl)
            .where(both.c.exit_timestamp >= start)
            .order_by(both.c.exit_timestamp, both.c.id)
        )
        by_day: dict[date, list[ClosedTrade]] = defaultdict(list)
        for closed_at, entered_at, pnl in await uow.session.execute(statement):
            by_day[closed_at.date()].append(ClosedTrade(closed_at, closed_at - entered_at, pnl))
        market = await _market_returns(uow, basis.benchmark, start, end)

        metrics = []
        with exact():
            equity = capital + pnl_before
        window: list[date] = []
        for day in _days(start.date(), last):
            if first_closed is not None and day >= first_closed.date():
                window.append(day)
            if len(window) > basis.window_days:
                with exact():
                    equity += sum((trade.pnl for trade in by_day[window.pop(0)]), ZERO)
            if day >= first:
                figures = {
                    **columns_of_day(by_day[day]),
                    **columns_of_window(
                        {each: by_day[each] for each in window}, equity, market, basis.risk_free_rate
                    ),
                }
                metrics.append(
                    StrategyMetric(strategy_id=strategy_id, date=day, currency=currency, **figures)
                )
        return metrics

    async def store(
        self,
        uow: UnitOfWork,
        strategy_id: str,
        first: date,
        last: date | None = None,
        *,
        basis: Basis | None = None,
    ) -> UpsertCounts:
        """Compute as `compute` does and store; a row computed for a day before is brought up to date."""
        metrics = await self.compute(uow, strategy_id, first, last, basis=basis)
        return await uow.strategy_metrics.upsert_many(
            metrics, conflict=[StrategyMetric.strategy_id, StrategyMetric.date]
        )

    async def update_totals(
        self,
        uow: UnitOfWork,
        strategy_id: str,
        *,
        capital: Decimal | None = None,
        rates: Mapping[str, Decimal] | None = None,
    ) -> Strategy:
        """Set the strategy's total_trades, winning_trades, total_pnl and max_drawdown from all its trades.

        Amounts are in the account's reporting currency, as *capital* is (default: what the account was opened
        with). Raises NotFound, StaleWrite, InvalidValue for a capital that is not above zero, and MissingRate
        for trades in another currency without a rate.
        """
        account = await uow.accounts.one(self.account_id)
        currency = account.reporting_currency
        converted = Rates(currency, rates)
        capital = await self._capital(uow, Basis(capital=capital), currency)
        both = self._closed_trades(strategy_id, None, None)
        rows = await uow.session.execute(
            select(both.c.exit_timestamp, both.c.realized_pnl, both.c.quote_currency).order_by(
                both.c.exit_timestamp, both.c.id
            )
        )
        results = [
            (closed_at, pnl if quoted_in == currency else converted.total({quoted_in: pnl}))
            for closed_at, pnl, quoted_in in rows
        ]
        with exact():
            total = sum((pnl for _, pnl in results), ZERO)
        until = results[-1][0] if results else datetime.now(UTC)
        return await uow.strategies.update_performance_metrics(
            strategy_id,
            total_trades=len(results),
            winning_trades=sum(pnl > 0 for _, pnl in results),
            total_pnl=total,
            max_drawdown=drawdown(results, capital, until).proportion,
        )

    def _closed_trades(self, strategy_id: str, end: datetime | None, currency: str | None) -> Subquery:
        return union_all(
            *(
                select(
                    table.id,
                    table.exit_timestamp,
                    table.entry_timestamp,
                    table.realized_pnl,
                    table.quote_currency,
                ).where(
                    table.account_id == self.account_id,
                    table.strategy_id == strategy_id,
                    table.status == TradeStatus.CLOSED,
                    *([] if end is None else [table.exit_timestamp < end]),
                    *given((table.quote_currency, currency)),
                )
                for table in (Trade, ArchivedTrade)
            )
        ).subquery()

    async def _summary(
        self, uow: UnitOfWork, both: Subquery, start: datetime, currency: str | None
    ) -> tuple[str, datetime | None, Decimal]:
        """The trades' currency, when the first was closed, and what those before *start* brought."""
        statement = select(
            both.c.quote_currency,
            func.min(both.c.exit_timestamp),
            func.coalesce(func.sum(both.c.realized_pnl).filter(both.c.exit_timestamp < start), ZERO),
        ).group_by(both.c.quote_currency)
        rows = (await uow.session.execute(statement.order_by(both.c.quote_currency))).all()
        if len(rows) > 1:
            raise Ambiguous("name a currency in the basis", currencies=[row.quote_currency for row in rows])
        if not rows:
            reporting = (await uow.accounts.one(self.account_id)).reporting_currency
            return currency or reporting, None, ZERO
        return tuple(rows[0])

    async def _capital(self, uow: UnitOfWork, basis: Basis, currency: str) -> Decimal:
        capital = basis.capital
        if capital is None:
            state = await uow.portfolio_states.get((self.account_id, currency))
            capital = state.initial_capital if state else ZERO
        if capital <= 0:
            raise InvalidValue(
                "returns need a capital above zero; give one", capital=capital, currency=currency
            )
        return capital


async def _market_returns(
    uow: UnitOfWork, benchmark: Benchmark | None, start: datetime, end: datetime
) -> Mapping[date, float]:
    """Close over the close of the day before, less one, for each day that has both."""
    if benchmark is None:
        return {}
    candles = await uow.market_data.get_historical_data(
        benchmark.exchange, benchmark.trading_pair, "1d", start - _DAY, end
    )
    closes = {candle.timestamp: candle.close for candle in candles if candle.is_final and candle.close > 0}
    return {
        moment.date(): float(close) / float(closes[moment - _DAY]) - 1
        for moment, close in closes.items()
        if moment - _DAY in closes
    }


def _begin_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _days(first: date, last: date) -> Sequence[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
