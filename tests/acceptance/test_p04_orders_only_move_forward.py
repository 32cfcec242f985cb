"""P04: orders only move forward, whoever writes, and every step is on record."""

import itertools
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update

from gal_friday.dal.models import Order, OrderHistory, OrderStatus, ReportSource, new_id
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import IllegalTransition, InvalidReference, InvalidValue, NotFound
from tests.factories import MINUTE, NOON, a_strategy, an_order

EVERY_STEP = [
    pytest.param(source, target, id=f"{source}>{target}")
    for source, target in itertools.permutations(OrderStatus, 2)
]
AT_ITS_END = [OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.EXPIRED]
MOVE = text("UPDATE orders SET status = :status WHERE id = :id")
AMEND = text("UPDATE orders SET limit_price = 49000.5, quantity = NULL, quote_quantity = 100 WHERE id = :id")


async def an_order_that_is(uow: UnitOfWork, status: OrderStatus, **values: Any) -> Order:
    return await uow.orders.add(an_order(await uow.strategies.add(a_strategy()), status=status, **values))


async def history(uow: UnitOfWork, order: Order | UUID) -> Sequence[OrderHistory]:
    return await uow.order_history.of_order(order if isinstance(order, UUID) else order.id)


@pytest.mark.parametrize(("source", "target"), EVERY_STEP)
async def test_the_database_lets_an_order_take_the_steps_of_the_table_and_no_others(
    uow: UnitOfWork, source: OrderStatus, target: OrderStatus
) -> None:
    order = await an_order_that_is(uow, source)
    if target in ORDER_TRANSITIONS[source]:
        await uow.session.execute(MOVE, {"id": order.id, "status": target})
        await uow.session.refresh(order)
        assert order.status is target
        return
    with pytest.raises(IllegalTransition) as caught:
        async with uow.savepoint():
            await uow.session.execute(MOVE, {"id": order.id, "status": target})
    facts = caught.value.facts
    assert (facts["table"], facts["order"], facts["source"], facts["target"]) == (
        "orders",
        order.id,
        source,
        target,
    )
    assert [row.to_status for row in await history(uow, order)] == [source]


def test_the_table_in_the_documentation_is_the_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "orders.md").read_text(encoding="utf-8")
    documented: dict[OrderStatus, set[OrderStatus]] = {}
    for line in page.partition("## The table of steps")[2].splitlines():
        names = [re.findall(r"[A-Z_]{3,}", cell) for cell in line.split("|")[1:3]]
        for source in names[0] if names else []:
            reached = set(OrderStatus) - {source} if "any other" in line else set(names[1])
            documented[OrderStatus(source)] = {OrderStatus(each) for each in reached}
    assert documented == ORDER_TRANSITIONS


async def test_a_step_through_the_orm_is_refused_in_the_same_words(uow: UnitOfWork) -> None:
    order = await an_order_that_is(uow, OrderStatus.FILLED)
    with pytest.raises(IllegalTransition) as by_repository:
        await uow.orders.transition(order.id, OrderStatus.NEW)
    order.status = OrderStatus.NEW
    with pytest.raises(IllegalTransition) as by_database:
        await uow.orders.update(order)
    for name in ("order", "source", "target"):
        assert by_repository.value.facts[name] == by_database.value.facts[name]


@pytest.mark.parametrize("status", OrderStatus)
async def test_an_order_is_amended_while_it_works_and_not_after(uow: UnitOfWork, status: OrderStatus) -> None:
    order = await an_order_that_is(uow, status)
    if status in AT_ITS_END:
        with pytest.raises(IllegalTransition, match="not amended"):
            async with uow.savepoint():
                await uow.session.execute(AMEND, {"id": order.id})
        return
    await uow.session.execute(AMEND, {"id": order.id})
    amendment = (await history(uow, order))[-1]
    assert amendment.changes == {
        "limit_price": {"old": "50000", "new": "49000.5"},
        "quantity": {"old": "2", "new": None},
        "quote_quantity": {"old": None, "new": "100"},
    }
    assert (amendment.from_status, amendment.to_status) == (status, status)


@pytest.mark.parametrize("end", [OrderStatus.CANCELED, OrderStatus.EXPIRED])
async def test_a_late_fill_completes_an_order_that_had_ended(uow: UnitOfWork, end: OrderStatus) -> None:
    order = await an_order_that_is(uow, end, status_at=NOON - MINUTE)
    await uow.orders.transition(
        order.id, OrderStatus.FILLED, at=NOON, filled_quantity=Decimal(2), cost=Decimal(100_000)
    )
    assert [(row.from_status, row.to_status) for row in await history(uow, order)][-1] == (
        end,
        OrderStatus.FILLED,
    )


async def test_each_step_is_in_the_history_with_its_time_and_source(uow: UnitOfWork) -> None:
    order = await an_order_that_is(uow, OrderStatus.PENDING_NEW, status_at=NOON)
    await uow.orders.transition(order.id, OrderStatus.NEW, at=NOON)
    await uow.orders.transition(order.id, OrderStatus.PARTIALLY_FILLED, at=NOON + MINUTE)
    async with uow.recorded_as(source=ReportSource.RECONCILE, reason="found gone", at=NOON + 2 * MINUTE):
        order.status = OrderStatus.CANCELED
    assert order.quantity is not None
    await uow.orders.transition(
        order.id,
        OrderStatus.FILLED,
        at=NOON + 3 * MINUTE,
        filled_quantity=order.quantity,
        cost=order.quantity * 100,
    )
    steps = [
        (row.from_status, row.to_status, row.occurred_at, row.source, row.reason)
        for row in await history(uow, order)
    ]
    assert steps == [
        (None, "PENDING_NEW", NOON, "ENGINE", None),
        ("PENDING_NEW", "NEW", NOON, "ENGINE", None),
        ("NEW", "PARTIALLY_FILLED", NOON + MINUTE, "ENGINE", None),
        ("PARTIALLY_FILLED", "CANCELED", NOON + 2 * MINUTE, "RECONCILE", "found gone"),
        ("CANCELED", "FILLED", NOON + 3 * MINUTE, "ENGINE", None),
    ]
    assert order.status_at == NOON + 3 * MINUTE


async def test_a_step_without_a_time_is_dated_by_the_servers_clock(uow: UnitOfWork) -> None:
    order = await an_order_that_is(uow, OrderStatus.PENDING_NEW, status_at=NOON)
    before = await uow.session.scalar(select(func.clock_timestamp()))
    await uow.session.execute(MOVE, {"id": order.id, "status": "NEW"})
    await uow.session.refresh(order)
    assert before is not None
    assert before < order.status_at
    assert (await history(uow, order))[-1].occurred_at == order.status_at


async def test_what_changes_nothing_of_these_is_not_in_the_history(uow: UnitOfWork) -> None:
    order = await an_order_that_is(uow, OrderStatus.NEW)
    order.extra = {"note": "x"}
    order.limit_price = Decimal("50000.0")
    await uow.orders.update(order)
    await uow.session.execute(MOVE, {"id": order.id, "status": "NEW"})
    assert len(await history(uow, order)) == 1


async def test_by_hand_is_the_source_of_what_no_unit_of_work_did(database: Database) -> None:
    order = an_order(await database.strategies.add(a_strategy()))
    async with database.transaction(source=ReportSource.POLL) as uow:
        await uow.orders.add(order)
    async with database.pool.sessionmaker() as session:
        await session.execute(update(Order).values(status=OrderStatus.NEW))
        await session.commit()
    rows = await database.order_history.of_order(order.id)
    assert [row.source for row in rows] == [ReportSource.POLL, ReportSource.MANUAL]


async def test_an_order_that_has_a_history_is_not_deleted(owner_uow: UnitOfWork) -> None:
    order = await an_order_that_is(owner_uow, OrderStatus.NEW)
    with pytest.raises(InvalidReference):
        async with owner_uow.savepoint():
            await owner_uow.orders.delete(order)


async def test_a_report_that_outruns_its_fills_is_kept_and_moves_nothing_by_itself(uow: UnitOfWork) -> None:
    order = await an_order_that_is(uow, OrderStatus.NEW)
    raw = {"status": "closed", "price": Decimal("1.10")}
    outcome = await uow.orders.record_report(order.id, OrderStatus.FILLED, at=NOON, raw=raw)
    assert (outcome.applied, outcome.moved) == (True, False)
    assert (order.status, order.reported_status) == (OrderStatus.NEW, OrderStatus.FILLED)
    report = next(row for row in await history(uow, order) if row.reported_status)
    assert report.applied
    assert (report.reported_status, report.occurred_at, report.source) == ("FILLED", NOON, "STREAM")
    assert report.raw == {"status": "closed", "price": "1.10"}


@pytest.mark.parametrize("end", AT_ITS_END)
async def test_a_report_that_comes_too_late_is_recorded_and_changes_nothing(
    uow: UnitOfWork, end: OrderStatus
) -> None:
    order = await an_order_that_is(uow, end)
    version = order.row_version
    for late in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.PENDING_CANCEL):
        outcome = await uow.orders.record_report(
            order.id, late, at=NOON, source=ReportSource.POLL, raw={"late": True}
        )
        assert (outcome.applied, outcome.moved) == (False, False)
    await uow.session.refresh(order)
    assert (order.status, order.reported_status, order.row_version) == (end, None, version)
    late_rows = [row for row in await history(uow, order) if not row.applied]
    assert {(row.from_status, row.to_status, row.source) for row in late_rows} == {(end, end, "POLL")}
    assert [row.raw for row in late_rows] == [{"late": True}] * 3


async def test_a_repeated_report_is_recorded_once_more_and_changes_nothing(uow: UnitOfWork) -> None:
    order = await an_order_that_is(uow, OrderStatus.NEW)
    outcomes = [await uow.orders.record_report(order.id, OrderStatus.CANCELED, at=NOON) for _ in range(3)]
    assert [(each.applied, each.moved) for each in outcomes] == [(True, True), (False, False), (False, False)]
    assert [row.applied for row in await history(uow, order) if row.reported_status] == [True, False, False]


async def test_a_report_does_not_lose_what_was_changed_before_it(uow: UnitOfWork) -> None:
    order = await an_order_that_is(uow, OrderStatus.NEW)
    order.error_message = "slow"
    await uow.orders.record_report(order.id, OrderStatus.NEW, at=NOON)
    await uow.session.refresh(order)
    assert (order.error_message, order.reported_status) == ("slow", OrderStatus.NEW)


async def test_a_report_is_of_an_order_that_is_there_and_at_a_time_that_is_one(uow: UnitOfWork) -> None:
    with pytest.raises(NotFound):
        await uow.orders.record_report(new_id(), OrderStatus.NEW, at=NOON)
    order = await an_order_that_is(uow, OrderStatus.NEW)
    with pytest.raises(InvalidValue):
        await uow.orders.record_report(order.id, OrderStatus.NEW, at=datetime(2026, 1, 1))  # noqa: DTZ001 -- on purpose


async def test_ids_the_server_makes_are_uuid7_in_the_order_they_were_made(uow: UnitOfWork) -> None:
    made = select(func.new_id()).select_from(func.generate_series(1, 1_000))
    ids = [UUID(str(each)) for each in await uow.session.scalars(made)]
    assert {(each.version, each.variant) for each in ids} == {(7, "specified in RFC 4122")}
    moments = [each.int >> 64 for each in ids]  # time, to a quarter of a microsecond, and the version
    assert moments == sorted(moments)
    age = datetime.now(UTC) - datetime.fromtimestamp((ids[-1].int >> 80) / 1000, UTC)
    assert abs(age) < timedelta(minutes=5)
