"""A position rebuilt in the order its fills happened in."""

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update

from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import (
    CashFlowKind,
    EventLog,
    InstrumentKind,
    Order,
    Position,
    Side,
    new_id,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import BooksDiffer, NotFound
from gal_friday.money import exact
from gal_friday.state.books import PositionBook
from gal_friday.state.ledger import fills_in_venue_order
from gal_friday.state.rebuild import Rebuilding, rebuild
from gal_friday.state.verification import verify
from tests.concurrency import at_once
from tests.factories import MINUTE, NOON, PAIR, a_fill, a_position, a_strategy, an_instrument, an_order

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
POSITIONS = 8

#: Side, quantity, price, and the minute it happened in.
Execution = tuple[Side, str, str, int]


class Desk:
    """A strategy with an order on each side of a pair."""

    def __init__(self, uow: UnitOfWork, orders: dict[Side, Order]) -> None:
        self._uow = uow
        self._orders = orders

    @classmethod
    async def of(cls, uow: UnitOfWork, pair: str = PAIR) -> "Desk":
        strategy = await uow.strategies.add(a_strategy())
        orders = [an_order(strategy, side=side, trading_pair=pair) for side in Side]
        return cls(uow, {order.side: order for order in await uow.orders.add_many(orders)})

    def on(self, uow: UnitOfWork) -> "Desk":
        return Desk(uow, self._orders)

    async def apply(self, executions: Sequence[Execution], **report: Any) -> UUID:
        """*executions* applied in the order given; the position of the last one."""
        for side, quantity, price, minute in executions:
            fill = a_fill(
                self._orders[side],
                quantity_filled=D(quantity),
                fill_price=D(price),
                filled_at=NOON + minute * MINUTE,
                **report,
            )
            outcome = await self._uow.execution.apply_fill(fill)
            assert outcome.result is FillResult.APPLIED, outcome.reason
        assert outcome.position_id is not None
        return outcome.position_id


async def apply(uow: UnitOfWork, executions: Sequence[Execution], pair: str = PAIR) -> UUID:
    return await (await Desk.of(uow, pair)).apply(executions)


async def equity(uow: UnitOfWork) -> Decimal:
    return (await uow.portfolio_states.one(("default", "USD"))).closed_equity


async def in_venue_order(uow: UnitOfWork, position_id: UUID) -> PositionBook:
    book = PositionBook()
    async for fill in fills_in_venue_order(uow.session, position_id):
        book.apply(fill)
    return book


async def rebuilt(uow: UnitOfWork, position_id: UUID) -> Rebuilding:
    """The position rebuilt: what was realised is that of the exchange's order, and everything balances."""
    equity_before = await equity(uow)
    outcome = await rebuild(uow, position_id)
    position = await uow.positions.one(position_id)
    venue = await in_venue_order(uow, position_id)
    assert position.realized_pnl == venue.realized_pnl == outcome.realized_after
    assert position.quantity == venue.quantity
    if position.quantity:  # flat, its side is that of the last fill that was not
        assert position.side is venue.side
    with exact():
        assert abs(position.cost - venue.cost) < D("1e-30"), "a multiplier may not divide the difference"
        booked = outcome.adjustment.amount if outcome.adjustment else D(0)
        assert await equity(uow) == equity_before + booked
    assert (await verify(uow)).differences == []
    return outcome


LONG_PARTLY_EXITED: Sequence[Execution] = [
    (BUY, "1", "100", 1),
    (BUY, "1", "110", 3),
    (SELL, "1", "120", 2),
]


async def test_fills_that_came_late_are_taken_in_the_order_they_happened_in(uow: UnitOfWork) -> None:
    position_id = await apply(uow, LONG_PARTLY_EXITED)
    before = await uow.positions.one(position_id)
    assert (before.realized_pnl, before.cost) == (D(15), D(105))

    outcome = await rebuilt(uow, position_id)
    assert (outcome.realized_before, outcome.realized_after, outcome.fills) == (D(15), D(20), 3)
    after = await uow.positions.one(position_id)
    assert (after.realized_pnl, after.cost, after.entry_price) == (D(20), D(110), D(110))
    assert after.last_applied_seq == 4


async def test_the_difference_is_booked_as_an_adjustment_with_an_event(uow: UnitOfWork) -> None:
    position_id = await apply(uow, LONG_PARTLY_EXITED)
    outcome = await rebuild(uow, position_id, reason="the stream was down")
    (adjustment,) = await uow.cash_flows.of_position(position_id)
    assert outcome.adjustment is adjustment
    assert (adjustment.kind, adjustment.amount, adjustment.currency) == (CashFlowKind.ADJUSTMENT, D(5), "USD")
    assert (adjustment.applied_seq, adjustment.reason) == (4, "the stream was down")
    events = await uow.session.scalars(text("SELECT position FROM event_log ORDER BY position"))
    last = await uow.session.get_one(EventLog, events.all()[-1])
    assert (last.stream, last.stream_version) == (f"position-{position_id}", 4)
    assert last.event_type == "PositionAdjusted"
    assert last.payload == {
        "cash_flow": str(adjustment.id),
        "amount": "5",
        "currency": "USD",
        "reason": "the stream was down",
    }


async def test_a_second_rebuild_finds_nothing(uow: UnitOfWork) -> None:
    position_id = await apply(uow, LONG_PARTLY_EXITED)
    assert (await rebuilt(uow, position_id)).adjustment is not None
    again = await rebuilt(uow, position_id)
    assert again.adjustment is None
    assert again.realized_before == again.realized_after == D(20)
    assert len(await uow.cash_flows.of_position(position_id)) == 1


async def test_fills_and_trades_stay_as_they_are(uow: UnitOfWork) -> None:
    position_id = await apply(uow, LONG_PARTLY_EXITED)
    rows = text(
        "SELECT to_jsonb(fills) AS row FROM fills WHERE position_id = :position"
        " UNION ALL SELECT to_jsonb(trades) FROM trades WHERE position_id = :position"
        " UNION ALL SELECT to_jsonb(orders) FROM orders"
    )
    before = (await uow.session.scalars(rows, {"position": position_id})).all()
    await rebuild(uow, position_id)
    assert (await uow.session.scalars(rows, {"position": position_id})).all() == before


@pytest.mark.parametrize(
    ("executions", "realized", "cost"),
    [
        pytest.param(
            [(SELL, "1", "120", 1), (SELL, "1", "110", 3), (BUY, "1", "100", 2)], "20", "110", id="short"
        ),
        pytest.param(
            # Short first, by the exchange: closed at 90, then long at 95.
            [(BUY, "1", "90", 2), (BUY, "1", "95", 3), (SELL, "1", "100", 1)],
            "10",
            "95",
            id="a short that was never seen",
        ),
        pytest.param(
            # By the exchange it was never long.
            [(BUY, "2", "100", 3), (SELL, "1", "105", 1), (SELL, "2", "110", 2), (SELL, "1", "99", 4)],
            None,
            None,
            id="a long that never was",
        ),
        pytest.param(
            [(BUY, "1", "100", 5), (SELL, "3", "110", 1), (BUY, "1", "90", 3), (SELL, "1", "80", 2)],
            None,
            None,
            id="flip",
        ),
        pytest.param([(BUY, "1", "100", 1), (SELL, "1", "90", 0)], "-10", "0", id="flat"),
        pytest.param(
            [
                (BUY, "3", "0.000000000000000001", 1),
                (BUY, "1", "7", 9),
                (SELL, "1.333333333333333333", "5", 2),
            ],
            None,
            None,
            id="to the last decimal",
        ),
    ],
)
async def test_any_position_is_rebuilt(
    uow: UnitOfWork, executions: Sequence[Execution], realized: str | None, cost: str | None
) -> None:
    position_id = await apply(uow, executions)
    await rebuilt(uow, position_id)
    position = await uow.positions.one(position_id)
    if realized is not None and cost is not None:
        assert (position.realized_pnl, position.cost) == (D(realized), D(cost))
    assert (await rebuilt(uow, position_id)).adjustment is None


async def test_a_contracts_multiplier_counts(uow: UnitOfWork) -> None:
    pair = await a_contract(uow, "10")
    position_id = await apply(uow, LONG_PARTLY_EXITED, pair)
    outcome = await rebuilt(uow, position_id)
    assert (outcome.realized_before, outcome.realized_after) == (D(150), D(200))
    position = await uow.positions.one(position_id)
    # Cost is price × quantity; a difference in profit is a tenth of that in cost.
    assert (position.cost, position.entry_price) == (D(110), D(110))


async def a_contract(uow: UnitOfWork, multiplier: str) -> str:
    instrument = an_instrument(
        trading_pair=f"{new_id().hex[-8:]}/USD",
        base_currency="XYZ",
        settle_currency="USD",
        kind=InstrumentKind.FUTURE,
        contract_multiplier=D(multiplier),
    )
    return (await uow.instruments.add(instrument)).trading_pair


@pytest.mark.parametrize("multiplier", [None, "0.07", "0.333333333333333333", "1000"])
async def test_any_order_of_arrival_leads_to_what_was_realised(
    uow: UnitOfWork, multiplier: str | None
) -> None:
    chance = random.Random(f"{multiplier}")
    pair = PAIR if multiplier is None else await a_contract(uow, multiplier)
    adjusted = 0
    for _ in range(POSITIONS):
        desk = await Desk.of(uow, pair)
        minutes = chance.sample(range(100), 9)
        fills = [
            (
                chance.choice(list(Side)),
                chance.choice(["1", "0.1", "2", "0.333333333333333333"]),
                chance.choice(["100", "99.99", "101.000000000000000001", "0.000000000000000003"]),
                minute,
            )
            for minute in minutes
        ]
        # Trading goes on after a position was adjusted; it may be adjusted again.
        for part in (fills[:5], fills[5:]):
            position_id = await desk.apply(part)
            adjusted += (await rebuilt(uow, position_id)).adjustment is not None
            assert (await rebuilt(uow, position_id)).adjustment is None
    assert adjusted > POSITIONS


async def test_rebuilt_by_several_at_once_it_is_adjusted_once(database: Database) -> None:
    async with database.transaction() as uow:
        position_id = await apply(uow, LONG_PARTLY_EXITED)
    outcomes = await at_once(lambda _: database.retrying(lambda uow: rebuild(uow, position_id)), 8)
    assert sorted(outcome.adjustment is not None for outcome in outcomes) == [*[False] * 7, True]
    async with database.transaction(read_only=True, snapshot=True) as uow:
        assert (await verify(uow)).is_balanced


async def test_fills_applied_meanwhile_wait_for_the_rebuilt_position(database: Database) -> None:
    async with database.transaction() as uow:
        desk = await Desk.of(uow)
        position_id = await desk.apply(LONG_PARTLY_EXITED)
    more: Sequence[Execution] = [(BUY, "1", "130", 4), (SELL, "1", "125", 0)]

    async def either(number: int) -> None:
        if number % 2:
            await database.retrying(lambda uow: rebuild(uow, position_id))
        else:
            execution = more[number // 2 % 2]
            await database.retrying(lambda uow: desk.on(uow).apply([execution]))

    await at_once(either, 12)
    await database.retrying(lambda uow: rebuild(uow, position_id))
    async with database.transaction(read_only=True, snapshot=True) as uow:
        result = await verify(uow)
        position = await uow.positions.one(position_id)
        assert position.realized_pnl == (await in_venue_order(uow, position_id)).realized_pnl
    assert result.differences == []
    assert result.fills == 9


async def test_an_unknown_position_is_told(uow: UnitOfWork) -> None:
    with pytest.raises(NotFound):
        await rebuild(uow, new_id())


async def test_a_position_that_does_not_balance_is_left_alone(uow: UnitOfWork) -> None:
    position_id = await apply(uow, LONG_PARTLY_EXITED)
    await uow.session.execute(update(Position).values(cost=D(1)).execution_options(synchronize_session=False))
    with pytest.raises(BooksDiffer) as caught:
        await rebuild(uow, position_id)
    assert caught.value.facts == {
        "position": position_id,
        "differences": 1,
        "first": "positions.cost",
        "stored": "1",
        "rebuilt": "105",
    }
    assert await uow.cash_flows.of_position(position_id) == []


async def test_a_position_entered_by_hand_has_nothing_to_be_rebuilt_from(uow: UnitOfWork) -> None:
    position = await uow.positions.add(a_position())
    with pytest.raises(BooksDiffer):
        await rebuild(uow, position.id)
