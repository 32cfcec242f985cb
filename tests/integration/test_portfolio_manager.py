"""Marks of positions, and what an account is worth by them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, select, update

from gal_friday.dal.models import (
    Account,
    CashFlowKind,
    InstrumentKind,
    Position,
    PositionMark,
    PositionSide,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import InvalidValue, MissingRate, NotFound
from gal_friday.money import exact
from gal_friday.services import PortfolioManager, PortfolioStateManager
from tests.concurrency import at_once
from tests.factories import (
    MINUTE,
    NOON,
    PAIR,
    a_cash_flow,
    a_position,
    a_strategy,
    an_instrument,
)
from tests.portfolios import BOT_B, CAPITAL, an_account, bot_b, figures, gain, portfolio, realise


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


async def test_stale_marks_of_closed_positions_are_left_alone(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position())
    await portfolio.mark(uow, {PAIR: Decimal(51_000)}, at=NOON)
    await uow.positions.close_position(position.id)
    assert await portfolio.mark(uow, {PAIR: Decimal(52_000)}, at=NOON + MINUTE) == []
    await uow.session.execute(update(PositionMark).values(unrealized_pnl=Decimal(99)))
    assert (await portfolio.equity(uow)).total == CAPITAL


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
    await realise(uow, Decimal(30 - 4 - 2 - 7 - 1))

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


def test_both_names_are_one_class() -> None:
    assert PortfolioStateManager is PortfolioManager
