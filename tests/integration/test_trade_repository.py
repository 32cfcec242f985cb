"""Trades, open, closed and archived."""

import random
from decimal import Decimal

import pytest

from gal_friday.dal.models import Account, Side, TradeStatus, new_id
from gal_friday.dal.repositories.trade_repository import TradeHistory
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import IllegalTransition, InvalidValue, NotFound, StaleWrite
from gal_friday.money import amount_rounded, exact
from tests.archive import archive
from tests.factories import (
    MINUTE,
    NOON,
    a_closed_trade,
    a_strategy,
    a_trade,
    an_archived_trade,
    an_order,
)

BOT_B = "bot-b"


async def test_open_trades_are_those_not_finished_newest_entry_first(uow: UnitOfWork) -> None:
    await uow.accounts.add(Account(account_id=BOT_B))
    strategy = await uow.strategies.add(a_strategy())
    older = a_trade(strategy)
    newer = a_trade(entry_timestamp=NOON + MINUTE, status=TradeStatus.PARTIALLY_FILLED)
    theirs = a_trade(account_id=BOT_B)
    canceled = a_trade(status=TradeStatus.CANCELED)
    await uow.trades.add_many([older, newer, theirs, canceled, a_closed_trade()])

    assert await uow.trades.find_open_trades() == [newer, older]
    assert await uow.trades.find_open_trades(strategy.strategy_id) == [older]
    assert await uow.trades.find_open_trades(account_id=BOT_B) == [theirs]


@pytest.mark.parametrize(
    ("side", "profit", "percent"), [(Side.BUY, "1970", "1.97"), (Side.SELL, "-2030", "-2.03")]
)
async def test_closing_settles_profit_after_all_commission(
    uow: UnitOfWork, side: Side, profit: str, percent: str
) -> None:
    strategy = await uow.strategies.add(a_strategy())
    exit_order = await uow.orders.add(an_order(strategy, side=Side.SELL))
    trade = await uow.trades.add(a_trade(side=side, total_commission=Decimal(10)))

    await uow.trades.close_trade(
        trade.id,
        exit_price=Decimal(51_000),
        exit_reason="TAKE_PROFIT",
        exit_timestamp=NOON + MINUTE,
        commission=Decimal(20),
        exit_order_id=exit_order.id,
        exit_signal={"cross": "down"},
        exit_tag="tp1",
    )

    await uow.session.refresh(trade)
    assert (trade.realized_pnl, trade.realized_pnl_pct) == (Decimal(profit), Decimal(percent))
    assert (trade.total_commission, trade.average_exit_price) == (Decimal(30), Decimal(51_000))
    assert (trade.status, trade.exit_timestamp) == (TradeStatus.CLOSED, NOON + MINUTE)
    assert (trade.exit_reason, trade.exit_order_id) == ("TAKE_PROFIT", exit_order.id)
    assert (trade.exit_signal, trade.exit_tag) == ({"cross": "down"}, "tp1")
    assert trade.filled_quantity == trade.quantity


async def test_profit_is_exact_to_the_last_decimal(uow: UnitOfWork) -> None:
    chance = random.Random(20261121)

    def an_amount() -> Decimal:
        with exact():
            return Decimal(chance.randrange(1, 10**24)).scaleb(-18)

    for _ in range(20):
        quantity, entry, out, fee = (an_amount() for _ in range(4))
        trade = await uow.trades.add(a_trade(quantity=quantity, average_entry_price=entry))
        await uow.trades.close_trade(trade.id, exit_price=out, exit_reason="SIGNAL", commission=fee)
        await uow.session.refresh(trade)
        with exact():
            assert trade.realized_pnl == amount_rounded(out * quantity - entry * quantity - fee)


async def test_a_trade_entered_for_nothing_has_no_percentage(uow: UnitOfWork) -> None:
    trade = await uow.trades.add(a_trade(average_entry_price=Decimal(0)))
    await uow.trades.close_trade(trade.id, exit_price=Decimal(1), exit_reason="AIRDROP")
    assert (trade.realized_pnl, trade.realized_pnl_pct) == (Decimal(2), None)
    assert trade.exit_timestamp is not None


@pytest.mark.parametrize("number", [1.5, Decimal("Infinity"), Decimal("1E-19"), "1"])
async def test_what_is_no_exact_amount_closes_no_trade(uow: UnitOfWork, number: Decimal) -> None:
    trade = await uow.trades.add(a_trade())
    with pytest.raises(InvalidValue):
        await uow.trades.close_trade(trade.id, exit_price=number, exit_reason="SIGNAL")
    with pytest.raises(InvalidValue):
        await uow.trades.close_trade(trade.id, exit_price=Decimal(1), exit_reason="SIGNAL", commission=number)
    assert trade.status is TradeStatus.OPEN


async def test_a_trade_given_in_whole_numbers_and_texts_closes_as_any_other(uow: UnitOfWork) -> None:
    trade = await uow.trades.add(a_trade(side="BUY", quantity=2, average_entry_price=10, total_commission=1))
    await uow.trades.close_trade(trade.id, exit_price=Decimal(12), exit_reason="SIGNAL")
    assert (trade.realized_pnl, trade.realized_pnl_pct) == (Decimal(3), Decimal(15))


async def test_a_trade_is_closed_once(uow: UnitOfWork) -> None:
    trade = await uow.trades.add(a_closed_trade())
    with pytest.raises(IllegalTransition):
        await uow.trades.close_trade(trade.id, exit_price=Decimal(1), exit_reason="AGAIN")
    with pytest.raises(NotFound):
        await uow.trades.close_trade(new_id(), exit_price=Decimal(1), exit_reason="NONE")


async def test_two_who_close_a_trade_do_not_both_succeed(database: Database) -> None:
    trade = await database.trades.add(a_trade())
    async with database.transaction() as uow:
        as_read = await uow.trades.one(trade.id)
        await database.trades.close_trade(trade.id, exit_price=Decimal(1), exit_reason="FIRST")
        with pytest.raises(StaleWrite):
            await uow.trades.close_trade(as_read.id, exit_price=Decimal(2), exit_reason="SECOND")
        await uow.session.rollback()
    assert (await database.trades.one(trade.id)).exit_reason == "FIRST"


async def test_history_pages_through_recent_and_archived_trades_without_gap_or_repetition(
    owner_uow: UnitOfWork,
) -> None:
    chance = random.Random(1)
    times = [NOON + chance.randrange(10) * MINUTE for _ in range(60)]  # many at the same instant
    await owner_uow.trades.add_many([a_closed_trade(entry_timestamp=time) for time in times[:40]])
    await archive(owner_uow, *(an_archived_trade(entry_timestamp=time) for time in times[40:]))

    seen: list[tuple[object, object]] = []
    page = await owner_uow.trades.get_trade_history(limit=7)
    pages = 1
    while True:
        seen += [(trade.entry_timestamp, trade.id) for trade in page.trades]
        if page.next is None:
            break
        assert len(page.trades) == 7
        page = await owner_uow.trades.get_trade_history(limit=7, after=page.next)
        pages += 1

    assert (len(seen), len(set(seen)), pages) == (60, 60, 9)
    assert seen == sorted(seen, reverse=True)


async def test_the_last_page_of_just_the_size_has_no_next(owner_uow: UnitOfWork) -> None:
    await owner_uow.trades.add_many([a_closed_trade() for _ in range(2)])
    await archive(owner_uow, an_archived_trade())
    assert (await owner_uow.trades.get_trade_history(limit=3)).next is None
    assert (await owner_uow.trades.get_trade_history(limit=2)).next is not None


async def test_history_is_narrowed_and_counted_when_asked(owner_uow: UnitOfWork) -> None:
    await owner_uow.accounts.add(Account(account_id=BOT_B))
    strategy = await owner_uow.strategies.add(a_strategy())
    wanted = a_closed_trade(strategy, trading_pair="XRP/USD", entry_timestamp=NOON + MINUTE)
    archived = an_archived_trade(strategy, trading_pair="XRP/USD", entry_timestamp=NOON)
    still_open = a_trade(strategy, entry_timestamp=NOON + 5 * MINUTE)
    theirs = a_closed_trade(account_id=BOT_B)
    await owner_uow.trades.add_many([wanted, still_open, theirs])
    await archive(owner_uow, archived)

    async def found(**filters: object) -> list[object]:
        history: TradeHistory = await owner_uow.trades.get_trade_history(**filters)  # type: ignore[arg-type]  # any of them
        assert history.total is None
        return [trade.id for trade in history.trades]

    assert await found() == [still_open.id, wanted.id, archived.id]
    assert await found(strategy_id=strategy.strategy_id, trading_pair="XRP/USD") == [wanted.id, archived.id]
    assert await found(status=TradeStatus.OPEN) == [still_open.id]
    assert await found(start=NOON + MINUTE) == [still_open.id, wanted.id]
    assert await found(end=NOON + MINUTE) == [archived.id]
    assert await found(account_id=BOT_B) == [theirs.id]
    counted = await owner_uow.trades.get_trade_history(status=TradeStatus.CLOSED, limit=1, with_total=True)
    assert (len(counted.trades), counted.total) == (1, 2)
