"""Peaks, drawdowns and snapshots of an account and its strategies."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    CashFlowKind,
    OrderStatus,
    PortfolioState,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import InvalidReference, InvalidValue
from gal_friday.money import amount_rounded, exact
from tests.concurrency import at_once
from tests.factories import (
    EXCHANGE,
    MINUTE,
    NOON,
    PAIR,
    a_cash_flow,
    a_position,
    a_snapshot,
    a_strategy,
    an_order,
)
from tests.portfolios import BOT_B, CAPITAL, an_account, bot_b, figures, gain, portfolio, realise


async def test_the_peak_only_rises_however_many_update_it_at_once(database: Database) -> None:
    await database.positions.add(a_position())

    async def work(number: int) -> None:
        async with database.transaction() as uow:
            await portfolio.mark(uow, {PAIR: Decimal(50_000 + number)}, at=NOON + MINUTE)
            await portfolio.update_peaks(uow)

    await at_once(work, 32)
    state = await database.portfolio_states.one((DEFAULT_ACCOUNT_ID, "USD"))
    assert state.peak_equity == CAPITAL + 2 * 31

    async def raise_it(number: int) -> None:
        await database.portfolio_states.raise_peaks({"USD": CAPITAL + (number * 7) % 32 * 10})

    await at_once(raise_it, 32)
    state = await database.portfolio_states.one((DEFAULT_ACCOUNT_ID, "USD"))
    assert state.peak_equity == CAPITAL + 310


async def test_a_peak_that_stands_is_not_written_again(uow: UnitOfWork) -> None:
    version = select(PortfolioState.row_version).where(PortfolioState.account_id == DEFAULT_ACCOUNT_ID)
    before = (await uow.session.scalars(version)).one()
    equity = await portfolio.update_peaks(uow)
    assert equity.total == CAPITAL
    assert (await uow.session.scalars(version)).one() == before


async def test_a_currency_without_a_peak_gets_one(uow: UnitOfWork) -> None:
    await an_account(uow)
    await gain(uow, 5, "EUR")
    await bot_b.update_peaks(uow)
    states = await uow.portfolio_states.of_account(BOT_B)
    assert {state.currency: state.peak_equity for state in states} == {"EUR": 5, "USD": 1_000}


FRIDAY = NOON  # 2026-11-20; the ISO week began on Monday the 16th
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)


async def _snapshots(uow: UnitOfWork, *steps: tuple[datetime, int]) -> list[Any]:
    """A snapshot after each gain."""
    taken = []
    for at, amount in steps:
        if amount:
            await gain(uow, amount)
        taken.append(await bot_b.snapshot(uow, at=at))
    return taken


async def test_drawdowns_count_from_the_peaks_of_day_week_and_all_time(uow: UnitOfWork) -> None:
    await uow.accounts.open_account(
        BOT_B, initial_capital=Decimal(1_000), opened_at=MIDNIGHT - timedelta(days=30)
    )
    taken = await _snapshots(
        uow,
        (MIDNIGHT - timedelta(days=10, hours=-1), 1_000),  # 2,000: the highest
        (MIDNIGHT - timedelta(days=5, hours=-1), -400),  # 1,600 on Sunday: the week begins with it
        (MIDNIGHT - timedelta(days=2, hours=-1), 200),  # 1,800: the week's peak
        (MIDNIGHT - timedelta(hours=1), -800),  # 1,000: the day begins with it
        (MIDNIGHT + timedelta(hours=2), 250),  # 1,250: the day's peak
        (MIDNIGHT + timedelta(hours=3), -350),  # 900
    )
    drawdowns = [
        (each.daily_drawdown_pct, each.weekly_drawdown_pct, each.total_drawdown_pct) for each in taken
    ]
    assert drawdowns == [
        (0, 0, 0),
        (20, 20, 20),
        (0, 0, 10),
        (Decimal("44.44444444"), Decimal("44.44444444"), 50),
        (0, Decimal("30.55555556"), Decimal("37.5")),
        (28, 50, 55),
    ]
    assert [(each.daily_pnl, each.daily_pnl_pct) for each in taken] == [
        (None, None),
        (-400, -20),
        (200, Decimal("12.5")),
        (-800, Decimal("-44.44444444")),
        (250, 25),
        (-100, -10),
    ]


async def test_money_put_in_or_taken_out_is_neither_profit_nor_drawdown(uow: UnitOfWork) -> None:
    await an_account(uow, Decimal(1_000))
    await _snapshots(uow, (FRIDAY, 0), (FRIDAY + MINUTE, 100))
    await uow.cash_flows.add(
        a_cash_flow(account_id=BOT_B, kind=CashFlowKind.WITHDRAWAL, amount=Decimal(-600))
    )
    after = await bot_b.snapshot(uow, at=FRIDAY + 2 * MINUTE)
    assert figures(after.total_equity, after.realized_pnl) == (500, 100)
    assert figures(after.daily_drawdown_pct, after.weekly_drawdown_pct, after.total_drawdown_pct) == (0, 0, 0)
    assert after.daily_pnl == 100

    await uow.cash_flows.add(a_cash_flow(account_id=BOT_B, amount=Decimal(1_500)))
    (later,) = await _snapshots(uow, (FRIDAY + 3 * MINUTE, -500))
    assert (later.total_equity, later.daily_pnl, later.total_drawdown_pct) == (1_500, -400, 25)
    now = await bot_b.drawdowns(uow, at=FRIDAY + 4 * MINUTE)
    assert figures(now.daily_pnl, now.total_peak, now.daily_drawdown_pct) == (-400, 2_000, 25)


async def test_what_a_day_began_with_is_moved_by_capital_too(uow: UnitOfWork) -> None:
    await an_account(uow)
    await uow.portfolio_states.raise_peaks({"USD": Decimal(1_000)}, account_id=BOT_B)
    await _snapshots(uow, (FRIDAY, 1_000))
    await uow.cash_flows.add(
        a_cash_flow(account_id=BOT_B, kind=CashFlowKind.TRANSFER, amount=Decimal(-1_500))
    )
    (taken,) = await _snapshots(uow, (FRIDAY + timedelta(days=1), -100))
    assert figures(taken.total_equity, taken.daily_pnl, taken.daily_pnl_pct) == (400, -100, -20)
    assert figures(taken.daily_drawdown_pct, taken.weekly_drawdown_pct) == (20, 20)
    assert taken.total_drawdown_pct == 20


async def test_a_strategys_snapshot_leaves_the_accounts_peak_alone(uow: UnitOfWork) -> None:
    await an_account(uow)
    winner, loser = await uow.strategies.add_many([a_strategy(), a_strategy()])
    for strategy, result in ((winner, 500), (loser, -600)):
        await uow.positions.add(
            a_position(
                strategy,
                account_id=BOT_B,
                quantity=Decimal(0),
                cost=Decimal(0),
                closed_at=NOON,
                realized_pnl=Decimal(result),
            )
        )
    await realise(uow, Decimal(-100))
    taken = await bot_b.snapshot(uow, at=FRIDAY, strategy_id=winner.strategy_id)
    assert taken.total_equity == 1_500
    (state,) = await uow.portfolio_states.of_account(BOT_B)
    assert state.peak_equity == 1_000


async def test_an_account_opened_today_began_the_day_with_what_was_put_in(uow: UnitOfWork) -> None:
    await an_account(uow)
    (first,) = await _snapshots(uow, (FRIDAY + MINUTE, -100))
    assert (first.daily_pnl, first.daily_pnl_pct) == (-100, -10)
    assert (first.daily_drawdown_pct, first.weekly_drawdown_pct, first.total_drawdown_pct) == (10, 10, 10)


async def test_how_a_day_began_is_not_known_without_a_snapshot_of_before(uow: UnitOfWork) -> None:
    await uow.accounts.open_account(
        BOT_B, initial_capital=Decimal(1_000), opened_at=FRIDAY - timedelta(days=9)
    )
    first, second = await _snapshots(uow, (FRIDAY, -100), (FRIDAY + MINUTE, -90))
    assert (first.daily_pnl, first.daily_pnl_pct, first.daily_drawdown_pct) == (None, None, 0)
    assert first.total_drawdown_pct == 10
    assert (second.daily_pnl, second.daily_drawdown_pct, second.weekly_drawdown_pct) == (None, 10, 10)


async def test_a_snapshot_at_midnight_begins_the_day(uow: UnitOfWork) -> None:
    await an_account(uow)
    monday = MIDNIGHT + timedelta(days=3)
    _, first, second = await _snapshots(uow, (FRIDAY, 0), (monday, -500), (monday + MINUTE, 10))
    assert (first.daily_pnl, first.daily_drawdown_pct, first.weekly_drawdown_pct) == (0, 0, 0)
    assert first.total_drawdown_pct == 50
    assert (second.daily_pnl, second.daily_pnl_pct) == (10, 2)


async def test_snapshots_others_stored_count_as_points_of_the_curve(uow: UnitOfWork) -> None:
    await an_account(uow)
    await uow.snapshots.add(
        a_snapshot(
            account_id=BOT_B, total_equity=Decimal(4_000), snapshot_timestamp=MIDNIGHT + timedelta(hours=1)
        )
    )
    taken = await bot_b.snapshot(uow, at=FRIDAY)
    assert taken.total_drawdown_pct == 75


async def test_an_account_that_lost_more_than_it_had_has_no_proportions(uow: UnitOfWork) -> None:
    await an_account(uow)
    (taken,) = await _snapshots(uow, (FRIDAY, -1_500))
    assert (taken.total_equity, taken.leverage, taken.total_exposure_pct) == (-500, 0, 0)
    assert taken.total_drawdown_pct == 150


async def test_a_snapshot_fills_every_column(uow: UnitOfWork) -> None:
    await an_account(uow, Decimal(10_000))
    strategy = await uow.strategies.add(a_strategy())
    await gain(uow, 100, "EUR")
    held = a_position(
        strategy,
        account_id=BOT_B,
        quantity=Decimal("0.5"),
        cost=Decimal(5_000),
        entry_price=Decimal(10_000),
    )
    await uow.positions.add_many(
        [held, a_position(account_id=BOT_B, trading_pair="XRP/USD", quantity=Decimal(1), cost=Decimal(10))]
    )
    await uow.orders.add_many(
        [
            an_order(strategy, account_id=BOT_B),
            an_order(
                strategy,
                account_id=BOT_B,
                origin="EXTERNAL",
                status=OrderStatus.CANCELED,
                trading_pair="XRP/USD",
            ),
        ]
    )
    await bot_b.mark(uow, {PAIR: Decimal(12_000)}, at=FRIDAY)

    taken = await bot_b.snapshot(uow, at=FRIDAY, rates={"EUR": Decimal("1.1")}, extra={"note": "x"})

    assert (taken.account_id, taken.strategy_id, taken.currency) == (BOT_B, None, "USD")
    assert taken.rates == {"EUR": "1.1"}
    assert taken.total_equity == 10_000 + 110 + 1_000
    assert figures(taken.unrealized_pnl, taken.realized_pnl) == (1_000, 110)
    assert taken.available_balance == 10_000 + 110 - 5_010
    assert taken.total_exposure == 6_000 + 10
    assert taken.leverage == Decimal("0.54095410")
    assert taken.total_exposure_pct == Decimal("54.09540954")
    assert figures(taken.daily_pnl, taken.open_orders_count) == (1_110, 1)
    assert taken.extra["note"] == "x"
    assert taken.positions[0] == {
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "strategy_id": strategy.strategy_id,
        "side": "LONG",
        "quantity": "0.5",
        "entry_price": "10000",
        "current_price": "12000",
        "currency": "USD",
        "value": "6000",
        "unrealized_pnl": "1000",
    }
    assert (taken.positions[1]["current_price"], taken.positions[1]["value"]) == (None, "10")
    states = await uow.portfolio_states.of_account(BOT_B)
    assert {state.currency: state.peak_equity for state in states} == {"EUR": 100, "USD": 11_000}

    of_strategy = await bot_b.snapshot(uow, at=FRIDAY, strategy_id=strategy.strategy_id)
    assert (of_strategy.strategy_id, of_strategy.rates) == (strategy.strategy_id, {})
    assert figures(of_strategy.total_equity, of_strategy.available_balance) == (11_000, 5_000)
    assert (len(of_strategy.positions), of_strategy.open_orders_count) == (1, 1)


async def test_there_is_one_snapshot_for_an_instant(uow: UnitOfWork) -> None:
    first = await portfolio.snapshot(uow, at=NOON)
    await uow.positions.add(a_position())
    assert await portfolio.snapshot(uow, at=NOON) is first
    assert await uow.snapshots.count() == 1
    now = await portfolio.snapshot(uow)
    assert now.snapshot_timestamp.tzinfo is UTC
    with pytest.raises(InvalidValue):
        await portfolio.snapshot(uow, at=NOON.replace(tzinfo=None))
    with pytest.raises(InvalidReference):
        async with uow.savepoint():
            await portfolio.snapshot(uow, at=NOON, strategy_id="unheard of")


async def test_snapshots_of_one_instant_by_many_at_once_are_one(database: Database) -> None:
    async def work(_: int) -> Any:
        async with database.transaction() as uow:
            return (await portfolio.snapshot(uow, at=NOON)).id

    assert len(set(await at_once(work, 16))) == 1
    assert await database.snapshots.count() == 1


async def test_a_snapshot_is_exact_to_the_last_decimal(uow: UnitOfWork) -> None:
    await an_account(uow)
    tiny = Decimal("0.000000000000000001")
    await realise(uow, Decimal("1E-36"))
    await uow.positions.add(a_position(account_id=BOT_B, quantity=tiny, cost=Decimal(0)))
    await bot_b.mark(uow, {PAIR: Decimal("1.5")}, at=FRIDAY)
    taken = await bot_b.snapshot(uow, at=FRIDAY)
    with exact():
        assert taken.total_equity == amount_rounded(Decimal(1_000) + Decimal("1E-36") + 2 * tiny)
