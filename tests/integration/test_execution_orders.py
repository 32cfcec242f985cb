"""Where fills take an order from wherever it stands, and what the exchange said ahead of them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import Order, OrderHistory, OrderStatus, ReportSource, Side, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.books import unbalanced
from tests.factories import MINUTE, NOON, a_strategy
from tests.ledger import a_report, a_stored_order, applied, columns

DUST = Decimal("0.000000000000000001")


@pytest.fixture
async def strategy(uow: UnitOfWork) -> Strategy:
    return await uow.strategies.add(a_strategy())


@pytest.fixture
async def order(uow: UnitOfWork, strategy: Strategy) -> Order:
    return await a_stored_order(uow, strategy)


async def fill(uow: UnitOfWork, order: Order, quantity: Decimal | int = 1, **values: Any) -> Any:
    """Where the order stands after *quantity* more of it was filled."""
    outcome = await applied(uow, a_report(order, quantity_filled=Decimal(quantity), **values))
    assert outcome.order_status is order.status, "the entity is as the server has it"
    return outcome.order_status


async def history(uow: UnitOfWork, order: Order) -> Sequence[OrderHistory]:
    """In the order it was written."""
    return await uow.order_history.find_all(OrderHistory.order_id == order.id, order_by=OrderHistory.id)


async def steps(uow: UnitOfWork, order: Order) -> list[tuple[Any, ...]]:
    return [(row.from_status, row.to_status, row.occurred_at) for row in await history(uow, order)][1:]


@pytest.mark.parametrize("status", ["PENDING_NEW", "NEW", "PARTIALLY_FILLED"])
async def test_fills_take_a_working_order_to_its_end(
    uow: UnitOfWork, strategy: Strategy, status: str
) -> None:
    order = await a_stored_order(uow, strategy, status=status)
    assert await fill(uow, order, filled_at=NOON) is OrderStatus.PARTIALLY_FILLED
    assert await fill(uow, order, filled_at=NOON + MINUTE) is OrderStatus.FILLED
    assert columns(order, "filled_at", "status_at", "canceled_at") == (NOON + MINUTE, NOON + MINUTE, None)
    assert columns(order, "filled_quantity", "remaining_quantity", "overfilled") == (2, 0, False)
    expected = [(status, "PARTIALLY_FILLED", NOON), ("PARTIALLY_FILLED", "FILLED", NOON + MINUTE)]
    assert await steps(uow, order) == [step for step in expected if step[0] != step[1]]


async def test_a_fill_says_in_the_history_where_it_came_from(uow: UnitOfWork, order: Order) -> None:
    await fill(uow, order, 2, fill_id="T1", source=ReportSource.POLL, filled_at=NOON + MINUTE)
    row = (await history(uow, order))[-1]
    assert columns(row, "source", "reason", "occurred_at") == ("POLL", "fill T1", NOON + MINUTE)


async def test_fills_that_come_in_the_wrong_order_add_up(uow: UnitOfWork, order: Order) -> None:
    await fill(uow, order, filled_at=NOON + MINUTE, fill_price=Decimal(110))
    await fill(uow, order, filled_at=NOON, fill_price=Decimal(100))
    assert columns(order, "status", "cost", "average_fill_price") == ("FILLED", 210, 105)


async def test_more_than_was_ordered_is_booked_and_flagged(uow: UnitOfWork, order: Order) -> None:
    assert await fill(uow, order, Decimal("2.5")) is OrderStatus.FILLED
    assert columns(order, "overfilled", "filled_quantity", "remaining_quantity") == (True, Decimal("2.5"), 0)
    assert await fill(uow, order) is OrderStatus.FILLED
    assert order.filled_quantity == Decimal("3.5")
    assert await unbalanced(uow, order.account_id) == []


async def test_all_but_dust_is_not_all(uow: UnitOfWork, order: Order) -> None:
    assert await fill(uow, order, 2 - DUST) is OrderStatus.PARTIALLY_FILLED
    assert order.remaining_quantity == DUST
    assert await fill(uow, order, DUST) is OrderStatus.FILLED
    assert columns(order, "overfilled", "remaining_quantity") == (False, 0)
    assert await unbalanced(uow, order.account_id) == []


async def test_dust_left_of_a_position_keeps_it_open(
    uow: UnitOfWork, order: Order, strategy: Strategy
) -> None:
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    await fill(uow, order, 2)
    await fill(uow, sell, 2 - DUST, fill_price=Decimal(110))
    position = await uow.positions.one(order.position_id)
    assert columns(position, "quantity", "cost", "closed_at") == (DUST, 100 * DUST, None)
    await fill(uow, sell, DUST)
    await uow.session.refresh(position)
    assert columns(position, "quantity", "cost", "is_active") == (0, 0, False)
    assert await unbalanced(uow, order.account_id) == []


async def test_an_order_about_to_be_canceled_stays_so_until_it_is_filled(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    order = await a_stored_order(uow, strategy, status="PENDING_CANCEL")
    assert await fill(uow, order) is OrderStatus.PENDING_CANCEL
    assert await fill(uow, order) is OrderStatus.FILLED


@pytest.mark.parametrize("end", ["CANCELED", "EXPIRED"])
async def test_a_late_fill_completes_an_order_or_leaves_it_at_its_end(
    uow: UnitOfWork, strategy: Strategy, end: str
) -> None:
    order = await a_stored_order(uow, strategy, status=end, status_at=NOON - MINUTE)
    assert await fill(uow, order) == end
    assert columns(order, "filled_quantity", "status_at", "filled_at") == (1, NOON - MINUTE, None)
    assert await steps(uow, order) == []
    assert await fill(uow, order) is OrderStatus.FILLED
    assert await steps(uow, order) == [(end, "FILLED", NOON)]
    assert await unbalanced(uow, order.account_id) == []


async def test_a_rejected_order_stays_rejected_and_its_fill_is_booked(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    order = await a_stored_order(uow, strategy, status="REJECTED")
    assert await fill(uow, order, 2) is OrderStatus.REJECTED
    assert columns(order, "filled_quantity", "overfilled") == (2, False)
    assert (await uow.positions.one(order.position_id)).quantity == 2


async def test_an_order_by_what_it_spends_is_filled_when_the_exchange_says_so(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    order = await a_stored_order(uow, strategy, quantity=None, quote_quantity=Decimal(200))
    assert await fill(uow, order) is OrderStatus.PARTIALLY_FILLED
    assert order.overfilled is None
    order.reported_status, order.reported_filled_quantity = OrderStatus.FILLED, Decimal(2)
    assert await fill(uow, order, Decimal("0.5")) is OrderStatus.PARTIALLY_FILLED
    assert await fill(uow, order, Decimal("0.5")) is OrderStatus.FILLED


async def test_an_order_found_at_the_exchange_is_booked_like_ours(uow: UnitOfWork) -> None:
    order = await a_stored_order(
        uow,
        origin="EXTERNAL",
        quantity=None,
        limit_price=None,
        client_order_id=None,
        strategy_id=None,
        exchange_order_id="OX-1",
    )
    found: dict[str, Any] = {"order_id": None, "exchange_order_id": "OX-1"}
    assert await fill(uow, order, **found) is OrderStatus.PARTIALLY_FILLED
    position = await uow.positions.one(order.position_id)
    assert columns(position, "strategy_id", "quantity") == (None, 1)
    order.reported_status = OrderStatus.FILLED
    assert await fill(uow, order, **found) is OrderStatus.FILLED
    assert await unbalanced(uow, order.account_id) == []


@pytest.mark.parametrize("reported", ["CANCELED", "EXPIRED"])
async def test_an_end_that_was_reported_ahead_of_its_fills_is_reached_with_the_last_of_them(
    uow: UnitOfWork, order: Order, reported: str
) -> None:
    order.reported_status = OrderStatus(reported)
    order.reported_filled_quantity = Decimal("1.5")
    assert await fill(uow, order) is OrderStatus.PARTIALLY_FILLED
    assert await fill(uow, order, Decimal("0.5"), filled_at=NOON + MINUTE) == reported
    assert order.canceled_at == (NOON + MINUTE if reported == "CANCELED" else None)
    assert [step[:2] for step in await steps(uow, order)] == [
        # That the exchange reported it is a line of its own.
        ("PENDING_NEW", "PENDING_NEW"),
        ("PENDING_NEW", "PARTIALLY_FILLED"),
        ("PARTIALLY_FILLED", reported),
    ]


async def test_filled_as_reported_is_filled_though_less_than_ordered(uow: UnitOfWork, order: Order) -> None:
    # The exchange rounds to its lots: what it calls filled may be less than was asked for.
    order.reported_status, order.reported_filled_quantity = OrderStatus.FILLED, Decimal("1.9")
    assert await fill(uow, order) is OrderStatus.PARTIALLY_FILLED
    assert await fill(uow, order, Decimal("0.9")) is OrderStatus.FILLED


async def test_filled_without_a_number_means_all_that_was_ordered(uow: UnitOfWork, order: Order) -> None:
    order.reported_status = OrderStatus.FILLED
    assert await fill(uow, order) is OrderStatus.PARTIALLY_FILLED
    assert await fill(uow, order) is OrderStatus.FILLED


async def test_a_rejection_that_a_fill_contradicts_is_not_followed(uow: UnitOfWork, order: Order) -> None:
    order.reported_status = OrderStatus.REJECTED
    assert await fill(uow, order) is OrderStatus.PARTIALLY_FILLED


async def test_a_repeated_fill_moves_no_order(uow: UnitOfWork, order: Order) -> None:
    report = a_report(order)
    await applied(uow, report)
    order.status = OrderStatus.CANCELED
    outcome: FillOutcome = await uow.execution.apply_fill(report)
    assert (outcome.result, outcome.order_status) == (FillResult.DUPLICATE, OrderStatus.CANCELED)
