"""Net positions with their marks, entries and pyramids, and the equity of an account."""

import random
from decimal import Decimal
from functools import partial

import pytest

from gal_friday.dal.criteria import ANY
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    Account,
    EntryStatus,
    PortfolioState,
    PositionSide,
    PyramidingState,
    RolloverStatus,
    new_id,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import Ambiguous, IllegalTransition, InvalidValue, NotFound, StaleWrite
from gal_friday.money import amount_rounded, exact
from tests.concurrency import at_once
from tests.factories import MINUTE, NOON, a_portfolio_position, a_position, a_strategy

BOT_B = "bot-b"


async def test_active_positions_come_newest_first_with_their_marks(uow: UnitOfWork) -> None:
    await uow.accounts.add(Account(account_id=BOT_B))
    strategy = await uow.strategies.add(a_strategy())
    older = a_position(strategy)
    newer = a_position(opened_at=NOON + MINUTE)
    closed = a_position(quantity=Decimal(0), cost=Decimal(0), closed_at=NOON)
    theirs = a_position(account_id=BOT_B)
    await uow.positions.add_many([older, newer, closed, theirs])
    await uow.positions.update_position_price(older.id, Decimal(51_000), marked_at=NOON)
    uow.session.expunge_all()

    active = await uow.positions.get_active_positions()

    assert [position.id for position in active] == [newer.id, older.id]
    assert active[0].mark is None
    assert active[1].mark is not None
    assert active[1].mark.unrealized_pnl == Decimal(2_000)
    assert [position.id for position in await uow.positions.get_active_positions(account_id=BOT_B)] == [
        theirs.id
    ]
    of_strategy = await uow.positions.get_active_positions(strategy_id=strategy.strategy_id)
    assert [position.id for position in of_strategy] == [older.id]


async def test_the_position_of_a_pair_is_ambiguous_where_several_hold_it(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    of_strategy, of_nobody = a_position(strategy), a_position()
    at_binance = a_position(strategy, exchange="binance")
    await uow.positions.add_many([of_strategy, of_nobody, at_binance])

    with pytest.raises(Ambiguous) as caught:
        await uow.positions.get_position_by_pair("BTC/USD")
    assert caught.value.facts["trading_pair"] == "BTC/USD"
    with pytest.raises(Ambiguous):
        await uow.positions.get_position_by_pair("BTC/USD", exchange="kraken")
    assert await uow.positions.get_position_by_pair("BTC/USD", exchange="binance") is at_binance
    at_kraken = partial(uow.positions.get_position_by_pair, "BTC/USD", exchange="kraken")
    assert await at_kraken(strategy_id=strategy.strategy_id) is of_strategy
    assert await at_kraken(strategy_id=None) is of_nobody
    assert await uow.positions.get_active_positions(strategy_id=None) == [of_nobody]
    assert len(await uow.positions.get_active_positions(strategy_id=ANY)) == 3
    await uow.positions.close_position(of_strategy.id)
    assert await at_kraken(strategy_id=strategy.strategy_id) is None
    assert await at_kraken() is of_nobody
    assert await uow.positions.get_position_by_pair("BTC/USD", account_id=BOT_B) is None


async def test_a_position_of_the_pair_is_found_until_it_is_closed(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position())
    assert await uow.positions.get_position_by_pair("BTC/USD") is position
    await uow.positions.close_position(position.id)
    assert await uow.positions.get_position_by_pair("BTC/USD") is None


@pytest.mark.parametrize(("side", "profit"), [(PositionSide.LONG, 2_000), (PositionSide.SHORT, -2_000)])
async def test_a_mark_says_what_closing_now_would_bring(
    uow: UnitOfWork, side: PositionSide, profit: int
) -> None:
    position = await uow.positions.add(a_position(side=side))
    mark = await uow.positions.update_position_price(position.id, Decimal(51_000))
    assert (mark.current_price, mark.unrealized_pnl) == (Decimal(51_000), Decimal(profit))


async def test_the_server_computes_marks_as_exactly_as_we_do(uow: UnitOfWork) -> None:
    chance = random.Random(20261121)

    def an_amount(digits: int, decimals: int) -> Decimal:
        with exact():
            return Decimal(chance.randrange(10 ** chance.randrange(1, digits))).scaleb(-decimals)

    positions = [
        a_position(
            trading_pair=f"COIN{number}/USD",
            quantity=an_amount(28, 18),
            cost=an_amount(55, 36),
            side=chance.choice(list(PositionSide)),
        )
        for number in range(300)
    ]
    await uow.positions.add_many(positions)
    prices = {position.id: an_amount(28, 18) for position in positions}

    marks = {mark.position_id: mark for mark in await uow.position_marks.mark_many(prices, marked_at=NOON)}

    for position in positions:
        with exact():
            gain = prices[position.id] * position.quantity - position.cost
            expected = amount_rounded(gain if position.side is PositionSide.LONG else -gain)
        assert marks[position.id].unrealized_pnl == expected
        assert marks[position.id].current_price == prices[position.id]


async def test_many_marks_take_one_statement_and_an_older_price_changes_nothing(uow: UnitOfWork) -> None:
    first, second = a_position(), a_position(trading_pair="XRP/USD")
    await uow.positions.add_many([first, second])
    assert await uow.position_marks.mark_many({}, marked_at=NOON) == []
    await uow.position_marks.mark_many({first.id: Decimal(1), second.id: Decimal(1)}, marked_at=NOON)
    kept = await uow.position_marks.one(first.id)

    late = await uow.position_marks.mark_many(
        {first.id: Decimal(2), new_id(): Decimal(2)}, marked_at=NOON - MINUTE
    )
    assert late == []
    assert (await uow.positions.update_position_price(first.id, Decimal(2), marked_at=NOON - MINUTE)) is kept
    assert kept.current_price == Decimal(1)

    await uow.positions.update_position_price(first.id, Decimal(3), marked_at=NOON + MINUTE)
    assert (kept.current_price, kept.marked_at) == (Decimal(3), NOON + MINUTE)


async def test_a_price_that_is_no_money_and_a_position_that_is_none_are_refused(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position())
    for price in (Decimal("NaN"), 1.5, Decimal("1E-19")):
        with pytest.raises(InvalidValue):
            await uow.positions.update_position_price(position.id, price)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(NotFound):
        await uow.positions.update_position_price(new_id(), Decimal(1))


async def test_marks_of_the_same_positions_by_many_at_once_do_not_deadlock(database: Database) -> None:
    positions = [a_position(trading_pair=f"COIN{number}/USD") for number in range(50)]
    await database.positions.add_many(positions)
    ids = [position.id for position in positions]

    async def mark(number: int) -> None:
        shuffled = random.Random(number).sample(ids, len(ids))
        await database.position_marks.mark_many(
            {position_id: Decimal(number) for position_id in shuffled}, marked_at=NOON + number * MINUTE
        )

    await at_once(mark, 8)
    marks = await database.position_marks.find_all()
    assert [mark.current_price for mark in marks] == [Decimal(7)] * 50


async def test_a_closed_position_is_flat_and_worth_nothing(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position())
    mark = await uow.positions.update_position_price(position.id, Decimal(51_000))

    await uow.positions.close_position(position.id, realized_pnl=Decimal(1_500), closed_at=NOON + MINUTE)

    await uow.session.refresh(position)
    assert (position.quantity, position.cost, position.realized_pnl) == (
        Decimal(0),
        Decimal(0),
        Decimal(1500),
    )
    assert (position.entry_price, position.closed_at) == (Decimal(50_000), NOON + MINUTE)
    assert not position.is_active
    await uow.session.refresh(mark)
    assert mark.unrealized_pnl == Decimal(0)
    with pytest.raises(IllegalTransition):
        await uow.positions.close_position(position.id)


async def test_closing_without_a_figure_keeps_what_was_realised(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position(realized_pnl=Decimal(7)))
    await uow.positions.close_position(position.id)
    assert position.realized_pnl == Decimal(7)


async def test_two_who_close_a_position_do_not_both_succeed(database: Database) -> None:
    position = await database.positions.add(a_position())
    async with database.transaction() as uow:
        as_read = await uow.positions.one(position.id)
        await database.positions.close_position(position.id)
        with pytest.raises(StaleWrite):
            await uow.positions.close_position(as_read.id)
        await uow.session.rollback()


async def test_the_summary_never_adds_different_currencies(uow: UnitOfWork) -> None:
    await uow.accounts.add(Account(account_id=BOT_B))
    in_dollars = a_position(realized_pnl=Decimal(10), total_commission=Decimal(1))
    closed = a_position(
        quantity=Decimal(0), cost=Decimal(0), closed_at=NOON, realized_pnl=Decimal(5), opened_at=NOON
    )
    in_euros = a_position(trading_pair="BTC/EUR", quote_currency="EUR", realized_pnl=Decimal(-3))
    await uow.positions.add_many([in_dollars, closed, in_euros, a_position(account_id=BOT_B)])
    await uow.positions.update_position_price(in_dollars.id, Decimal(51_000))

    summary = await uow.positions.get_position_summary()

    assert list(summary) == ["EUR", "USD"]
    dollars, euros = summary["USD"], summary["EUR"]
    assert (dollars.active_positions, dollars.closed_positions) == (1, 1)
    assert (dollars.total_realized_pnl, dollars.total_unrealized_pnl) == (Decimal(15), Decimal(2_000))
    assert dollars.total_commission == Decimal(1)
    assert (euros.total_realized_pnl, euros.total_unrealized_pnl) == (Decimal(-3), Decimal(0))
    assert await uow.positions.get_position_summary(account_id="nobody") == {}


async def test_entries_and_pyramids_that_live_come_in_the_order_they_were_entered(uow: UnitOfWork) -> None:
    base = a_portfolio_position(is_base_position=True)
    pyramid = a_portfolio_position(entry_timestamp=NOON + MINUTE, status=EntryStatus.PARTIAL)
    silver = a_portfolio_position(instrument="SILVER_MINI", rollover_status=RolloverStatus.PENDING)
    closed = a_portfolio_position(
        status=EntryStatus.CLOSED,
        exit_timestamp=NOON,
        exit_price=Decimal(1),
        exit_reason="STOP",
        lots=0,
        quantity=Decimal(0),
    )
    await uow.portfolio_positions.add_many([pyramid, base, silver, closed])

    live = await uow.portfolio_positions.get_open_positions()
    assert {position.position_id for position in live} == {
        base.position_id,
        pyramid.position_id,
        silver.position_id,
    }
    assert live[-1] is pyramid
    assert await uow.portfolio_positions.get_open_positions(instrument="GOLD_MINI") == [base, pyramid]
    assert await uow.portfolio_positions.get_open_positions(account_id=BOT_B) == []
    assert await uow.portfolio_positions.get_rollovers(RolloverStatus.PENDING) == [silver]


async def test_the_state_of_a_pyramid_is_kept_by_instrument(uow: UnitOfWork) -> None:
    base = await uow.portfolio_positions.add(a_portfolio_position(is_base_position=True))
    silver, gold = (
        PyramidingState(instrument="SILVER_MINI"),
        PyramidingState(instrument="GOLD_MINI", base_position_id=base.position_id, pyramid_count=2),
    )
    await uow.pyramiding_states.add_many([silver, gold])
    assert await uow.pyramiding_states.of_account() == [gold, silver]
    assert await uow.pyramiding_states.of_account(BOT_B) == []


async def test_portfolio_state_is_kept_by_currency(uow: UnitOfWork) -> None:
    capital = {"initial_capital": Decimal(100), "closed_equity": Decimal(100)}
    euros = await uow.portfolio_states.add(PortfolioState(currency="EUR", **capital))
    assert [state.currency for state in await uow.portfolio_states.of_account()] == ["EUR", "USD"]
    assert await uow.portfolio_states.get_for_update("EUR") is euros
    with pytest.raises(NotFound):
        await uow.portfolio_states.get_for_update("XAU")


async def test_equity_changed_by_many_at_once_adds_up(database: Database) -> None:
    async def realise(number: int) -> None:
        async with database.transaction() as uow:
            state = await uow.portfolio_states.get_for_update("USD")
            with exact():
                state.closed_equity += number
            await uow.portfolio_states.update(state)

    await at_once(realise, 16)
    state = await database.portfolio_states.one((DEFAULT_ACCOUNT_ID, "USD"))
    assert state.closed_equity == state.initial_capital + sum(range(16))
