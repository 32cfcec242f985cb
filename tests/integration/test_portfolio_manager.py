"""What an account is worth, its peaks, snapshots, and whether the exchange agrees."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, select, update

from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    Account,
    CashFlowKind,
    InstrumentKind,
    OrderStatus,
    PortfolioState,
    Position,
    PositionMark,
    PositionSide,
    Side,
    Strategy,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import InvalidReference, InvalidValue, MissingRate, NotFound
from gal_friday.money import amount_rounded, exact
from gal_friday.services import PortfolioManager, PortfolioStateManager
from tests.concurrency import at_once
from tests.factories import (
    EXCHANGE,
    MINUTE,
    NOON,
    PAIR,
    a_cash_flow,
    a_fill,
    a_position,
    a_snapshot,
    a_strategy,
    an_instrument,
    an_order,
)

CAPITAL = Decimal(5_000_000)
BOT_B = "bot-b"
portfolio = PortfolioManager()
bot_b = PortfolioManager(BOT_B)


def figures(*values: object) -> Any:
    """To be compared with numbers of any type."""
    return values


async def an_account(uow: UnitOfWork, capital: Decimal = Decimal(1_000), **options: Any) -> None:
    await uow.accounts.open_account(BOT_B, initial_capital=capital, opened_at=NOON, **options)


async def gain(uow: UnitOfWork, amount: Decimal | int, currency: str = "USD") -> None:
    """Interest: equity moves, and nobody put anything in."""
    await uow.cash_flows.add(
        a_cash_flow(account_id=BOT_B, amount=Decimal(amount), currency=currency, kind=CashFlowKind.INTEREST)
    )


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent meanwhile, BEGIN and COMMIT aside."""
    sent: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engine = database.pool.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


# --- marks ----------------------------------------------------------------------------------------------


async def test_a_thousand_positions_are_marked_in_one_statement(database: Database) -> None:
    positions = [a_position(trading_pair=f"COIN{number}/USD") for number in range(1_000)]
    await database.positions.add_many(positions)
    prices = {position.trading_pair: Decimal(50_000 + n) for n, position in enumerate(positions)}

    async with database.transaction() as uow:
        with statements(database) as sent:
            marked = await portfolio.mark(uow, prices, at=NOON)

    assert len(sent) == 1
    assert len(marked) == 1_000
    marks = {mark.position_id: mark for mark in await database.position_marks.find_all()}
    for number, position in enumerate(positions):
        assert marks[position.id].current_price == 50_000 + number
        assert marks[position.id].unrealized_pnl == 2 * number


async def test_marks_know_sides_multipliers_and_exchanges(uow: UnitOfWork) -> None:
    await uow.instruments.add_many(
        [
            an_instrument(
                trading_pair="NIFTY/INR",
                base_currency="NIFTY",
                quote_currency="INR",
                kind=InstrumentKind.FUTURE,
                contract_multiplier=Decimal(75),
            ),
            an_instrument(contract_multiplier=Decimal(10), exchange="deribit", kind=InstrumentKind.PERPETUAL),
        ]
    )
    long, short, future, deribit, closed = (
        a_position(),
        a_position(trading_pair="XRP/USD", side=PositionSide.SHORT),
        a_position(trading_pair="NIFTY/INR", quote_currency="INR", side=PositionSide.SHORT),
        a_position(exchange="deribit"),
        a_position(trading_pair="ETH/USD", quantity=Decimal(0), cost=Decimal(0), closed_at=NOON),
    )
    await uow.accounts.add(Account(account_id=BOT_B))
    theirs = a_position(account_id=BOT_B)
    await uow.positions.add_many([long, short, future, deribit, closed, theirs])

    prices: dict[str | tuple[str, str], Decimal] = {
        PAIR: Decimal(51_000),
        ("deribit", PAIR): Decimal(50_001),
        ("okx", PAIR): Decimal(1),
        "XRP/USD": Decimal(51_000),
        "NIFTY/INR": Decimal(50_002),
        "ETH/USD": Decimal(1),
        "DOGE/USD": Decimal(1),
    }
    marked = await portfolio.mark(uow, prices, at=NOON)

    assert {mark.position_id: mark.unrealized_pnl for mark in marked} == {
        long.id: 2_000,
        short.id: -2_000,
        future.id: -2 * 2 * 75,
        deribit.id: 2 * 10,
    }
    by_id = await uow.position_marks.mark_many({future.id: Decimal(49_999)}, marked_at=NOON + MINUTE)
    assert [mark.unrealized_pnl for mark in by_id] == [2 * 75]


async def test_an_older_price_never_overwrites_a_newer_one(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position())
    await portfolio.mark(uow, {PAIR: Decimal(51_000)}, at=NOON)
    assert await portfolio.mark(uow, {PAIR: Decimal(1)}, at=NOON - MINUTE) == []
    assert (await uow.position_marks.one(position.id)).current_price == 51_000
    (again,) = await portfolio.mark(uow, {PAIR: Decimal(52_000)}, at=NOON)
    assert again.current_price == 52_000
    (now,) = await portfolio.mark(uow, {PAIR: Decimal(53_000)}, at=None)
    assert now.marked_at > NOON - timedelta(days=3650)
    assert await portfolio.mark(uow, {}) == []


@pytest.mark.parametrize("price", [Decimal("NaN"), 1.5, Decimal("1E-19")])
async def test_a_price_that_is_no_money_is_refused(uow: UnitOfWork, price: Any) -> None:
    await uow.positions.add(a_position())
    with pytest.raises(InvalidValue):
        await portfolio.mark(uow, {PAIR: price}, at=NOON)


async def test_marks_beside_others_that_change_the_positions_do_not_deadlock(database: Database) -> None:
    """Writers lock a position and then the equity, as an applied fill does; markers come in between."""
    positions = [a_position(trading_pair=f"COIN{number}/USD") for number in range(40)]
    await database.positions.add_many(positions)
    prices = {position.trading_pair: Decimal(50_001) for position in positions}
    chance = random.Random(20261121)
    touched = [chance.choice(positions).id for _ in range(64)]

    async def work(number: int) -> None:
        async with database.transaction() as uow:
            if number % 2:
                shuffled = dict(random.Random(number).sample(list(prices.items()), len(prices)))
                await portfolio.mark(uow, shuffled, at=NOON + number * MINUTE)
                await portfolio.update_peaks(uow)
            else:
                held = select(Position).where(Position.id == touched[number]).with_for_update()
                position = (await uow.session.scalars(held)).one()
                with exact():
                    position.quantity += 1
                    position.cost += 50_000
                state = await uow.portfolio_states.get_for_update("USD")
                with exact():
                    state.closed_equity -= 1

    await at_once(work, 64)

    assert await database.position_marks.count() == 40
    equity = (await _equity_of(database)).by_currency["USD"]
    assert equity.closed_equity == CAPITAL - 32
    assert equity.unrealized_pnl == 2 * 40 + 32


async def _equity_of(database: Database) -> Any:
    async with database.transaction() as uow:
        return await portfolio.equity(uow)


# --- equity ---------------------------------------------------------------------------------------------


async def test_equity_is_closed_equity_and_what_open_positions_would_bring(uow: UnitOfWork) -> None:
    await uow.positions.add_many(
        [
            a_position(),
            a_position(trading_pair="XRP/USD", side=PositionSide.SHORT),
            a_position(trading_pair="ETH/USD"),
        ]
    )
    await portfolio.mark(uow, {PAIR: Decimal(51_000), "XRP/USD": Decimal("50_000.5")}, at=NOON)

    equity = await portfolio.equity(uow)

    dollars = equity.by_currency["USD"]
    assert figures(dollars.closed_equity, dollars.unrealized_pnl) == (CAPITAL, 1_999)
    assert dollars.equity == equity.total == CAPITAL + 1_999
    assert dollars.exposure == 102_000 + 100_001 + 100_000
    assert figures(dollars.bound, dollars.available) == (300_000, CAPITAL - 300_000)
    assert dollars.unmarked_positions == 1
    assert figures(dollars.capital, dollars.realized_pnl) == (CAPITAL, 0)
    assert (equity.currency, equity.rates) == ("USD", {})


async def test_equity_follows_a_position_that_changed_after_its_mark(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position())
    await portfolio.mark(uow, {PAIR: Decimal(51_000)}, at=NOON)
    position.quantity, position.cost = Decimal(1), Decimal(50_000)
    await uow.positions.update(position)
    assert (await portfolio.equity(uow)).by_currency["USD"].unrealized_pnl == 1_000
    await uow.positions.close_position(position.id)
    assert (await portfolio.equity(uow)).by_currency["USD"].unrealized_pnl == 0


async def test_an_account_that_holds_nothing_is_worth_its_capital(uow: UnitOfWork) -> None:
    await uow.accounts.add(Account(account_id=BOT_B))
    nothing = await bot_b.equity(uow)
    assert figures(nothing.by_currency, nothing.total) == ({}, 0)
    empty = await bot_b.snapshot(uow, at=NOON)
    assert figures(empty.total_equity, empty.leverage, empty.total_drawdown_pct, empty.positions) == (
        0,
        0,
        0,
        [],
    )
    assert empty.daily_pnl is None
    with pytest.raises(NotFound):
        await PortfolioManager("nobody").equity(uow)


async def test_currencies_are_one_sum_only_by_the_rates_given(uow: UnitOfWork) -> None:
    await an_account(uow)
    await gain(uow, 200, "EUR")
    await gain(uow, 0, "JPY")
    await uow.positions.add(
        a_position(account_id=BOT_B, trading_pair="BTC/GBP", quote_currency="GBP", quantity=Decimal(1))
    )
    await bot_b.mark(uow, {"BTC/GBP": Decimal(100_010)}, at=NOON)

    apart = await bot_b.equity(uow)
    assert apart.total is None
    assert {name: each.equity for name, each in apart.by_currency.items()} == {
        "USD": 1_000,
        "EUR": 200,
        "GBP": 10,
        "JPY": 0,
    }
    with pytest.raises(MissingRate) as caught:
        await bot_b.equity(uow, rates={"EUR": Decimal("1.1")})
    assert caught.value.facts == {"currency": "GBP", "into": "USD"}
    for ask in (bot_b.snapshot, bot_b.drawdowns):
        with pytest.raises(MissingRate):
            await ask(uow, at=NOON)

    rates = {"EUR": Decimal("1.1"), "GBP": Decimal("1.3"), "CHF": Decimal(2)}
    whole = await bot_b.equity(uow, rates=rates)
    assert whole.total == Decimal(1_000) + 220 + 13
    assert whole.rates == {"EUR": Decimal("1.1"), "GBP": Decimal("1.3")}
    in_euros = await bot_b.equity(uow, currency="EUR", rates={"USD": Decimal("0.9"), "GBP": Decimal("1.2")})
    assert figures(in_euros.currency, in_euros.total) == ("EUR", 900 + 200 + 12)


@pytest.mark.parametrize("rate", [Decimal(0), Decimal(-1), Decimal("NaN"), 1.1])
async def test_a_rate_that_is_none_is_refused(uow: UnitOfWork, rate: Any) -> None:
    with pytest.raises(InvalidValue):
        await portfolio.equity(uow, rates={"EUR": rate})


async def test_a_strategys_equity_is_as_if_the_account_traded_it_alone(uow: UnitOfWork) -> None:
    await an_account(uow)
    one, other = await uow.strategies.add_many([a_strategy(), a_strategy()])
    open_one = a_position(one, account_id=BOT_B, realized_pnl=Decimal(30), total_commission=Decimal(2))
    closed = a_position(
        other,
        account_id=BOT_B,
        quantity=Decimal(0),
        cost=Decimal(0),
        closed_at=NOON,
        realized_pnl=Decimal(-7),
        total_commission=Decimal(1),
    )
    await uow.positions.add_many([open_one, closed])
    await bot_b.mark(uow, {PAIR: Decimal(50_001)}, at=NOON)
    await uow.cash_flows.add_many(
        [
            a_cash_flow(
                account_id=BOT_B,
                kind=CashFlowKind.FUNDING,
                amount=Decimal(-3),
                position_id=open_one.id,
            ),
            a_cash_flow(
                account_id=BOT_B,
                kind=CashFlowKind.ADJUSTMENT,
                amount=Decimal(4),  # of the 30 its position realised
                position_id=open_one.id,
                applied_seq=1,
                reason="venue order",
            ),
            a_cash_flow(account_id=BOT_B, kind=CashFlowKind.INTEREST, amount=Decimal(5)),
        ]
    )
    await _realise(uow, Decimal(30 - 4 - 2 - 7 - 1))

    first = await bot_b.equity(uow, strategy_id=one.strategy_id)
    second = await bot_b.equity(uow, strategy_id=other.strategy_id)
    whole = await bot_b.equity(uow)

    assert first.total == 1_000 + 30 - 2 - 3 + 2
    assert second.total == 1_000 - 7 - 1
    assert figures(first.by_currency["USD"].unrealized_pnl, second.by_currency["USD"].unrealized_pnl) == (
        2,
        0,
    )
    assert whole.total is not None
    with exact():
        assert whole.total - 1_000 == (first.total - 1_000) + (second.total - 1_000) + 5


async def _realise(uow: UnitOfWork, amount: Decimal) -> None:
    state = await uow.portfolio_states.get_for_update("USD", account_id=BOT_B)
    with exact():
        state.closed_equity += amount
    await uow.portfolio_states.update(state)


# --- peaks and drawdowns --------------------------------------------------------------------------------


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
    await _realise(uow, Decimal(-100))
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


# --- snapshots ------------------------------------------------------------------------------------------


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


# --- balances -------------------------------------------------------------------------------------------


async def _filled(
    uow: UnitOfWork, strategy: Strategy, side: Side, quantity: str, price: str, **fill: Any
) -> None:
    pair = fill.pop("trading_pair", PAIR)
    order = await uow.orders.add(
        an_order(strategy, account_id=BOT_B, trading_pair=pair, side=side, quantity=Decimal(quantity))
    )
    values = {"commission": Decimal(0), "commission_asset": "USD", "account_id": BOT_B, **fill}
    await uow.fills.add(a_fill(order, quantity_filled=Decimal(quantity), fill_price=Decimal(price), **values))


async def test_balances_are_the_sum_over_strategies(uow: UnitOfWork) -> None:
    await an_account(uow)
    one, other = await uow.strategies.add_many([a_strategy(), a_strategy()])
    await uow.cash_flows.add(a_cash_flow(account_id=BOT_B, currency="BTC", amount=Decimal("0.5")))
    await _filled(uow, one, Side.BUY, "2", "100.5", commission=Decimal("0.25"))
    await _filled(uow, one, Side.SELL, "0.5", "110", commission=Decimal("0.001"), commission_asset="BNB")
    await _filled(uow, other, Side.BUY, "1", "100", commission=Decimal("0.01"), commission_asset="BTC")
    await _filled(uow, other, Side.BUY, "3", "10", trading_pair="XRP/USD", commission=Decimal("-0.1"))

    found = {
        each.currency: each
        for each in await bot_b.compare_balances(
            uow, {"USD": Decimal(724), "BTC": Decimal("2.99"), "XRP": Decimal(3), "DOGE": Decimal(1)}
        )
    }

    assert list(found) == ["BNB", "BTC", "DOGE", "USD", "XRP"]
    dollars = found["USD"]
    assert dollars.by_strategy == {
        None: 1_000,
        one.strategy_id: Decimal("-201.25") + 55,
        other.strategy_id: Decimal("-129.9"),
    }
    assert dollars.expected == Decimal("723.85")
    assert figures(dollars.actual, dollars.difference) == (724, Decimal("0.15"))
    assert found["BTC"].by_strategy == {
        None: Decimal("0.5"),
        one.strategy_id: Decimal("1.5"),
        other.strategy_id: Decimal("0.99"),
    }
    assert [found[name].difference for name in ("BTC", "XRP", "BNB", "DOGE")] == [
        0,
        0,
        Decimal("0.001"),
        1,
    ]


async def test_a_derivative_moves_only_what_it_realised(uow: UnitOfWork) -> None:
    await an_account(uow)
    strategy = await uow.strategies.add(a_strategy())
    perpetual = {"kind": InstrumentKind.PERPETUAL, "contract_multiplier": Decimal(10)}
    await uow.instruments.add_many(
        [
            an_instrument(trading_pair="BTC/USD:USD", settle_currency="USD", **perpetual),
            an_instrument(trading_pair="ETH/EUR:USD", settle_currency="USD", **perpetual),
        ]
    )
    position = await uow.positions.add(a_position(strategy, account_id=BOT_B, trading_pair="BTC/USD:USD"))
    spot = await uow.positions.add(a_position(strategy, account_id=BOT_B))
    adjustment = {"account_id": BOT_B, "kind": CashFlowKind.ADJUSTMENT, "reason": "venue order"}
    await uow.cash_flows.add_many(
        [
            a_cash_flow(
                account_id=BOT_B, kind=CashFlowKind.FUNDING, amount=Decimal(-2), position_id=position.id
            ),
            a_cash_flow(**adjustment, amount=Decimal(3), position_id=position.id, applied_seq=3),
            a_cash_flow(**adjustment, amount=Decimal(4), position_id=spot.id, applied_seq=3),
            a_cash_flow(**adjustment, amount=Decimal(5)),
        ]
    )
    multiplied = {"contract_multiplier": Decimal(10)}
    await _filled(uow, strategy, Side.BUY, "1", "100", trading_pair="BTC/USD:USD", **multiplied)
    await _filled(
        uow,
        strategy,
        Side.SELL,
        "1",
        "107",
        trading_pair="BTC/USD:USD",
        realized_pnl=Decimal(70),
        commission=Decimal(1),
        **multiplied,
    )
    await _filled(
        uow,
        strategy,
        Side.SELL,
        "1",
        "7",
        trading_pair="ETH/EUR:USD",
        realized_pnl=Decimal(9),
        quote_currency="EUR",
        **multiplied,
    )

    (dollars,) = await bot_b.compare_balances(uow, {})

    assert figures(dollars.currency, dollars.expected) == ("USD", 1_000 + 5 - 2 + 3 + 70 - 1)
    assert dollars.by_strategy == {None: 1_005, strategy.strategy_id: 70}


async def test_nothing_is_told_of_other_accounts(uow: UnitOfWork) -> None:
    await an_account(uow)
    await gain(uow, 5)
    (dollars,) = await portfolio.compare_balances(uow, {"USD": CAPITAL})
    assert dollars.difference == 0


def test_both_names_are_one_class() -> None:
    assert PortfolioStateManager is PortfolioManager


async def test_a_snapshot_is_exact_to_the_last_decimal(uow: UnitOfWork) -> None:
    await an_account(uow)
    tiny = Decimal("0.000000000000000001")
    await _realise(uow, Decimal("1E-36"))
    await uow.positions.add(a_position(account_id=BOT_B, quantity=tiny, cost=Decimal(0)))
    await bot_b.mark(uow, {PAIR: Decimal("1.5")}, at=FRIDAY)
    taken = await bot_b.snapshot(uow, at=FRIDAY)
    with exact():
        assert taken.total_equity == amount_rounded(Decimal(1_000) + Decimal("1E-36") + 2 * tiny)


async def test_stale_marks_of_closed_positions_are_left_alone(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position())
    await portfolio.mark(uow, {PAIR: Decimal(51_000)}, at=NOON)
    await uow.positions.close_position(position.id)
    assert await portfolio.mark(uow, {PAIR: Decimal(52_000)}, at=NOON + MINUTE) == []
    await uow.session.execute(update(PositionMark).values(unrealized_pnl=Decimal(99)))
    assert (await portfolio.equity(uow)).total == CAPITAL
