"""LiveTradingEngine: what each operation stores, and what it asks of the exchange."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from gal_friday.dal.models import (
    EntryStatus,
    OrderStatus,
    OrderType,
    ProcessingStatus,
    RiskVerdict,
    RolloverStatus,
    Side,
    SignalStatus,
)
from gal_friday.database import Database
from gal_friday.errors import IllegalTransition, InvalidValue, NotFound, OrderInDoubt, StopLoosened
from tests.live import (
    INSTRUMENT,
    MULTIPLIER,
    NEXT_PAIR,
    Desk,
    Market,
    a_proposal,
    a_received_signal,
    a_traded_strategy,
    an_engine,
    filled,
    next_contract,
    terms,
)


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    strategy = await a_traded_strategy(database)
    market = Market()
    async with an_engine(database, market) as engine:
        yield Desk(engine, market, database, strategy)
        await Desk(engine, market, database, strategy).check_memory()


async def test_a_base_entry_is_stored_whole_and_then_sent(desk: Desk) -> None:
    received = a_received_signal()
    outcome = await desk.engine.base_entry(
        received, a_proposal(desk.strategy), terms(2, stop=90, atr=Decimal("1.5"), limiter="risk")
    )
    assert (outcome.is_new, outcome.refusal) == (True, None)
    assert outcome.receipt.processing_status is ProcessingStatus.PROCESSED
    assert outcome.receipt.signal_id == outcome.signal.id
    assert outcome.signal.status is SignalStatus.EXECUTED
    assert outcome.decision.decision is RiskVerdict.APPROVED
    order, position = outcome.order, outcome.position
    assert (order.status, order.quantity, order.order_type) == (OrderStatus.NEW, 2, OrderType.MARKET)
    assert (position.status, position.lots, position.quantity) == (EntryStatus.OPEN, 0, 0)
    assert (position.is_base_position, position.initial_stop, position.current_stop) == (True, 90, 90)
    pyramid = await desk.stored_pyramid()
    assert (pyramid.base_position_id, pyramid.pyramid_count) == (position.position_id, 0)
    assert pyramid.last_pyramid_price == 100
    assert desk.market.kinds() == ["submit ENTER"]


async def test_what_is_held_follows_from_the_fills_and_is_protected_at_once(desk: Desk) -> None:
    outcome = await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms(3))
    name = outcome.position.position_id
    await desk.engine.fill(filled(outcome.order, 101, Decimal(1)))
    entry = await desk.entry(name)
    assert (entry.lots, entry.quantity, entry.entry_price) == (1, MULTIPLIER, 101)
    await desk.engine.fill(filled(outcome.order, 103, Decimal(2)))
    entry = await desk.entry(name)
    assert (entry.lots, entry.quantity) == (3, 3 * MULTIPLIER)
    assert entry.entry_price == Decimal("102.333333333333333333")
    assert desk.market.kinds() == ["submit ENTER", "submit STOP", "amend STOP"]
    (stop,) = [o for o in await desk.database.orders.get_active_orders() if o.parent_order_id is not None]
    assert stop.side is Side.SELL
    assert stop.stop_price == 90
    assert stop.quantity == 3
    assert stop.reduce_only
    state = await desk.database.portfolio_states.one(("default", "USD"))
    assert state.total_risk_amount == Decimal("369.99999999999999999")
    assert state.total_risk_percent == Decimal("0.0074")


async def test_a_signal_that_comes_again_changes_nothing_and_says_so(desk: Desk) -> None:
    received = a_received_signal()
    first = await desk.engine.base_entry(received, a_proposal(desk.strategy), terms())
    asked = list(desk.market.asked)
    again = await desk.engine.base_entry(received, a_proposal(desk.strategy), terms(7, stop=95))
    assert not again.is_new
    assert (again.order.id, again.order.quantity) == (first.order.id, 2)
    assert again.position.current_stop == 90
    assert again.receipt.duplicate_count == 1
    assert desk.market.asked == asked
    assert await desk.database.orders.count() == 1


async def test_a_pyramid_stands_on_a_filled_base(desk: Desk) -> None:
    async def refused() -> str:
        outcome = await desk.engine.pyramid(a_received_signal("PYRAMID"), a_proposal(desk.strategy), terms(1))
        assert outcome.order is None
        assert outcome.signal.status is SignalStatus.REJECTED
        assert outcome.receipt.processing_status is ProcessingStatus.REJECTED
        return str(outcome.refusal)

    assert await refused() == "no base entry is open"
    base = await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    assert await refused() == "the base entry is not filled yet"
    await desk.engine.fill(filled(base.order, 100))
    second = await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    assert second.refusal == "a base entry is open already"
    await desk.pyramid(price=110, quantity=1)
    pyramid = await desk.stored_pyramid()
    assert (pyramid.pyramid_count, pyramid.last_pyramid_price) == (1, 110)
    assert pyramid.base_position_id == base.position.position_id
    assert len(desk.engine.positions) == 2


async def test_an_exit_closes_every_entry_by_its_fills_and_ends_the_pyramid(desk: Desk) -> None:
    base = await desk.base(price=100)
    await desk.pyramid(price=110, quantity=1)
    outcome = await desk.engine.exit(a_received_signal("EXIT"), reason="TREND_OVER")
    assert len(outcome.orders) == len(outcome.positions) == 2
    assert all(order.reduce_only and order.side is Side.SELL for order in outcome.orders)
    assert [p.status for p in outcome.positions] == [EntryStatus.OPEN, EntryStatus.OPEN]
    assert desk.market.kinds("cancel") == ["cancel STOP", "cancel STOP"]
    first, second = outcome.orders
    await desk.engine.fill(filled(first, 120, Decimal(1)))
    entry = await desk.entry(base.position.position_id)
    assert (entry.status, entry.lots, entry.realized_pnl) == (EntryStatus.PARTIAL, 1, 200)
    await desk.engine.fill(filled(first, 130, Decimal(1)))
    entry = await desk.entry(base.position.position_id)
    assert (entry.status, entry.lots, entry.quantity) == (EntryStatus.CLOSED, 0, 0)
    assert (entry.exit_price, entry.exit_reason, entry.realized_pnl) == (125, "TREND_OVER", 500)
    assert (await desk.stored_pyramid()).base_position_id is not None
    await desk.engine.fill(filled(second, 100))
    pyramid = await desk.stored_pyramid()
    assert (pyramid.base_position_id, pyramid.pyramid_count, pyramid.last_pyramid_price) == (None, 0, None)
    assert desk.engine.positions == {}
    again = await desk.engine.exit(a_received_signal("EXIT"), reason="TREND_OVER")
    assert again.refusal == "nothing is held"
    state: Any = await desk.database.portfolio_states.one(("default", "USD"))
    assert (state.total_risk_amount, state.closed_equity) == (0, 5_000_400)


async def test_an_exit_of_one_entry_leaves_the_others(desk: Desk) -> None:
    await desk.base()
    on_top = await desk.pyramid(quantity=1)
    outcome = await desk.engine.exit(
        a_received_signal("EXIT"),
        reason="TOO_FAR",
        position_id=on_top.position.position_id,
        limit_price=Decimal(115),
    )
    (order,) = outcome.orders
    assert (order.order_type, order.limit_price, order.quantity) == (OrderType.LIMIT, 115, 1)
    await desk.engine.fill(filled(order, 115))
    assert list(desk.engine.positions) != [on_top.position.position_id]
    assert (await desk.stored_pyramid()).pyramid_count == 1


async def test_a_stop_moves_one_way_unless_somebody_means_it(desk: Desk) -> None:
    base = await desk.base()
    name = base.position.position_id
    entry, stop = await desk.engine.update_stop(name, Decimal(95), highest_close=Decimal(108))
    assert (entry.current_stop, entry.initial_stop, entry.highest_close, stop.stop_price) == (95, 90, 108, 95)
    with pytest.raises(StopLoosened):
        await desk.engine.update_stop(name, Decimal(94))
    assert (await desk.entry(name)).current_stop == 95
    entry, stop = await desk.engine.update_stop(name, Decimal(94), loosened_by="alice")
    assert (entry.current_stop, stop.stop_price) == (94, 94)
    changes = (await desk.database.audit.search(table="portfolio_positions", actor="alice")).items
    assert [(change.before, change.after) for change in changes]
    with pytest.raises(NotFound):
        await desk.engine.update_stop("nothing", Decimal(1))


async def test_a_stop_that_cannot_be_amended_is_placed_anew(desk: Desk) -> None:
    base = await desk.base()
    desk.market.refuses.add("amend")
    _, stop = await desk.engine.update_stop(base.position.position_id, Decimal(95))
    assert (stop.stop_price, stop.status) == (95, OrderStatus.NEW)
    assert desk.market.kinds()[2:] == ["amend STOP", "cancel STOP", "submit STOP"]


async def test_a_stop_that_strikes_closes_the_entry(desk: Desk) -> None:
    base = await desk.base()
    (stop,) = [o for o in await desk.database.orders.get_active_orders() if o.parent_order_id is not None]
    await desk.engine.fill(filled(stop, 89))
    entry = await desk.entry(base.position.position_id)
    assert (entry.status, entry.exit_price, entry.exit_reason) == (EntryStatus.CLOSED, 89, "STOP")
    assert (await desk.stored_pyramid()).base_position_id is None
    with pytest.raises(IllegalTransition):
        await desk.engine.update_stop(base.position.position_id, Decimal(95))


async def test_an_entry_the_exchange_refuses_never_was(desk: Desk) -> None:
    desk.market.refuses.add("submit")
    outcome = await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    assert outcome.order.status is OrderStatus.REJECTED
    assert (outcome.position.status, outcome.position.exit_reason) == (EntryStatus.CLOSED, "ENTRY_REJECTED")
    assert (await desk.stored_pyramid()).base_position_id is None
    desk.market.refuses.clear()
    await desk.base()
    desk.market.refuses.add("submit")
    await desk.engine.pyramid(
        a_received_signal("PYRAMID", price=Decimal(120)), a_proposal(desk.strategy), terms(1)
    )
    pyramid = await desk.stored_pyramid()
    assert (pyramid.pyramid_count, pyramid.last_pyramid_price) == (0, 100)


async def test_a_rollover_moves_the_entry_to_the_next_contract(desk: Desk) -> None:
    base = await desk.base()
    await desk.pyramid(quantity=1)
    name = base.position.position_id
    state = await desk.engine.rollover(name, next_contract())
    assert state.position.rollover_status is RolloverStatus.PENDING
    assert (state.order.status, state.order.reduce_only) == (OrderStatus.NEW, True)
    await desk.engine.fill(filled(state.order, 105))
    old, new = await desk.entry(name), await desk.entry(f"{name}+1")
    assert (old.status, old.exit_reason) == (EntryStatus.CLOSED, "ROLLOVER")
    assert old.rollover_status is RolloverStatus.IN_PROGRESS
    assert (new.rolled_from_position_id, new.lots, new.instrument) == (name, 0, INSTRUMENT)
    (order,) = [o for o in await desk.database.orders.get_active_orders() if o.trading_pair == NEXT_PAIR]
    assert order.quantity == 2
    await desk.engine.fill(filled(order, 106))
    old, new = await desk.entry(name), await desk.entry(f"{name}+1")
    assert old.rollover_status is RolloverStatus.ROLLED
    assert (new.lots, new.entry_price, new.current_stop, new.is_base_position) == (2, 106, 92, True)
    pyramid = await desk.stored_pyramid()
    assert (pyramid.base_position_id, pyramid.pyramid_count) == (f"{name}+1", 1)
    stops = [o for o in await desk.database.orders.get_active_orders() if o.order_type is OrderType.STOP_LOSS]
    assert {(o.trading_pair, o.stop_price) for o in stops} >= {(NEXT_PAIR, Decimal(92))}


async def test_an_order_without_an_answer_is_in_doubt_until_it_is_settled(desk: Desk) -> None:
    desk.market.after["submit"] = TimeoutError()
    with pytest.raises(OrderInDoubt):
        await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    (name,) = desk.engine.positions
    desk.market.after.clear()
    assert await desk.engine.settle_doubts() == []
    (order,) = await desk.database.orders.get_active_orders()
    assert order.status is OrderStatus.NEW
    assert desk.market.kinds() == ["submit ENTER", "find ENTER"]
    await desk.engine.fill(filled(order, 100))
    assert (await desk.entry(name)).lots == 2


async def test_a_signal_for_another_exchange_or_without_a_price_is_not_taken(desk: Desk) -> None:
    with pytest.raises(InvalidValue, match="another exchange"):
        await desk.engine.base_entry(
            a_received_signal(), a_proposal(desk.strategy, exchange="elsewhere"), terms()
        )
    with pytest.raises(InvalidValue, match="judged by a price"):
        await desk.engine.base_entry(a_received_signal(price=None), a_proposal(desk.strategy), terms())
    assert await desk.database.signal_log.count() == 0
