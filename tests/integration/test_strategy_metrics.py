"""Metrics of strategies from their closed trades, and the totals kept with strategies."""

import math
import statistics
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import URL

from gal_friday.dal.models import (
    Account,
    CashFlowKind,
    Strategy,
    StrategyMetric,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import Ambiguous, InvalidValue, MissingRate, NotFound
from gal_friday.services import Basis, Benchmark, StrategyMetrics
from tests.archive import archive
from tests.concurrency import at_once
from tests.factories import (
    EXCHANGE,
    PAIR,
    a_candle,
    a_cash_flow,
    a_closed_trade,
    a_strategy,
    a_trade,
    an_archived_trade,
)
from tests.portfolios import BOT_B, figures
from tests.replays import opened

FIRST = date(2026, 11, 2)
DAY = timedelta(days=1)
CAPITAL = Decimal(1_000)
BASIS = Basis(capital=CAPITAL)
metrics = StrategyMetrics()

#: What each day brought, trade by trade.
RESULTS: list[list[str]] = [["10", "-5", "0"], [], ["-20"], ["30.5", "1.25"]]


def closing(day: int, hour: int = 12, *, minutes: int = 30) -> dict[str, Any]:
    closed_at = datetime(2026, 11, 2, hour, tzinfo=UTC) + day * DAY
    return {"entry_timestamp": closed_at - timedelta(minutes=minutes), "exit_timestamp": closed_at}


async def a_history(owner_uow: UnitOfWork, **overrides: Any) -> Strategy:
    """A strategy with RESULTS, the first day's archived already, and trades that do not count."""
    strategy = await owner_uow.strategies.add(a_strategy())
    for day, results in enumerate(RESULTS):
        for number, result in enumerate(results):
            values = {
                "realized_pnl": Decimal(result),
                **closing(day, 12 + number, minutes=30 + number),
                **overrides,
            }
            if day == 0:
                await archive(owner_uow, an_archived_trade(strategy, **values))
            else:
                await owner_uow.trades.add(a_closed_trade(strategy, **values))
    await owner_uow.trades.add_many(
        [
            a_trade(strategy),
            a_closed_trade(strategy, realized_pnl=Decimal(999), **closing(4, 0)),
            a_closed_trade(realized_pnl=Decimal(999), **closing(0)),
        ]
    )
    return strategy


async def test_a_row_has_the_figures_of_its_day_and_the_risk_of_the_days_up_to_it(
    owner_uow: UnitOfWork,
) -> None:
    strategy = await a_history(owner_uow)

    rows = await metrics.compute(owner_uow, strategy.strategy_id, FIRST, FIRST + 3 * DAY, basis=BASIS)

    assert [row.date for row in rows] == [FIRST + number * DAY for number in range(4)]
    first, second, third, fourth = rows
    assert (first.currency, first.total_trades, first.winning_trades, first.losing_trades) == ("USD", 3, 1, 1)
    assert (first.win_rate, first.profit_factor) == (Decimal("0.33333333"), Decimal(2))
    assert (first.avg_trade_duration_minutes, first.max_trade_duration_minutes) == (31, 32)
    assert (second.total_trades, second.win_rate, second.avg_win) == (0, None, None)
    assert figures(third.gross_loss, third.largest_loss, third.profit_factor) == (
        Decimal(-20),
        Decimal(-20),
        0,
    )
    assert (fourth.total_pnl, fourth.largest_win) == (Decimal("31.75"), Decimal("30.5"))
    assert fourth.profit_factor is None

    # 1000, 1010, 1005 | 1005 | 985 | 1015.5, 1016.75: 25 below the peak of 1010
    assert [row.max_drawdown for row in rows] == [
        Decimal("0.00495050"),
        Decimal("0.00495050"),
        Decimal("0.02475248"),
        Decimal("0.02475248"),
    ]
    # Below it from 13:00 of the first day; still so at the end of the second; over at 12:00 of the fourth.
    assert [row.max_drawdown_duration_minutes for row in rows] == [660, 2_100, 3_540, 4_260]
    returns = [5 / 1000, 0.0, -20 / 1005, 31.75 / 985]
    year = math.sqrt(365)
    assert first.sharpe_ratio is None
    assert fourth.sharpe_ratio is not None
    assert float(fourth.sharpe_ratio) == pytest.approx(
        year * statistics.mean(returns) / statistics.stdev(returns), abs=1e-8
    )
    downside = math.sqrt((20 / 1005) ** 2 / 4)
    assert fourth.sortino_ratio is not None
    assert float(fourth.sortino_ratio) == pytest.approx(year * statistics.mean(returns) / downside, abs=1e-8)
    assert fourth.calmar_ratio is not None
    assert float(fourth.calmar_ratio) == pytest.approx(365 * statistics.mean(returns) / 0.02475248, rel=1e-6)
    assert (fourth.var_95, fourth.beta) == (None, None)


async def test_a_window_bounds_how_far_back_risk_looks(owner_uow: UnitOfWork) -> None:
    strategy = await a_history(owner_uow)
    day = FIRST + 3 * DAY
    short = Basis(capital=CAPITAL, window_days=2)
    (row,) = await metrics.compute(owner_uow, strategy.strategy_id, day, basis=short)
    # The two days began with 1005, which then is the peak.
    assert row.max_drawdown == Decimal("0.01990050")
    returns = [-20 / 1005, 31.75 / 985]
    assert row.sharpe_ratio is not None
    assert float(row.sharpe_ratio) == pytest.approx(
        math.sqrt(365) * statistics.mean(returns) / statistics.stdev(returns), abs=1e-8
    )
    whole = await metrics.compute(owner_uow, strategy.strategy_id, FIRST, day, basis=short)
    assert [whole[-1].max_drawdown, whole[-1].sharpe_ratio] == [row.max_drawdown, row.sharpe_ratio]
    for window_days in (0, -1):
        with pytest.raises(InvalidValue):
            await metrics.compute(
                owner_uow, strategy.strategy_id, day, basis=Basis(capital=CAPITAL, window_days=window_days)
            )


async def test_value_at_risk_takes_twenty_days(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    await uow.trades.add_many(
        [a_closed_trade(strategy, realized_pnl=Decimal(day - 5), **closing(day)) for day in range(20)]
    )
    rows = await metrics.compute(uow, strategy.strategy_id, FIRST + 18 * DAY, FIRST + 19 * DAY, basis=BASIS)
    assert [(row.var_95, row.cvar_95) for row in rows] == [(None, None), (Decimal(4), Decimal(5))]


async def test_the_benchmark_is_the_market_by_its_daily_closes(owner_uow: UnitOfWork) -> None:
    strategy = await a_history(owner_uow)
    closes = [100, 101, 101, 99, 103]
    candles = [
        a_candle(
            timeframe="1d",
            timestamp=datetime(2026, 11, 1, tzinfo=UTC) + number * DAY,
            **dict.fromkeys(("open", "high", "low", "close"), Decimal(close)),
        )
        for number, close in enumerate(closes)
    ]
    live = a_candle(timeframe="1d", timestamp=datetime(2026, 11, 6, tzinfo=UTC), is_final=False)
    await owner_uow.market_data.store_candles([*candles, live])
    basis = Basis(capital=CAPITAL, benchmark=Benchmark(EXCHANGE, PAIR), risk_free_rate=Decimal("0.0365"))

    (row,) = await metrics.compute(owner_uow, strategy.strategy_id, FIRST + 3 * DAY, basis=basis)

    market = [b / a - 1 for a, b in pairwise(closes)]
    ours = [5 / 1000, 0.0, -20 / 1005, 31.75 / 985]
    line = statistics.linear_regression(market, ours)
    assert row.market_correlation is not None
    assert float(row.market_correlation) == pytest.approx(statistics.correlation(ours, market), abs=1e-8)
    assert row.beta is not None
    assert float(row.beta) == pytest.approx(line.slope, abs=1e-8)
    assert row.alpha is not None
    assert float(row.alpha) == pytest.approx(365 * (line.intercept - 0.0001 * (1 - line.slope)), abs=1e-8)
    (unknown,) = await metrics.compute(
        owner_uow,
        strategy.strategy_id,
        FIRST + 3 * DAY,
        basis=Basis(capital=CAPITAL, benchmark=Benchmark(EXCHANGE, "ETH/USD")),
    )
    assert (unknown.market_correlation, unknown.beta, unknown.alpha) == (None, None, None)


async def test_rows_are_stored_once_and_brought_up_to_date(owner_uow: UnitOfWork) -> None:
    strategy = await a_history(owner_uow)
    span = strategy.strategy_id, FIRST, FIRST + 3 * DAY

    counts = await metrics.store(owner_uow, *span, basis=BASIS)
    assert (counts.inserted, counts.updated, counts.unchanged) == (4, 0, 0)
    again = await metrics.store(owner_uow, *span, basis=BASIS)
    assert (again.inserted, again.updated, again.unchanged) == (0, 0, 4)

    await owner_uow.trades.add(a_closed_trade(strategy, realized_pnl=Decimal(1), **closing(3, 20)))
    late = await metrics.store(owner_uow, *span, basis=BASIS)
    assert (late.inserted, late.updated, late.unchanged) == (0, 1, 3)
    stored = await owner_uow.strategy_metrics.between(*span)
    assert [row.total_trades for row in stored] == [3, 0, 1, 3]

    # A figure that can no longer be told is taken away.
    shorter = await metrics.store(
        owner_uow, strategy.strategy_id, FIRST + 3 * DAY, basis=Basis(capital=CAPITAL, window_days=1)
    )
    assert shorter.updated == 1
    owner_uow.session.expunge_all()
    assert (await owner_uow.strategy_metrics.between(*span))[-1].sharpe_ratio is None


async def test_every_column_is_computed(owner_uow: UnitOfWork) -> None:
    strategy = await a_history(owner_uow)
    (row,) = await metrics.compute(owner_uow, strategy.strategy_id, FIRST, basis=BASIS)
    own = {"id", "created_at", "updated_at", "row_version"}
    assert set(StrategyMetric.__table__.columns.keys()) - own <= set(row.__dict__)


async def test_metrics_stored_by_many_at_once_are_one_row_a_day(database: Database, owner_url: URL) -> None:
    async with opened(owner_url) as owner, owner.transaction() as owner_uow:
        strategy = await a_history(owner_uow)

    async def store(_: int) -> None:
        async with database.transaction() as uow:
            await metrics.store(uow, strategy.strategy_id, FIRST, FIRST + 3 * DAY, basis=BASIS)

    await at_once(store, 8)
    assert await database.strategy_metrics.count() == 4


async def test_a_strategy_that_closed_nothing_has_empty_days(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    counts = await metrics.store(uow, strategy.strategy_id, FIRST)
    assert counts.inserted == 1
    (row,) = await uow.strategy_metrics.between(strategy.strategy_id, FIRST, FIRST)
    assert figures(row.currency, row.total_trades, row.max_drawdown) == ("USD", 0, 0)
    assert (row.max_drawdown_duration_minutes, row.sharpe_ratio) == (None, None)
    with pytest.raises(NotFound):
        await metrics.compute(uow, "unheard of", FIRST)


async def test_trades_in_several_currencies_have_no_common_figures(owner_uow: UnitOfWork) -> None:
    strategy = await a_history(owner_uow)
    await owner_uow.trades.add(
        a_closed_trade(strategy, quote_currency="EUR", realized_pnl=Decimal(7), **closing(0))
    )
    with pytest.raises(Ambiguous) as caught:
        await metrics.compute(owner_uow, strategy.strategy_id, FIRST, basis=BASIS)
    assert caught.value.facts["currencies"] == ["EUR", "USD"]
    (euros,) = await metrics.compute(
        owner_uow, strategy.strategy_id, FIRST, basis=Basis(currency="EUR", capital=CAPITAL)
    )
    assert (euros.currency, euros.total_pnl) == ("EUR", Decimal(7))
    with pytest.raises(InvalidValue, match="currency='EUR'"):
        await metrics.compute(owner_uow, strategy.strategy_id, FIRST, basis=Basis(currency="EUR"))


async def test_returns_are_on_what_the_account_was_opened_with_unless_told(owner_uow: UnitOfWork) -> None:
    await owner_uow.accounts.open_account(BOT_B, initial_capital=CAPITAL)
    strategy = await a_history(owner_uow, account_id=BOT_B)
    of_bot_b = StrategyMetrics(BOT_B)
    day = FIRST + 3 * DAY
    (by_default,) = await of_bot_b.compute(owner_uow, strategy.strategy_id, day)
    (told,) = await of_bot_b.compute(owner_uow, strategy.strategy_id, day, basis=BASIS)
    assert by_default.sharpe_ratio == told.sharpe_ratio
    (of_others,) = await metrics.compute(owner_uow, strategy.strategy_id, day)
    assert of_others.total_trades == 0


async def test_the_totals_of_a_strategy_are_those_of_all_its_trades(owner_uow: UnitOfWork) -> None:
    strategy = await a_history(owner_uow)

    await metrics.update_totals(owner_uow, strategy.strategy_id, capital=CAPITAL)

    assert (strategy.total_trades, strategy.winning_trades) == (7, 4)
    assert strategy.total_pnl == Decimal("16.75") + 999
    assert strategy.max_drawdown == Decimal("0.02475248")


async def test_totals_are_in_the_accounts_reporting_currency(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    await metrics.update_totals(uow, strategy.strategy_id)
    assert figures(strategy.total_trades, strategy.total_pnl, strategy.max_drawdown) == (0, 0, 0)
    await uow.trades.add(
        a_closed_trade(strategy, quote_currency="EUR", realized_pnl=Decimal(10), **closing(0))
    )
    with pytest.raises(MissingRate, match="currency='EUR', into='USD'"):
        await metrics.update_totals(uow, strategy.strategy_id)
    await metrics.update_totals(uow, strategy.strategy_id, rates={"EUR": Decimal("1.1")})
    assert strategy.total_pnl == 11
    with pytest.raises(NotFound):
        await metrics.update_totals(uow, "unheard of")


async def test_an_account_without_capital_needs_one_given(uow: UnitOfWork) -> None:
    await uow.accounts.add(Account(account_id=BOT_B))
    strategy = await uow.strategies.add(a_strategy())
    poor = StrategyMetrics(BOT_B)
    with pytest.raises(InvalidValue):
        await poor.compute(uow, strategy.strategy_id, FIRST)
    await uow.cash_flows.add(a_cash_flow(account_id=BOT_B, kind=CashFlowKind.DEPOSIT, amount=Decimal(5)))
    with pytest.raises(InvalidValue):
        await poor.update_totals(uow, strategy.strategy_id)
