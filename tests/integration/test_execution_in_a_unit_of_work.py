"""Fills taken in a transaction with other things."""

import contextlib
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from gal_friday.dal.models import (
    AuditEntry,
    Order,
    OrderHistory,
    OrderStatus,
    PortfolioState,
    ReportSource,
    Side,
    Strategy,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import InvalidValue, StaleWrite
from tests.books import unbalanced
from tests.concurrency import at_once
from tests.factories import MINUTE, NOON, a_strategy, an_order
from tests.ledger import a_report, a_stored_order, applied, columns, equity, position_of, trades_of

SETTINGS = text("""
    SELECT array_agg(current_setting('gal_friday.' || name, true) ORDER BY place)
    FROM unnest(CAST('{actor,application,source,reason,occurred_at}' AS text[]))
        WITH ORDINALITY AS setting (name, place)
""")


@pytest.fixture
async def order(uow: UnitOfWork) -> Order:
    return await a_stored_order(uow)


async def settings(uow: UnitOfWork) -> list[str | None]:
    found: list[str | None] = await uow.session.scalar(SETTINGS) or []
    return [value or None for value in found]


async def test_entities_of_the_session_are_brought_up_to_date(uow: UnitOfWork, order: Order) -> None:
    first = await applied(uow, a_report(order))
    position = await position_of(uow, order)
    (trade,) = await trades_of(uow, position)
    state = await uow.portfolio_states.one(("default", "USD"))
    other = await a_stored_order(uow)
    before = columns(other, "row_version", "filled_quantity")

    second = await applied(
        uow, a_report(order, fill_price=Decimal(110), commission=Decimal(4), commission_asset="USD")
    )
    assert (first.position_id, second.trade_id) == (position.id, trade.id)
    assert columns(order, "status", "filled_quantity", "commission_quote") == ("FILLED", 2, 4)
    assert columns(position, "quantity", "cost", "last_applied_seq") == (2, 210, 2)
    assert columns(trade, "quantity", "average_entry_price", "realized_pnl") == (2, 105, -4)
    assert state.closed_equity == 5_000_000 - 4
    assert columns(other, "row_version", "filled_quantity") == before
    # So they can be changed further without a reload.
    order.extra, position.quantity, trade.notes = {"note": "x"}, Decimal(2), "y"
    await uow.flush()


async def test_what_was_changed_before_is_sent_first_and_not_lost(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    order = an_order(strategy)
    uow.session.add(order)
    await applied(uow, a_report(order))
    order.error_message = "slow"
    await applied(uow, a_report(order))
    assert columns(order, "error_message", "filled_quantity") == ("slow", 2)


async def test_a_report_is_not_stored_itself(uow: UnitOfWork, order: Order) -> None:
    report = a_report(order)
    outcome = await applied(uow, report)
    assert report not in uow.session
    assert report not in list(uow.session.new)
    assert (await uow.fills.one(outcome.fill)) is not report


async def test_nothing_of_a_fill_is_left_when_the_block_raises(database: Database) -> None:
    order = await a_stored_order(database)
    before = await equity(database)
    stored_before = await counts(database)

    async def work() -> None:
        async with database.transaction() as uow:
            await applied(uow, a_report(order, commission=Decimal(1), commission_asset="BNB"))
            assert await counts(uow) != stored_before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert await counts(database) == stored_before
    assert await equity(database) == before
    assert columns(await database.orders.one(order.id), "status", "row_version") == ("PENDING_NEW", 1)


async def counts(where: UnitOfWork | Database) -> list[int]:
    return [
        await repository.count()
        for repository in (
            *(where.fills, where.positions, where.trades, where.order_history, where.unmatched_fills),
            *(where.fill_aliases, where.portfolio_states, where.audit),
        )
    ]


async def test_a_savepoint_undoes_a_fill_alone(uow: UnitOfWork, order: Order) -> None:
    await applied(uow, a_report(order))
    position = await position_of(uow, order)
    with contextlib.suppress(ZeroDivisionError):
        async with uow.savepoint():
            await applied(uow, a_report(order, source=ReportSource.POLL))
            assert columns(position, "quantity") == (2,)
            raise ZeroDivisionError
    await uow.session.refresh(position)
    await uow.session.refresh(order)
    assert columns(position, "quantity", "last_applied_seq") == (1, 1)
    assert columns(order, "status", "filled_quantity") == ("PARTIALLY_FILLED", 1)
    assert (await applied(uow, a_report(order))).applied_seq == 2
    assert await unbalanced(uow, order.account_id) == []


async def test_a_batch_takes_effect_wholly_or_not_at_all(uow: UnitOfWork, order: Order) -> None:
    huge = Decimal(10**15)
    before = await settings(uow)
    with pytest.raises(InvalidValue):
        async with uow.savepoint():
            await uow.execution.apply_fills(
                [a_report(order), a_report(order, quantity_filled=huge, fill_price=huge)]
            )
    assert await uow.fills.count() == 0
    assert await settings(uow) == before
    await applied(uow, a_report(order))


async def test_who_does_what_is_as_it_was_after_a_fill(uow: UnitOfWork, order: Order) -> None:
    before = await settings(uow)
    assert before == ["test", "gal_friday", "ENGINE", None, None]
    rejected = a_report(order, side=Side.SELL)
    unknown = a_report(an_order(await uow.strategies.one(order.strategy_id)))
    for report in (a_report(order, source=ReportSource.STREAM), rejected, unknown):
        await uow.execution.apply_fill(report)
        assert await settings(uow) == before
    async with uow.recorded_as(source=ReportSource.RECONCILE, reason="missed", at=NOON + MINUTE):
        inside = await settings(uow)
        await applied(uow, a_report(order, source=ReportSource.POLL))
        assert await settings(uow) == inside
        assert inside[2:4] == ["RECONCILE", "missed"]
    assert await settings(uow) == before


async def test_a_fill_is_on_record_with_its_own_source_and_the_others_with_theirs(
    database: Database,
) -> None:
    async with database.transaction(actor="alice", source=ReportSource.RECONCILE) as uow:
        order = await a_stored_order(uow, status="NEW", status_at=NOON - MINUTE)
        await applied(uow, a_report(order, fill_id="T1", source=ReportSource.STREAM))
        await uow.orders.transition(order.id, OrderStatus.PENDING_CANCEL, at=NOON + MINUTE)
    rows = await database.order_history.find_all(order_by=OrderHistory.id)
    assert [columns(row, "to_status", "source", "reason", "occurred_at") for row in rows] == [
        ("NEW", "RECONCILE", None, NOON - MINUTE),
        ("PARTIALLY_FILLED", "STREAM", "fill T1", NOON),
        ("PENDING_CANCEL", "RECONCILE", None, NOON + MINUTE),
    ]
    changes = (await database.audit.search(actor="alice")).items
    assert {change.table_name for change in changes} >= {"orders", "positions", "trades"}
    assert {change.application for change in changes} == {"gal_friday"}


async def test_what_the_pool_applies_is_on_record_as_the_applications(database: Database) -> None:
    order = await a_stored_order(database)
    await database.execution.apply_fill(a_report(order, commission=Decimal(1), commission_asset="USD"))
    async with database.transaction() as uow:
        statement = select(AuditEntry).where(AuditEntry.table_name.in_(["positions", "trades"]))
        entries = (await uow.session.scalars(statement)).all()
    assert {entry.table_name for entry in entries} == {"positions", "trades"}
    assert {entry.application for entry in entries} == {"gal_friday"}


async def test_a_lost_race_in_a_unit_of_work_is_tried_again(database: Database) -> None:
    # Each takes two orders' fills in the opposite order: without a retry one of them would be ended.
    strategy: Strategy = await database.strategies.add(a_strategy())
    orders = [
        await a_stored_order(database, strategy, trading_pair=pair, quantity=Decimal(40))
        for pair in ("BTC/USD", "ETH/USD")
    ]

    async def trade(number: int) -> None:
        ways = orders if number % 2 else orders[::-1]

        async def work(uow: UnitOfWork) -> None:
            for order in ways:
                await applied(uow, a_report(order, fill_id=f"T{number}"))

        await database.retrying(work, attempts=100)

    await at_once(trade, 8)
    async with database.transaction() as uow:
        assert await unbalanced(uow, "default") == []
        assert await uow.fills.count() == 16


async def test_a_stale_entity_cannot_undo_a_fill(database: Database) -> None:
    order = await a_stored_order(database)
    read = await database.portfolio_states.one(("default", "USD"))
    await database.execution.apply_fill(a_report(order, commission=Decimal(1), commission_asset="USD"))
    read.closed_equity = Decimal(0)
    with pytest.raises(StaleWrite):
        await database.portfolio_states.update(read)
    state: PortfolioState = await database.portfolio_states.one(("default", "USD"))
    assert state.closed_equity == 4_999_999
