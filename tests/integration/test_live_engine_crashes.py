"""A LiveTradingEngine that ends anywhere: each operation is whole or not at all, and the next one goes on.

What is stored changes with a COMMIT and what the exchange knows with a request, so that to end before each
of them, and after each request, is to end anywhere.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event

from gal_friday.dal.models import EntryStatus, Order, RolloverStatus
from gal_friday.database import Database
from gal_friday.errors import DatabaseUnavailable, OrderInDoubt
from tests.live import (
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


class End(BaseException):
    """The process ends here."""


@dataclass
class Moments:
    """Counts what is about to happen, and lets the one of number *at* not happen.

    A connection ends with its process: what was not committed over it is undone.
    """

    at: int
    cuts: bool = False
    seen: int = 0

    def next(self, connection: Any = None) -> None:
        self.seen += 1
        if self.seen - 1 == self.at:
            if connection is not None:
                connection.connection.driver_connection.terminate()
            if not self.cuts:
                raise End

    @property
    def are_over(self) -> bool:
        return self.seen <= self.at


@contextmanager
def ending_at(number: int, desk: Desk) -> Iterator[Moments]:
    """A block that ends before its commit, or before or after its request, of this number."""
    moments = Moments(number)
    engine = desk.database.pool.engine.sync_engine

    async def asking() -> None:
        moments.next()

    event.listen(engine, "commit", moments.next)
    desk.market.while_asked = desk.market.once_asked = asking
    try:
        yield moments
    finally:
        event.remove(engine, "commit", moments.next)
        desk.market.while_asked = desk.market.once_asked = None


@contextmanager
def cut_at(number: int, desk: Desk) -> Iterator[Moments]:
    """A block whose statement of this number finds its connection cut."""
    moments = Moments(number, cuts=True)
    engine = desk.database.pool.engine.sync_engine

    def executing(connection: Any, *_: Any) -> None:
        moments.next(connection)

    event.listen(engine, "before_cursor_execute", executing)
    try:
        yield moments
    finally:
        event.remove(engine, "before_cursor_execute", executing)


@pytest.fixture
async def desk(database: Database) -> Desk:
    """Its engine is made anew whenever a process ended."""
    market = Market()
    return Desk(an_engine(database, market), market, database, await a_traded_strategy(database))


async def the_next_process(desk: Desk) -> Desk:
    """What comes after an engine that ended, its lease expired."""
    if desk.engine.certificate is not None:
        await desk.engine._leadership.give_up()
    engine = an_engine(desk.database, desk.market)
    await engine.start()
    return Desk(engine, desk.market, desk.database, desk.strategy)


def sent(desk: Desk, step: str, position_id: str) -> list[Order]:
    """Orders the exchange was sent for this step of an entry."""
    return [
        order
        for order in desk.market.orders.values()
        if (order.extra["step"], order.extra["entry"]) == (step, position_id)
    ]


Run = Callable[[Desk, str], Awaitable[None]]


async def to_its_end(desk: Desk, prepare: Run, act: Run, check: Run) -> int:
    """*act* in an instrument of its own for each moment it can end at, then gone on with; how many.

    *act* is done again by the next process, as a sender repeats a signal and an exchange its fills.
    """
    for number in range(1_000):
        instrument = f"I{number}"
        desk = await the_next_process(desk)
        await prepare(desk, instrument)
        with ending_at(number, desk) as moments, suppress(End):
            await act(desk, instrument)
        await whole_or_not_at_all(desk, instrument)
        desk = await the_next_process(desk)
        await act(desk, instrument)
        await check(desk, instrument)
        await desk.check_memory()
        if moments.are_over:
            await desk.engine.stop()
            return number
    raise AssertionError("it never ends")


async def whole_or_not_at_all(desk: Desk, instrument: str) -> None:
    """Of each signal that was taken everything is there, of the others nothing."""
    async with desk.database.transaction(read_only=True) as uow:
        for entry in await uow.signal_log.find_all():
            if entry.instrument != instrument or entry.signal_type != "BASE_ENTRY":
                continue
            assert entry.signal_id is not None
            (order,) = await uow.orders.get_orders_by_signal(entry.signal_id)
            assert len(await uow.risk_decisions.of_signal(entry.signal_id)) == 1
            position = await uow.portfolio_positions.one(("default", order.extra["entry"]))
            assert position.instrument == instrument
            assert await uow.pyramiding_states.get(("default", instrument)) is not None
        claimed = await uow.signal_log.count()
        assert await uow.signals.count() == await uow.risk_decisions.count() <= claimed


async def nothing(desk: Desk, instrument: str) -> None:
    """No preparation."""


def signals_of(kind: str) -> Callable[[str], Any]:
    """One signal of this kind for each instrument, however often it is asked for."""
    made: dict[str, Any] = {}
    return lambda instrument: made.setdefault(instrument, a_received_signal(kind, instrument=instrument))


async def a_held_base(desk: Desk, instrument: str) -> None:
    outcome = await desk.engine.base_entry(
        a_received_signal(instrument=instrument),
        a_proposal(desk.strategy),
        terms(position_id=f"P{instrument}"),
    )
    await desk.engine.fill(filled(outcome.order, 100))


async def test_a_base_entry(desk: Desk) -> None:
    received = signals_of("BASE_ENTRY")

    async def act(desk: Desk, instrument: str) -> None:
        await desk.engine.base_entry(
            received(instrument), a_proposal(desk.strategy), terms(position_id=f"P{instrument}")
        )

    async def check(desk: Desk, instrument: str) -> None:
        entry = await desk.entry(f"P{instrument}")
        orders = sent(desk, "ENTER", f"P{instrument}")
        if entry.status is EntryStatus.CLOSED:
            assert (entry.exit_reason, orders) == ("ENTRY_CANCELED", [])
        else:
            (order,) = orders
            await desk.engine.fill(filled(order, 100))
            assert (await desk.entry(f"P{instrument}")).lots == 2

    assert await to_its_end(desk, nothing, act, check) >= 4


async def test_a_base_entry_whose_connection_is_cut_anywhere(desk: Desk) -> None:
    desk = await the_next_process(desk)
    for number in range(1_000):
        name = f"PI{number}"
        received = a_received_signal(instrument=f"I{number}")
        asked = (a_proposal(desk.strategy), terms(position_id=name))
        with cut_at(number, desk) as moments, suppress(DatabaseUnavailable, OrderInDoubt):
            await desk.engine.base_entry(received, *asked)
        await whole_or_not_at_all(desk, f"I{number}")
        await desk.engine.settle_doubts()
        await desk.engine.base_entry(received, *asked)
        (order,) = sent(desk, "ENTER", name)
        assert (await desk.database.orders.one(order.id)).status == "NEW"
        await desk.check_memory()
        if moments.are_over:
            break
    assert number > 12, "there are places enough to be cut at"
    await desk.engine.stop()


async def test_a_fill(desk: Desk) -> None:
    fills: dict[str, Any] = {}

    async def an_entry(desk: Desk, instrument: str) -> None:
        outcome = await desk.engine.base_entry(
            a_received_signal(instrument=instrument),
            a_proposal(desk.strategy),
            terms(position_id=f"P{instrument}"),
        )
        fills[instrument] = filled(outcome.order, 100), outcome.order

    async def act(desk: Desk, instrument: str) -> None:
        fill, order = fills[instrument]
        again = filled(order, 100)
        again.fill_id = fill.fill_id
        await desk.engine.fill(again)

    async def check(desk: Desk, instrument: str) -> None:
        assert (await desk.entry(f"P{instrument}")).lots == 2
        (stop,) = sent(desk, "STOP", f"P{instrument}")
        assert (await desk.database.orders.one(stop.id)).status == "NEW"

    assert await to_its_end(desk, an_entry, act, check) >= 6


async def test_an_exit(desk: Desk) -> None:
    received = signals_of("EXIT")

    async def act(desk: Desk, instrument: str) -> None:
        await desk.engine.exit(received(instrument), reason="TREND_OVER")

    async def check(desk: Desk, instrument: str) -> None:
        (order,) = sent(desk, "EXIT", f"P{instrument}")
        (stop,) = sent(desk, "STOP", f"P{instrument}")
        assert (await desk.database.orders.one(stop.id)).status == "CANCELED"
        await desk.engine.fill(filled(order, 120))
        entry = await desk.entry(f"P{instrument}")
        assert (entry.status, entry.exit_reason) == (EntryStatus.CLOSED, "TREND_OVER")
        assert desk.engine.pyramids[instrument].base_position_id is None

    assert await to_its_end(desk, a_held_base, act, check) >= 8


async def test_a_stop(desk: Desk) -> None:
    async def act(desk: Desk, instrument: str) -> None:
        await desk.engine.update_stop(f"P{instrument}", Decimal(95))

    async def check(desk: Desk, instrument: str) -> None:
        assert (await desk.entry(f"P{instrument}")).current_stop == 95
        (stop,) = sent(desk, "STOP", f"P{instrument}")
        assert (await desk.database.orders.one(stop.id)).stop_price == 95

    assert await to_its_end(desk, a_held_base, act, check) >= 4


async def test_a_rollover(desk: Desk) -> None:
    fills: dict[str, Any] = {}

    async def fill_once(desk: Desk, order: Order, price: int) -> None:
        fill = filled(order, price)
        fill.fill_id = fills.setdefault(str(order.client_order_id), fill.fill_id)
        await desk.engine.fill(fill)

    async def act(desk: Desk, instrument: str) -> None:
        entry = await desk.entry(f"P{instrument}")
        if entry.rollover_status is not RolloverStatus.ROLLED:
            if entry.status is not EntryStatus.CLOSED:
                await desk.engine.rollover(f"P{instrument}", next_contract())
            (left,) = sent(desk, "ROLL", f"P{instrument}")
            await fill_once(desk, left, 105)
        (entered,) = sent(desk, "ENTER", f"P{instrument}+1")
        await fill_once(desk, entered, 106)

    async def check(desk: Desk, instrument: str) -> None:
        old, new = await desk.entry(f"P{instrument}"), await desk.entry(f"P{instrument}+1")
        assert (old.status, old.rollover_status) == (EntryStatus.CLOSED, RolloverStatus.ROLLED)
        assert (new.lots, new.rolled_from_position_id) == (2, old.position_id)
        assert len(sent(desk, "ROLL", old.position_id)) == len(sent(desk, "ENTER", new.position_id)) == 1
        (stop,) = sent(desk, "STOP", new.position_id)
        assert stop.stop_price == 92
        assert desk.engine.pyramids[instrument].base_position_id == new.position_id

    assert await to_its_end(desk, a_held_base, act, check) >= 20
