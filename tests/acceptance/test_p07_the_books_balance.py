"""P07: positions, trades, orders and equity are what fills and cash flows alone lead to."""

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import URL, Column, Delete, Executable, Update, delete, insert, inspect, text, update

from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import (
    Account,
    ArchivedTrade,
    Base,
    CashFlow,
    CashFlowKind,
    Fill,
    InstrumentKind,
    Order,
    PortfolioPosition,
    PortfolioState,
    Position,
    PositionSide,
    Side,
    Signal,
    SignalLog,
    Strategy,
    Trade,
    TradeStatus,
    new_id,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import NotFound
from gal_friday.money import exact
from gal_friday.state.differences import ROW, Difference
from gal_friday.state.ledger import MARKET_COLUMNS
from gal_friday.state.order_check import ORDER_COLUMNS
from gal_friday.state.position_check import POSITION_COLUMNS
from gal_friday.state.rebuild import rebuild
from gal_friday.state.trade_check import TRADE_COLUMNS
from gal_friday.state.verification import Verification, verify
from tests.concurrency import at_once
from tests.conftest import Undo
from tests.factories import (
    MINUTE,
    NOON,
    a_cash_flow,
    a_fill,
    a_portfolio_position,
    a_position,
    a_signal,
    a_signal_log,
    a_strategy,
    a_trade,
    an_instrument,
    an_order,
)
from tests.fills import Trading
from tests.replays import opened

ACCOUNTS = 32
AT_ONCE = 4
BEHIND_THE_TRIGGERS = text("SET LOCAL session_replication_role = replica")
IDENTITY = (*MARKET_COLUMNS, "strategy_id")


# --- whatever was traded, it balances ----------------------------------------------------------------------


async def test_the_books_balance_after_any_trading(database: Database) -> None:
    async with database.transaction() as uow:
        await uow.instruments.add(
            an_instrument(
                trading_pair="ETH/USD",
                base_currency="ETH",
                settle_currency="USD",
                kind=InstrumentKind.PERPETUAL,
                contract_multiplier=Decimal("0.07"),
            )
        )

    async def trade(number: int) -> None:
        for seed in range(number, ACCOUNTS, AT_ONCE):
            await trade_and_move_money(database, seed)

    await at_once(trade, AT_ONCE)
    result = await verified(database)
    assert result.differences == []
    assert result.is_balanced
    async with database.transaction() as uow:
        assert result.positions == await uow.positions.count()
        assert result.trades == await uow.trades.count()
        assert result.fills == await uow.fills.count()
        assert result.orders == await uow.orders.count()
        assert result.cash_flows == await uow.cash_flows.count()
        adjusted = await uow.cash_flows.count(CashFlow.kind == CashFlowKind.ADJUSTMENT)
    assert adjusted > ACCOUNTS / 4, "fills in another order than they happened in leave something to adjust"


async def trade_and_move_money(database: Database, seed: int) -> str:
    """Fills in any order, deposits, funding, transfers and rebuilt positions between and after them."""
    trading, chance = Trading(seed), random.Random(seed)
    account = trading.account_id
    async with database.transaction() as uow:
        await uow.accounts.open_account(account)
        await uow.strategies.add_many(trading.strategies)
        await uow.orders.add_many(trading.orders)
    batches = list(trading.batches(trading.reports()))
    for batch in batches:
        outcomes = await database.execution.apply_fills(batch)
        assert FillResult.REJECTED not in {outcome.result for outcome in outcomes}
        if chance.random() < 0.3:
            await database.retrying(lambda uow: move_money(uow, account, chance))
    for position in await database.positions.find_all(Position.account_id == account):
        await database.retrying(lambda uow, key=position.id: rebuild(uow, key))  # type: ignore[misc]  # the default argument
    return account


async def move_money(uow: UnitOfWork, account: str, chance: random.Random) -> None:
    amount = Decimal(chance.randrange(1, 10**12)).scaleb(-6)
    await uow.cash_flows.add_once(
        a_cash_flow(account_id=account, kind=CashFlowKind.WITHDRAWAL, amount=-amount)
    )
    await uow.cash_flows.transfer(amount, "EUR", source=account, target="default", occurred_at=NOON)
    position = next(iter(await uow.positions.get_active_positions(account_id=account)), None)
    if position is not None:
        await rebuild(uow, position.id)
        await uow.cash_flows.add(
            a_cash_flow(account_id=account, kind=CashFlowKind.FUNDING, position_id=position.id)
        )


async def verified(database: Database, **options: Any) -> Verification:
    async with database.transaction(read_only=True, snapshot=True) as uow:
        return await verify(uow, **options)


async def test_trading_goes_on_while_the_books_are_verified(database: Database) -> None:
    await trade_and_move_money(database, 1)
    seen: list[int] = []
    async with database.transaction(read_only=True, snapshot=True) as uow:
        before = await uow.fills.count()
        await trade_and_move_money(database, 2)
        during = await verify(uow, report=seen.append)
    after = await verified(database)
    assert (during.is_balanced, after.is_balanced) == (True, True)
    assert (during.fills, seen[-1]) == (before, before)
    assert after.fills > before


async def test_an_account_is_verified_by_itself(database: Database, owner_url: URL) -> None:
    one, other = [await trade_and_move_money(database, seed) for seed in (3, 4)]
    async with opened(owner_url) as owner, owner.transaction() as uow:
        await uow.session.execute(BEHIND_THE_TRIGGERS)
        await uow.session.execute(
            update(PortfolioState).where(PortfolioState.account_id == other).values(closed_equity=0)
        )
    mine = await verified(database, account_id=one)
    assert mine.is_balanced
    assert mine.positions
    assert {each.table for each in (await verified(database, account_id=other)).differences} == {
        "portfolio_state"
    }
    with pytest.raises(NotFound):
        await verified(database, account_id="nobody")


# --- each value that is altered is named -------------------------------------------------------------------


@dataclass
class Books:
    """A small day of trading that has a row of every kind, as `rows` by table."""

    strategy: Strategy
    rows: dict[type[Base], Any]


@pytest.fixture
def uow(owner_uow: UnitOfWork) -> UnitOfWork:
    """The owner's: a trader could not alter what is to be noticed."""
    return owner_uow


@pytest.fixture
async def books(uow: UnitOfWork) -> Books:
    """Entries, exits, a flip and an adjustment; another position that was closed, its trade archived."""
    strategy = await uow.strategies.add(a_strategy())
    signal = await uow.signals.add(a_signal(strategy))
    entry = await uow.orders.add(an_order(strategy, signal_id=signal.id))
    flip = await uow.orders.add(an_order(strategy, side=Side.SELL, quantity=Decimal(3)))
    await take(uow, entry, price="100", commission="0.5", commission_asset="BNB")
    await take(uow, entry, price="110", commission="0.1", commission_asset="BTC")
    await take(uow, flip, quantity="1", price="120", filled_at=NOON - MINUTE)
    await take(uow, flip, quantity="2", price="115")
    await take(uow, flip, quantity="1", price="118", filled_at=NOON + 2 * MINUTE)
    # Before what was applied before it; and more than was ordered.
    await take(uow, entry, quantity="0.5", price="112", filled_at=NOON + MINUTE)
    (position,) = await uow.positions.find_all()
    assert (await rebuild(uow, position.id)).adjustment is not None
    buy = await uow.orders.add(an_order(strategy, trading_pair="ETH/USD"))
    sell = await uow.orders.add(an_order(strategy, trading_pair="ETH/USD", side=Side.SELL))
    await take(uow, buy, quantity="2", price="10")
    await take(uow, sell, quantity="2", price="11")
    closed = await uow.positions.find_one_by(Position.closed_at.is_not(None))
    assert closed is not None
    archived = await archive_trade(uow, closed.id)
    log = await uow.signal_log.add(a_signal_log(signal_id=signal.id))
    earlier = await uow.portfolio_positions.add(a_portfolio_position())
    rolled = await uow.portfolio_positions.add(
        a_portfolio_position(rolled_from_position_id=earlier.position_id)
    )
    trades = await uow.trades.find_all(order_by=Trade.id)
    assert [trade.status for trade in trades] == [TradeStatus.CLOSED, TradeStatus.PARTIALLY_FILLED]
    await uow.session.execute(insert(Account).values(account_id="other", reporting_currency="USD"))
    result = await verify(uow)
    assert result.differences == []
    assert result.fills == 8
    return Books(
        strategy,
        {
            Position: position,
            Trade: trades[0],
            ArchivedTrade: archived,
            Order: entry,
            Fill: (await uow.fills.of_position(position.id))[2],
            SignalLog: log,
            PortfolioPosition: rolled,
            PortfolioState: await uow.portfolio_states.one(("default", "BNB")),
            CashFlow: (await uow.cash_flows.of_position(position.id))[0],
            Signal: signal,
        },
    )


async def take(uow: UnitOfWork, order: Order, *, price: str, quantity: str = "1", **report: Any) -> UUID:
    fill = a_fill(
        order,
        quantity_filled=Decimal(quantity),
        fill_price=Decimal(price),
        commission=Decimal(report.pop("commission", "0.25")),
        **report,
    )
    outcome = await uow.execution.apply_fill(fill)
    assert outcome.result is FillResult.APPLIED, outcome.reason
    assert outcome.position_id is not None
    return outcome.position_id


async def archive_trade(uow: UnitOfWork, position_id: UUID) -> ArchivedTrade:
    trade = (await uow.trades.find_all(Trade.position_id == position_id))[0]
    names = [column.key for column in Trade.__mapper__.column_attrs]
    archived = ArchivedTrade(**{name: getattr(trade, name) for name in names})
    await uow.trades.delete(trade)
    return await uow.archived_trades.add(archived)


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        (Position, (*(set(POSITION_COLUMNS) - {"closed_at"}), "last_applied_seq", *IDENTITY)),
        (Trade, (*TRADE_COLUMNS, *IDENTITY)),
        (ArchivedTrade, (*TRADE_COLUMNS, *IDENTITY)),
        (Order, ORDER_COLUMNS),
        (Fill, ("realized_pnl", "trade_id", "exchange", "trading_pair")),
        (PortfolioState, ("closed_equity",)),
    ],
)
async def test_each_column_that_is_altered_is_named(
    uow: UnitOfWork, books: Books, model: type[Base], columns: Sequence[str]
) -> None:
    row = books.rows[model]
    for column in columns:
        stored = getattr(row, column)
        altered = await another(uow, column, stored)
        (found,) = await differences_after(uow, change(row, **{column: altered}))
        assert (found.table, found.column) == (model.__tablename__, column)
        assert (found.stored, found.rebuilt) == (altered, stored)
    assert (await verify(uow)).is_balanced


OTHERS: Mapping[type[Any], Callable[[Any], object]] = {
    Decimal: lambda stored: stored + Decimal("1e-8"),
    datetime: lambda stored: stored + timedelta(microseconds=1),
    PositionSide: lambda stored: next(side for side in PositionSide if side is not stored),
    Side: lambda stored: next(side for side in Side if side is not stored),
    TradeStatus: lambda _: TradeStatus.CANCELED,
    UUID: lambda _: new_id(),
    int: lambda stored: stored + 1,
    dict: lambda _: {"USD": "1"},
    str: lambda stored: f"{stored}X",
}


async def another(uow: UnitOfWork, column: str, stored: object) -> object:
    """A value that the column takes and that is not the one stored."""
    if column == "account_id":
        return "other"
    if column == "strategy_id":
        return (await uow.strategies.add(a_strategy())).strategy_id
    return next(other for kind, other in OTHERS.items() if isinstance(stored, kind))(stored)


def change(row: Any, **values: object) -> Update:
    """An UPDATE of *row* in SQL, past the entity."""
    table = type(row)
    return (
        update(table).where(*(column == row_value(row, column) for column in key_of(table))).values(**values)
    )


def remove(row: Any) -> Delete:
    table = type(row)
    return delete(table).where(*(column == row_value(row, column) for column in key_of(table)))


def key_of(table: type[Base]) -> Sequence[Column[Any]]:
    return inspect(table).primary_key  # type: ignore[return-value]  # they are columns


def row_value(row: Any, column: Column[Any]) -> Any:
    return getattr(row, column.key)


async def differences_after(uow: UnitOfWork, *statements: Executable) -> Sequence[Difference]:
    """What is found once *statements* were run behind the triggers' back; then they are undone."""
    with contextlib.suppress(Undo):
        async with uow.savepoint():
            await uow.session.execute(BEHIND_THE_TRIGGERS)
            for statement in statements:
                await uow.session.execute(statement, execution_options={"synchronize_session": False})
            result = await verify(uow)
            raise Undo
    assert not result.is_balanced
    return result.differences


async def test_when_a_position_was_closed_is_checked(uow: UnitOfWork, books: Books) -> None:
    closed = await uow.positions.one(books.rows[ArchivedTrade].position_id)
    assert closed.closed_at == NOON
    later = NOON + timedelta(seconds=1)
    (found,) = await differences_after(uow, change(closed, closed_at=later))
    assert (found.key, found.column, found.stored) == (str(closed.id), "closed_at", later)


@pytest.mark.parametrize(
    ("model", "column"),
    [
        (Order, "position_id"),
        (Order, "trade_id"),
        (SignalLog, "signal_id"),
        (PortfolioPosition, "rolled_from_position_id"),
    ],
)
async def test_a_link_that_leads_nowhere_is_named(
    uow: UnitOfWork, books: Books, model: type[Base], column: str
) -> None:
    row = books.rows[model]
    nowhere = await another(uow, column, getattr(row, column))
    (found,) = await differences_after(uow, change(row, **{column: nowhere}))
    assert (found.table, found.column) == (model.__tablename__, column)
    assert (found.stored, found.rebuilt) == (nowhere, None)


async def test_a_key_of_several_columns_is_named_as_the_audit_record_does(
    uow: UnitOfWork, books: Books
) -> None:
    state = books.rows[PortfolioState]
    (found,) = await differences_after(uow, change(state, closed_equity=Decimal(7)))
    assert found.key == '["default", "BNB"]'
    (found,) = await differences_after(uow, remove(state))
    assert (found.stored, found.rebuilt) == (None, Decimal("-0.5"))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("fill_price", Decimal(1)),
        ("net_quantity", Decimal(-5)),
        ("net_quantity", None),
        ("commission", Decimal(9)),
        ("commission_quote", Decimal(9)),
        ("commission_quote", None),
        ("contract_multiplier", Decimal(3)),
        ("filled_at", NOON + timedelta(days=1)),
        ("applied_seq", 9),
        ("applied_seq", None),
        ("position_id", None),
        ("quantity_filled", Decimal(9)),
    ],
)
async def test_a_fact_that_is_altered_is_noticed_by_what_follows_from_it(
    uow: UnitOfWork, books: Books, column: str, value: object
) -> None:
    found = await differences_after(uow, change(books.rows[Fill], **{column: value}))
    if value is None and column != "commission_quote":
        assert column in {each.column for each in found if each.table == "fills"}


@pytest.mark.parametrize(
    ("column", "value"), [("amount", Decimal(1)), ("currency", "EUR"), ("applied_seq", 9)]
)
async def test_a_cash_flow_that_is_altered_is_noticed(
    uow: UnitOfWork, books: Books, column: str, value: object
) -> None:
    assert await differences_after(uow, change(books.rows[CashFlow], **{column: value}))


# --- rows that are missing, and rows nothing leads to ------------------------------------------------------


async def test_a_fill_that_is_gone_leaves_a_gap(uow: UnitOfWork, books: Books) -> None:
    second = (await uow.fills.of_position(books.rows[Position].id))[1]
    found = await differences_after(uow, remove(second))
    (gap,) = (each for each in found if each.column == "applied_seq")
    assert (gap.table, gap.stored, gap.rebuilt) == ("fills", 3, 2)
    assert ("positions", "last_applied_seq") not in {(each.table, each.column) for each in found}


async def test_an_adjustment_that_is_gone_leaves_a_gap(uow: UnitOfWork, books: Books) -> None:
    found = await differences_after(uow, remove(books.rows[CashFlow]))
    named = {(each.table, each.column) for each in found}
    assert named == {
        ("positions", "realized_pnl"),
        ("positions", "cost"),
        ("positions", "entry_price"),
        ("positions", "last_applied_seq"),
        ("portfolio_state", "closed_equity"),
    }


async def test_a_trade_that_is_gone_is_named(uow: UnitOfWork, books: Books) -> None:
    trade = books.rows[Trade]
    found = await differences_after(uow, remove(trade))
    rows = [(each.table, each.key, each.stored) for each in found if each.column == ROW]
    assert rows == [("trades", f"trade 1 of position {trade.position_id}", None)]


async def test_a_position_that_is_gone_is_named_by_its_fills(uow: UnitOfWork, books: Books) -> None:
    position = books.rows[Position]
    found = await differences_after(uow, remove(position))
    fills = await uow.fills.of_position(position.id)
    assert [each.key for each in found if (each.table, each.column) == ("fills", "position_id")] == [
        str(fill.id) for fill in sorted(fills, key=lambda fill: fill.id)
    ]


async def test_what_was_entered_by_hand_is_named(uow: UnitOfWork, books: Books) -> None:
    position = await uow.positions.add(a_position(books.strategy, trading_pair="XRP/USD"))
    of_it = await uow.trades.add(a_trade(books.strategy, position_id=position.id))
    alone = await uow.trades.add(a_trade(books.strategy))
    fill = await uow.fills.add(a_fill(books.rows[Order]))
    found = (await verify(uow)).differences
    assert [(each.table, each.key, each.column) for each in found] == [
        ("positions", str(position.id), ROW),
        ("trades", str(of_it.id), ROW),
        ("fills", str(fill.id), "position_id"),
        ("fills", str(fill.id), "applied_seq"),
        ("trades", str(alone.id), ROW),
    ]


async def test_a_flip_that_nothing_followed_has_its_new_trade(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    buy = await uow.orders.add(an_order(strategy))
    sell = await uow.orders.add(an_order(strategy, side=Side.SELL))
    position_id = await take(uow, buy, price="100")
    await take(uow, sell, price="101", quantity="3")
    position = await uow.positions.one(position_id)
    assert position.side is PositionSide.SHORT
    assert (await verify(uow)).is_balanced
    ended, begun = await uow.trades.find_all(order_by=Trade.id)
    nowhere = {"trade_id": new_id()}
    first, flip = await uow.fills.of_position(position_id)
    assert (first.trade_id, flip.trade_id) == (ended.id, ended.id)
    # Although no fill says which trades these are, they are found.
    found = await differences_after(uow, change(first, **nowhere), change(flip, **nowhere))
    assert [(each.column, each.rebuilt) for each in found] == [("trade_id", ended.id), ("trade_id", ended.id)]
    (found_one,) = await differences_after(uow, change(begun, side=Side.BUY))
    assert (found_one.key, found_one.column) == (str(begun.id), "side")


async def test_an_adjustment_of_a_closed_position_leaves_it_without_cost(
    uow: UnitOfWork, books: Books
) -> None:
    closed = await uow.positions.one(books.rows[ArchivedTrade].position_id)
    amount = Decimal("0.000000000000000000000000000000000001")
    await uow.cash_flows.add(
        a_cash_flow(
            kind=CashFlowKind.ADJUSTMENT,
            amount=amount,
            position_id=closed.id,
            applied_seq=3,
            reason="rounded",
        )
    )
    with exact():
        realized = closed.realized_pnl + amount
    await uow.session.execute(change(closed, realized_pnl=realized, last_applied_seq=3))
    assert (await verify(uow)).differences == []


async def test_a_fee_that_takes_all_that_was_bought_leaves_a_closed_position(uow: UnitOfWork) -> None:
    buy = await uow.orders.add(an_order(await uow.strategies.add(a_strategy())))
    position_id = await take(uow, buy, price="100", commission="1", commission_asset="BTC")
    position = await uow.positions.one(position_id)
    assert position.quantity == 0
    assert position.closed_at == NOON
    assert (await verify(uow)).is_balanced
