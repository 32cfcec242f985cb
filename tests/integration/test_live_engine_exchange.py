"""A LiveTradingEngine at an exchange that is slow, silent, faster, or says no."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from gal_friday.config import DatabaseSettings, JournalSettings, Settings
from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import (
    EntryStatus,
    EntryType,
    InstrumentKind,
    Order,
    OrderStatus,
    OrderType,
    RolloverStatus,
    Side,
)
from gal_friday.database import Database, open_database
from gal_friday.errors import DatabaseUnavailable, IllegalTransition, InvalidValue, OrderInDoubt
from tests.factories import an_instrument
from tests.live import (
    EXPIRE,
    PAIR,
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
from tests.network import Gate
from tests.waiting import until


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    strategy = await a_traded_strategy(database)
    market = Market()
    async with an_engine(database, market) as engine:
        desk = Desk(engine, market, database, strategy)
        yield desk
        await desk.check_memory()


async def the_stop(desk: Desk) -> Any:
    (stop,) = [
        o for o in await desk.database.orders.get_active_orders() if o.order_type == OrderType.STOP_LOSS
    ]
    return stop


def refuse_one_more(desk: Desk) -> Callable[[], Awaitable[None]]:
    """Lets the market refuse one order beside the entry and its stop, and no more."""

    async def accept_the_fourth() -> None:
        if len(desk.market.kinds("submit")) > 3:
            desk.market.refuses.clear()

    return accept_the_fourth


async def test_a_short_entry_is_protected_above_its_price(desk: Desk) -> None:
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy, side=Side.SELL), terms(stop=110, position_id="P")
    )
    await desk.engine.fill(filled(outcome.order, 100))
    assert (await the_stop(desk)).side is Side.BUY
    with pytest.raises(Exception, match="moves one way"):
        await desk.engine.update_stop("P", Decimal(111))
    await desk.engine.update_stop("P", Decimal(105))
    state: Any = await desk.database.portfolio_states.one(("default", "USD"))
    assert state.total_risk_amount == 100
    leaving = await desk.engine.exit(a_received_signal(), reason="X", position_id="P")
    await desk.engine.fill(filled(leaving.order, 90))
    entry = await desk.entry("P")
    assert (entry.realized_pnl, entry.exit_price) == (200, 90)


async def test_an_exit_takes_back_what_is_left_of_the_entry(desk: Desk) -> None:
    outcome = await desk.engine.base_entry(
        a_received_signal(),
        a_proposal(desk.strategy, entry_type=EntryType.LIMIT, proposed_entry_price=Decimal(100)),
        terms(3, position_id="P"),
    )
    assert (outcome.order.order_type, outcome.order.limit_price) == (OrderType.LIMIT, 100)
    await desk.engine.fill(filled(outcome.order, 100, Decimal(1)))
    leaving = await desk.engine.exit(a_received_signal(), reason="X")
    assert leaving.order.quantity == 1
    assert (await desk.database.orders.one(outcome.order.id)).status is OrderStatus.CANCELED
    await desk.engine.fill(filled(leaving.order, 101))
    assert (await desk.entry("P")).status is EntryStatus.CLOSED


async def test_an_exit_of_an_entry_that_is_not_filled_only_takes_it_back(desk: Desk) -> None:
    await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms(position_id="P"))
    leaving = await desk.engine.exit(a_received_signal(), reason="X")
    assert (leaving.refusal, leaving.orders) == (None, ())
    assert leaving.position.exit_reason == "ENTRY_CANCELED"
    assert desk.market.kinds() == ["submit ENTER", "cancel ENTER"]


async def test_fills_that_come_after_all_are_held_and_protected(desk: Desk) -> None:
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy), terms(position_id="P")
    )
    await desk.engine.exit(a_received_signal(), reason="X")
    await desk.engine.fill(filled(outcome.order, 100, Decimal(1)))
    entry = await desk.entry("P")
    assert (entry.status, entry.lots, entry.exit_reason) == (EntryStatus.OPEN, 1, None)
    assert (await the_stop(desk)).quantity == 1


async def test_an_exit_the_exchange_refuses_leaves_the_entry_protected(desk: Desk) -> None:
    await desk.base(position_id="P")
    desk.market.refuses.add("submit")
    desk.market.while_asked = refuse_one_more(desk)
    leaving = await desk.engine.exit(a_received_signal(), reason="X")
    assert leaving.order.status is OrderStatus.REJECTED
    assert (await desk.entry("P")).status is EntryStatus.OPEN
    assert (await the_stop(desk)).stop_price == 90


async def test_a_stop_that_is_faster_than_the_exit_does_its_work(desk: Desk) -> None:
    await desk.base(position_id="P")
    stop = await the_stop(desk)

    async def strike() -> None:
        desk.market.while_asked = None
        await desk.engine.status_report(stop.id, OrderStatus.FILLED)

    desk.market.while_asked = strike
    desk.market.refuses.add("cancel")
    leaving = await desk.engine.exit(a_received_signal(), reason="X")
    assert leaving.order.status is OrderStatus.CANCELED
    assert "submit EXIT" not in desk.market.kinds()
    await desk.engine.fill(filled(stop, 89))
    assert (await desk.entry("P")).exit_reason == "STOP"


async def test_an_exit_leaves_only_what_a_stop_has_left(desk: Desk) -> None:
    await desk.base(position_id="P")
    stop = await the_stop(desk)

    async def strike_in_part() -> None:
        desk.market.while_asked = None
        await desk.engine.fill(filled(stop, 89, Decimal(1)))

    desk.market.while_asked = strike_in_part
    leaving = await desk.engine.exit(a_received_signal(), reason="X")
    assert (leaving.order.quantity, leaving.order.status) == (1, OrderStatus.NEW)
    await desk.engine.fill(filled(leaving.order, 91))
    entry = await desk.entry("P")
    assert (entry.status, entry.exit_reason, entry.exit_price) == (EntryStatus.CLOSED, "X", 90)


@pytest.mark.parametrize("what", ["cancel", "submit"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_exit_without_an_answer_is_settled(desk: Desk, what: str, when: str) -> None:
    await desk.base(position_id="P")
    faults = getattr(desk.market, when)
    faults[what] = TimeoutError()
    with pytest.raises(OrderInDoubt):
        await desk.engine.exit(a_received_signal(), reason="X")
    faults.clear()
    assert await desk.engine.settle_doubts() == []
    (order,) = [order for order in desk.market.orders.values() if order.extra["step"] == "EXIT"]
    await desk.engine.fill(filled(order, 99))
    assert (await desk.entry("P")).status is EntryStatus.CLOSED
    is_sent_twice = (what, when) == ("submit", "before")
    assert desk.market.kinds("submit")[2:] == ["submit EXIT"] * (1 + is_sent_twice)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_stop_without_an_answer_is_settled(desk: Desk, when: str) -> None:
    faults = getattr(desk.market, when)
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy), terms(position_id="P")
    )
    faults["submit"] = TimeoutError()
    with pytest.raises(OrderInDoubt):
        await desk.engine.fill(filled(outcome.order, 100))
    assert (await desk.entry("P")).lots == 2
    desk.market.before["find"] = TimeoutError()
    with pytest.raises(OrderInDoubt):
        await desk.engine.update_stop("P", Decimal(93))
    faults.clear()
    desk.market.before.clear()
    assert await desk.engine.settle_doubts() == []
    assert (await the_stop(desk)).stop_price == 93
    faults["amend"] = TimeoutError()
    with pytest.raises(OrderInDoubt):
        await desk.engine.update_stop("P", Decimal(95))
    assert (await desk.entry("P")).current_stop == 95
    faults.clear()
    await desk.engine.settle_doubts()
    assert (await the_stop(desk)).stop_price == 95


async def test_an_entry_the_exchange_never_got_is_withdrawn_when_it_is_settled(desk: Desk) -> None:
    desk.market.before["submit"] = TimeoutError()
    with pytest.raises(OrderInDoubt):
        await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms(position_id="P"))
    assert await desk.engine.settle_doubts() == []
    entry = await desk.entry("P")
    assert (entry.status, entry.exit_reason) == (EntryStatus.CLOSED, "ENTRY_CANCELED")
    assert (await desk.stored_pyramid()).base_position_id is None


async def test_what_is_heard_while_it_recovers_follows_after_it(desk: Desk) -> None:
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy), terms(position_id="P")
    )
    engine = desk.engine
    recover = engine._recover

    async def hears_of_a_fill(*arguments: Any, **options: Any) -> Any:
        with pytest.raises(Exception, match="recovering"):
            await desk.base()
        await engine.fill(filled(outcome.order, 100))
        assert (await desk.entry("P")).lots == 0
        return await recover(*arguments, **options)

    engine._recover = hears_of_a_fill
    await engine.recover()
    assert (await desk.entry("P")).lots == 2
    assert (await the_stop(desk)).quantity == 2


async def test_a_rollover_the_exchange_refuses_leaves_the_entry_as_it_was(desk: Desk) -> None:
    await desk.base(position_id="P")
    desk.market.refuses.add("submit")
    desk.market.while_asked = refuse_one_more(desk)
    state = await desk.engine.rollover("P", next_contract())
    assert state.position.rollover_status is RolloverStatus.FAILED
    entry = await desk.entry("P")
    assert (entry.status, entry.lots) == (EntryStatus.OPEN, 2)
    assert (await the_stop(desk)).stop_price == 90
    desk.market.while_asked = None
    state = await desk.engine.rollover("P", next_contract())
    assert state.order.status is OrderStatus.NEW
    await desk.engine.fill(filled(state.order, 101))
    assert (await desk.engine.rollover("P", next_contract())).order.extra["entry"] == "P+1"
    (entered,) = [order for order in desk.market.orders.values() if order.extra["entry"] == "P+1"]
    await desk.engine.fill(filled(entered, 102))
    with pytest.raises(IllegalTransition):
        await desk.engine.rollover("P", next_contract())


async def test_a_rollover_whose_second_half_is_refused_has_failed_and_says_so(desk: Desk) -> None:
    await desk.base(position_id="P")
    state = await desk.engine.rollover("P", next_contract())
    desk.market.refuses.add("submit")
    await desk.engine.fill(filled(state.order, 101))
    old, new = await desk.entry("P"), await desk.entry("P+1")
    assert (old.status, old.rollover_status) == (EntryStatus.CLOSED, RolloverStatus.FAILED)
    assert (new.status, new.exit_reason) == (EntryStatus.CLOSED, "ENTRY_REJECTED")
    assert (await desk.stored_pyramid()).base_position_id is None


async def test_a_stop_that_strikes_amid_a_rollover_ends_it(desk: Desk) -> None:
    await desk.base(position_id="P")
    stop = await the_stop(desk)

    async def strike() -> None:
        desk.market.while_asked = None
        await desk.engine.fill(filled(stop, 89))

    desk.market.while_asked = strike
    desk.market.refuses.add("cancel")
    await desk.engine.rollover("P", next_contract())
    entry = await desk.entry("P")
    assert (entry.status, entry.rollover_status) == (EntryStatus.CLOSED, RolloverStatus.FAILED)
    assert "submit ROLL" not in desk.market.kinds()
    assert (await desk.stored_pyramid()).base_position_id is None


async def test_a_fee_in_base_units_is_not_held_and_not_sold(desk: Desk) -> None:
    pair = "BTC/USD"
    await desk.database.instruments.add(
        an_instrument(trading_pair=pair, base_currency="BTC", kind=InstrumentKind.SPOT)
    )
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy, trading_pair=pair), terms(position_id="P")
    )
    fill = filled(outcome.order, 100)
    fill.commission, fill.commission_asset = Decimal("0.004"), "BTC"
    await desk.engine.fill(fill)
    entry = await desk.entry("P")
    assert (entry.quantity, entry.lots) == (Decimal("1.996"), 1)
    leaving = await desk.engine.exit(a_received_signal(), reason="X")
    assert leaving.order.quantity == Decimal("1.996")
    await desk.engine.fill(filled(leaving.order, 110))
    entry = await desk.entry("P")
    assert (entry.status, entry.realized_pnl) == (EntryStatus.CLOSED, Decimal("19.96"))


async def test_an_exit_has_a_reason_its_column_takes(desk: Desk) -> None:
    for reason in ("", " ", "x" * 65):
        with pytest.raises(InvalidValue, match="reason"):
            await desk.engine.exit(a_received_signal(), reason=reason)


async def test_orders_of_the_bot_s_own_are_left_alone(desk: Desk) -> None:
    order = Order(
        client_order_id="mine",
        strategy_id=desk.strategy.strategy_id,
        exchange=desk.market.exchange,
        trading_pair=PAIR,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        quantity=Decimal(1),
        extra={"step": "mine"},
    )
    await desk.engine.orders.submit(order)
    await desk.engine.fill(filled(order, 100))
    await desk.engine.recover()
    assert desk.engine.positions == {}


async def test_an_exchange_may_tell_of_a_fill_before_it_has_answered(desk: Desk) -> None:
    async def fill_at_once() -> None:
        (what, name), order = desk.market.asked[-1], list(desk.market.orders.values())[-1]
        if what == "submit" and order.order_type is OrderType.MARKET and name == order.client_order_id:
            await desk.engine.fill(filled(order, 100))

    desk.market.once_asked = fill_at_once
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy), terms(position_id="P")
    )
    assert (outcome.order.status, outcome.position.lots) == (OrderStatus.FILLED, 2)
    state = await desk.engine.rollover("P", next_contract())
    assert state.position.rollover_status is RolloverStatus.ROLLED
    assert (await the_stop(desk)).stop_price == 92
    leaving = await desk.engine.exit(a_received_signal(), reason="X")
    assert leaving.position.status is EntryStatus.CLOSED
    assert desk.engine.positions == {}


async def test_a_fill_that_is_faster_than_the_answer_and_names_only_the_exchange_s_id_is_protected(
    desk: Desk,
) -> None:
    async def fill_first() -> None:
        desk.market.once_asked = None
        ((name, order),) = desk.market.orders.items()
        fill = filled(order, 100, Decimal(1))
        fill.client_order_id, fill.exchange_order_id = None, f"OX-{name}"
        assert (await desk.engine.fill(fill)).result is FillResult.UNMATCHED

    desk.market.once_asked = fill_first
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy), terms(position_id="P")
    )
    assert (outcome.order.status, outcome.position.lots) == (OrderStatus.PARTIALLY_FILLED, 1)
    stop = await the_stop(desk)
    assert (stop.stop_price, stop.quantity) == (90, 1)


async def test_a_stop_that_is_filled_while_it_is_placed_closes_its_entry(desk: Desk) -> None:
    async def strike() -> None:
        name, order = list(desk.market.orders.items())[-1]
        if order.order_type is OrderType.STOP_LOSS:
            desk.market.once_asked = None
            fill = filled(order, 89)
            fill.client_order_id, fill.exchange_order_id = None, f"OX-{name}"
            await desk.engine.fill(fill)

    desk.market.once_asked = strike
    await desk.base(position_id="P")
    entry = await desk.entry("P")
    assert (entry.status, entry.exit_reason) == (EntryStatus.CLOSED, "STOP")


async def test_the_second_half_of_a_rollover_that_was_in_doubt_and_is_filled_is_protected(
    desk: Desk,
) -> None:
    await desk.base(position_id="P")
    state = await desk.engine.rollover("P", next_contract())
    desk.market.after["submit"] = TimeoutError()
    with pytest.raises(OrderInDoubt):
        await desk.engine.fill(filled(state.order, 105))
    desk.market.after.clear()
    entering = list(desk.market.orders.values())[-1]
    fill = filled(entering, 106)
    fill.client_order_id, fill.exchange_order_id = None, f"OX-{entering.client_order_id}"
    assert (await desk.engine.fill(fill)).result is FillResult.UNMATCHED
    again = await desk.engine.rollover("P", next_contract())
    assert again.position.rollover_status is RolloverStatus.ROLLED
    assert (await the_stop(desk)).stop_price == 92


@pytest.fixture
async def behind_a_gate(desk: Desk, database_url: URL, tmp_path: Path) -> AsyncIterator[tuple[Desk, Gate]]:
    """A desk whose database can be away, with a journal; that of *desk* is closed meanwhile."""
    await desk.engine.stop()
    async with Gate(database_url) as gate:
        settings = Settings(
            database=DatabaseSettings(
                url=gate.url.render_as_string(hide_password=False),
                migrate_on_open=False,
                retry_timeout_seconds=0.5,
            ),
            journal=JournalSettings(directory=tmp_path, patience_seconds=0.2),
        )
        async with open_database(settings) as db, an_engine(db, desk.market) as engine:
            yield Desk(engine, desk.market, desk.database, desk.strategy), gate
            gate.open()
    await desk.engine.start()


async def test_what_the_journal_took_is_followed_once_it_is_stored_though_nobody_calls(
    behind_a_gate: tuple[Desk, Gate],
) -> None:
    desk, gate = behind_a_gate
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy), terms(3, position_id="P")
    )
    gate.shut()
    fill = filled(outcome.order, 100, Decimal(1))
    assert (await desk.engine.fill(fill)).result is FillResult.JOURNALED
    gate.open()

    async def is_protected() -> bool:
        return "submit STOP" in desk.market.kinds() and (await the_stop(desk)).quantity == 1

    await until(is_protected, "the stop to be placed")
    assert (await desk.entry("P")).lots == 1


async def test_what_is_behind_stays_so_until_following_it_has_succeeded(
    behind_a_gate: tuple[Desk, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, gate = behind_a_gate
    outcome = await desk.engine.base_entry(
        a_received_signal(), a_proposal(desk.strategy), terms(3, position_id="P")
    )
    catching_up = desk.engine._catching_up
    catch_up, tries = catching_up._catch_up, 0

    async def twice_in_vain() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise DatabaseUnavailable("again")
        await catch_up()

    monkeypatch.setattr(catching_up, "_catch_up", twice_in_vain)
    gate.shut()
    await desk.engine.fill(filled(outcome.order, 100, Decimal(1)))
    gate.open()

    async def is_caught_up() -> bool:
        return not catching_up.is_behind

    await until(is_caught_up, "the entry to follow")
    assert tries == 3
    assert (await the_stop(desk)).quantity == 1


async def test_a_stop_while_the_database_is_away_waits_for_what_is_under_way(
    behind_a_gate: tuple[Desk, Gate],
) -> None:
    desk, gate = behind_a_gate
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        asked.set()
        await may_answer.wait()

    desk.market.once_asked = wait
    entering = asyncio.create_task(
        desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms(position_id="P"))
    )
    await asked.wait()
    gate.shut()
    stopping = asyncio.create_task(desk.engine.stop())
    await asyncio.wait({stopping}, timeout=2 * 0.5)
    assert not stopping.done()
    may_answer.set()
    await asyncio.wait({entering})
    with pytest.raises(DatabaseUnavailable):
        await stopping
    assert not desk.engine.is_trading
    gate.open()
    async with desk.database.transaction() as uow:  # it could not be given up
        await uow.session.execute(EXPIRE)
    await desk.engine.start()
    (order,) = desk.market.orders.values()

    async def is_known() -> bool:
        return bool((await desk.database.orders.one(order.id)).status is OrderStatus.NEW)

    await until(is_known, "what the exchange answered to be stored")


async def test_an_entry_follows_what_the_journal_had_to_take(
    desk: Desk, database_url: URL, tmp_path: Path
) -> None:
    await desk.engine.stop()
    async with Gate(database_url) as gate:
        settings = Settings(
            database=DatabaseSettings(
                url=gate.url.render_as_string(hide_password=False), migrate_on_open=False
            ),
            journal=JournalSettings(directory=tmp_path),
        )
        async with open_database(settings) as db, an_engine(db, desk.market) as engine:
            outcome = await engine.base_entry(
                a_received_signal(), a_proposal(desk.strategy), terms(3, position_id="P")
            )
            assert outcome.order is not None
            gate.shut()
            assert (await engine.fill(filled(outcome.order, 100, Decimal(1)))).result is FillResult.JOURNALED
            with pytest.raises(DatabaseUnavailable):
                await engine.exit(a_received_signal(), reason="X")
            gate.open()
            await db.journal.drain()
            await engine.fill(filled(outcome.order, 100, Decimal(1)))
            assert (await desk.entry("P")).lots == 2
            assert (await the_stop(desk)).quantity == 2
    await desk.engine.start()
