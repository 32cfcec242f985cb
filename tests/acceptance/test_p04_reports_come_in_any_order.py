"""P04: whatever order the exchange's reports and fills come in, an order ends where they lead in theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import Order, OrderHistory, OrderStatus, Strategy, new_id
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS
from gal_friday.dal.repositories.order_reports import ReportOutcome
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidValue
from tests.factories import MINUTE, NOON, a_fill, a_strategy, an_order

NEW, PARTIALLY_FILLED, FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
PENDING_NEW, PENDING_CANCEL = OrderStatus.PENDING_NEW, OrderStatus.PENDING_CANCEL
CANCELED, EXPIRED, REJECTED = OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED

ONE, TWO = Decimal(1), Decimal(2)


@dataclass(frozen=True)
class Report:
    """The exchange's word on an order, *minute* minutes after noon."""

    minute: int
    status: OrderStatus
    filled_quantity: Decimal | None = None


@dataclass(frozen=True)
class Execution:
    """A fill, *minute* minutes after noon."""

    minute: int
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True)
class Story:
    """What happened to an order at the exchange, in its order there, and where it ends."""

    quantity: Decimal | None
    events: tuple[Report | Execution, ...]
    says_how_much: bool
    end: OrderStatus

    @property
    def executions(self) -> Sequence[Execution]:
        return [event for event in self.events if isinstance(event, Execution)]

    def is_premature(self, order: Order) -> bool:
        """Whether the order is at an end although fills are missing that were spoken of."""
        complete = order.filled_quantity == sum((each.quantity for each in self.executions), Decimal(0))
        is_spoken_of = self.says_how_much or (order.status is FILLED and self.quantity is not None)
        return order.status in {FILLED, CANCELED, EXPIRED} and is_spoken_of and not complete


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """An order by quantity or by cost; fills with or without reports; an end of any kind, or none yet."""
    quantities = draw(
        st.lists(st.integers(1, 10**9).map(lambda units: Decimal(units).scaleb(-6)), max_size=4)
    )
    filled = sum(quantities, Decimal(0))
    events: list[Report | Execution] = []
    says_how_much = draw(st.booleans())
    if draw(st.booleans()):
        events.append(Report(len(events), NEW))
    for quantity, so_far in zip(quantities, accumulate(quantities), strict=True):
        events.append(Execution(len(events), quantity, draw(st.integers(1, 10**12).map(Decimal))))
        if so_far < filled and draw(st.booleans()):
            events.append(Report(len(events), PARTIALLY_FILLED, so_far if says_how_much else None))
    last = draw(st.sampled_from([None, CANCELED, EXPIRED, *([FILLED] if filled else [])]))
    if last in {None, CANCELED} and draw(st.booleans()):
        events.append(Report(len(events), PENDING_CANCEL))
    if last is not None:
        events.append(Report(len(events), last, filled if says_how_much else None))
    # A FILLED report with its figure may be of less than was ordered; one without it may not.
    may_be_less = last is not FILLED or says_how_much
    surplus = draw(st.integers(0, 10**6).map(Decimal)) if may_be_less else Decimal(0)
    ordered: Decimal | None = draw(st.sampled_from([filled + surplus, None])) or None
    if last is FILLED or (ordered is not None and filled >= ordered):
        end = FILLED
    elif last is not None:
        end = last
    elif any(isinstance(event, Report) and event.status is PENDING_CANCEL for event in events):
        end = PENDING_CANCEL
    else:
        end = PARTIALLY_FILLED if filled else NEW if events else PENDING_NEW
    return Story(ordered, tuple(events), says_how_much, end)


@st.composite
def told(draw: st.DrawFn) -> tuple[Story, Sequence[Report | Execution]]:
    """A story, and what we hear of it: every event at least once, in whatever order."""
    story = draw(stories())
    repeated = draw(st.lists(st.sampled_from(story.events), max_size=4)) if story.events else []
    return story, draw(st.permutations([*story.events, *repeated]))


async def a_new_order(uow: UnitOfWork, **values: Any) -> Order:
    return await uow.orders.add(an_order(await uow.strategies.add(a_strategy()), **values))


async def report(uow: UnitOfWork, order: Order, said: Report) -> ReportOutcome:
    return await uow.orders.record_report(
        order.id, said.status, at=NOON + said.minute * MINUTE, filled_quantity=said.filled_quantity
    )


async def fill(uow: UnitOfWork, order: Order, execution: Execution) -> FillResult:
    outcome = await uow.execution.apply_fill(
        a_fill(
            order,
            fill_id=f"{execution.minute}",
            quantity_filled=execution.quantity,
            fill_price=execution.price,
            filled_at=NOON + execution.minute * MINUTE,
        )
    )
    return outcome.result


async def heard(uow: UnitOfWork, order: Order, events: Sequence[Report | Execution]) -> None:
    for event in events:
        if isinstance(event, Report):
            await report(uow, order, event)
        else:
            assert await fill(uow, order, event) in {FillResult.APPLIED, FillResult.DUPLICATE}


async def steps(uow: UnitOfWork, order: Order) -> Sequence[OrderHistory]:
    """The order's history in the order it was written."""
    return sorted(await uow.order_history.of_order(order.id), key=lambda row: row.id)


@settings(
    max_examples=80,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(what=told())
async def test_reports_and_fills_in_any_order_and_number_lead_to_the_same_end(
    uow: UnitOfWork, what: tuple[Story, Sequence[Report | Execution]]
) -> None:
    story, events = what
    by_cost = {"quote_quantity": Decimal(100)} if story.quantity is None else {}
    order = await a_new_order(uow, quantity=story.quantity, **by_cost)
    for event in events:
        await heard(uow, order, [event])
        assert not story.is_premature(order)

    filled = sum((each.quantity for each in story.executions), Decimal(0))
    cost = sum((each.quantity * each.price for each in story.executions), Decimal(0))
    assert (order.status, order.filled_quantity, order.cost) == (story.end, filled, cost)
    rows = await steps(uow, order)
    reports = sum(isinstance(event, Report) for event in events)
    moved_by_fills = [row for row in rows if row.reason is not None]
    assert len(rows) == 1 + reports + len(moved_by_fills), "each report is on record once"
    path = [row for row in rows if row.from_status is not row.to_status]
    for before, after in pairwise(path):
        assert (before.to_status, after.to_status in ORDER_TRANSITIONS[before.to_status]) == (
            after.from_status,
            True,
        )
        if before.to_status in {CANCELED, EXPIRED, FILLED, REJECTED}:
            assert after.to_status is FILLED, "an order at its end moves by a late fill only"
    assert path[-1].to_status is order.status


@pytest.mark.parametrize("said", [None, TWO])
async def test_an_order_said_to_be_filled_is_so_once_its_fills_are_there(
    uow: UnitOfWork, said: Decimal | None
) -> None:
    order = await a_new_order(uow)
    outcome = await report(uow, order, Report(3, FILLED, said))
    assert (outcome.applied, outcome.order.status, outcome.order.reported_status) == (True, NEW, FILLED)
    await fill(uow, order, Execution(1, ONE, ONE))
    assert order.status is PARTIALLY_FILLED
    await fill(uow, order, Execution(2, ONE, ONE))
    assert (order.status, order.filled_at) == (FILLED, NOON + 2 * MINUTE)


@pytest.mark.parametrize("figure", [None, Decimal(0)])
async def test_an_order_said_to_be_filled_is_so_with_all_that_was_ordered(
    uow: UnitOfWork, figure: Decimal | None
) -> None:
    order = await a_new_order(uow)
    said = [Report(1, PARTIALLY_FILLED, ONE), Report(2, FILLED, figure)]
    await heard(uow, order, [*said, Execution(1, ONE, ONE)])
    assert order.status is PARTIALLY_FILLED
    await fill(uow, order, Execution(2, ONE, ONE))
    assert order.status is FILLED


async def test_an_order_said_to_be_filled_with_less_than_was_ordered_is_filled(uow: UnitOfWork) -> None:
    order = await a_new_order(uow)
    await fill(uow, order, Execution(1, Decimal("1.999"), ONE))
    assert not (await report(uow, order, Report(2, FILLED))).moved
    assert (await report(uow, order, Report(3, FILLED, Decimal("1.999")))).moved
    assert (order.status, order.filled_at) == (FILLED, NOON + 3 * MINUTE)


async def test_a_canceled_order_is_so_once_the_fills_before_it_are_there(uow: UnitOfWork) -> None:
    order = await a_new_order(uow, status=NEW)
    assert not (await report(uow, order, Report(5, CANCELED, ONE))).moved
    assert (order.status, order.canceled_at) == (NEW, NOON + 5 * MINUTE)
    await fill(uow, order, Execution(1, ONE, ONE))
    assert (order.status, order.canceled_at) == (CANCELED, NOON + 5 * MINUTE)


@pytest.mark.parametrize("end", [CANCELED, EXPIRED])
async def test_a_late_fill_counts_and_completes_an_order_at_its_end(
    uow: UnitOfWork, end: OrderStatus
) -> None:
    order = await a_new_order(uow)
    assert (await report(uow, order, Report(5, end))).moved
    await fill(uow, order, Execution(1, ONE, ONE))
    assert (order.status, order.filled_quantity) == (end, ONE)
    await fill(uow, order, Execution(2, ONE, ONE))
    assert (order.status, order.filled_quantity) == (FILLED, TWO)


async def test_an_order_by_cost_is_filled_when_the_exchange_says_so(uow: UnitOfWork) -> None:
    order = await a_new_order(uow, quantity=None, quote_quantity=Decimal(100))
    await fill(uow, order, Execution(1, ONE, Decimal(40)))
    await fill(uow, order, Execution(2, ONE, Decimal(60)))
    assert (order.status, order.cost) == (PARTIALLY_FILLED, Decimal(100))
    assert (await report(uow, order, Report(3, FILLED, TWO))).moved
    assert order.status is FILLED


async def test_what_is_left_of_an_immediate_order_expires(uow: UnitOfWork) -> None:
    order = await a_new_order(uow, time_in_force="IOC")
    await heard(uow, order, [Report(0, EXPIRED, ONE), Execution(0, ONE, ONE), Report(0, NEW)])
    assert (order.status, order.filled_quantity, order.remaining_quantity) == (EXPIRED, ONE, ONE)


async def test_a_fill_of_a_rejected_order_counts_and_it_stays_rejected(uow: UnitOfWork) -> None:
    order = await a_new_order(uow)
    outcome = await uow.orders.record_report(order.id, REJECTED, at=NOON, reason="insufficient funds")
    assert (outcome.moved, order.error_message) == (True, "insufficient funds")
    await fill(uow, order, Execution(1, TWO, ONE))
    assert (order.status, order.filled_quantity) == (REJECTED, TWO)


async def test_an_order_that_has_fills_is_not_rejected_any_more(uow: UnitOfWork) -> None:
    order = await a_new_order(uow, status=PENDING_CANCEL, status_at=NOON)
    await fill(uow, order, Execution(1, ONE, ONE))
    assert not (await report(uow, order, Report(2, REJECTED))).applied
    assert (order.status, order.reported_status) == (PENDING_CANCEL, None)


@pytest.mark.parametrize(("fills", "works_on"), [([], NEW), ([Execution(1, ONE, ONE)], PARTIALLY_FILLED)])
@pytest.mark.parametrize("said", [NEW, PARTIALLY_FILLED])
async def test_a_refused_cancel_lets_the_order_work_on(
    uow: UnitOfWork, said: OrderStatus, fills: list[Execution], works_on: OrderStatus
) -> None:
    order = await a_new_order(uow)
    await report(uow, order, Report(0, NEW))
    await heard(uow, order, fills)
    await uow.orders.transition(order.id, PENDING_CANCEL, at=NOON + 5 * MINUTE)
    for overtaken in (4, 5):
        assert not (await report(uow, order, Report(overtaken, said))).applied
    assert (await report(uow, order, Report(6, said))).moved
    assert order.status is works_on
    await uow.orders.transition(order.id, PENDING_CANCEL, at=NOON + 7 * MINUTE)
    assert (await report(uow, order, Report(8, said))).moved, "a further cancel is refused in the same words"


async def test_a_report_that_the_order_works_does_not_undo_one_that_it_ended(uow: UnitOfWork) -> None:
    order = await a_new_order(uow)
    await report(uow, order, Report(5, CANCELED, ONE))
    for late in (NEW, PARTIALLY_FILLED, PENDING_CANCEL):
        assert not (await report(uow, order, Report(6, late))).applied
    await uow.orders.transition(order.id, PENDING_CANCEL, at=NOON + 7 * MINUTE)
    assert not (await report(uow, order, Report(8, NEW))).applied
    await fill(uow, order, Execution(1, ONE, ONE))
    assert order.status is CANCELED


async def test_what_was_filled_by_the_exchanges_word_grows_whatever_order_it_comes_in(
    uow: UnitOfWork,
) -> None:
    order = await a_new_order(uow)
    for said, known in [(ONE, ONE), (Decimal("0.5"), ONE), (None, ONE), (Decimal("1.5"), Decimal("1.5"))]:
        outcome = await report(uow, order, Report(1, PARTIALLY_FILLED, said))
        assert outcome.order.reported_filled_quantity == known
    rows = [row for row in await steps(uow, order) if row.reported_status]
    assert [row.applied for row in rows] == [True, False, False, True], "news of more is applied"


async def test_the_exchanges_id_is_learned_from_any_report_once(uow: UnitOfWork) -> None:
    order = await a_new_order(uow, status=FILLED)
    for name in (None, "OX-1", "OX-2"):
        outcome = await uow.orders.record_report(order.id, NEW, at=NOON, exchange_order_id=name)
        assert not outcome.applied
    assert (order.exchange_order_id, order.status) == ("OX-1", FILLED)


async def test_the_exchanges_id_of_another_order_is_not_taken_over(
    uow: UnitOfWork, caplog: pytest.LogCaptureFixture
) -> None:
    strategy: Strategy = await uow.strategies.add(a_strategy())
    await uow.orders.add(an_order(strategy, exchange_order_id="OX-1"))
    order = await uow.orders.add(an_order(strategy))
    assert (await uow.orders.record_report(order.id, NEW, at=NOON, exchange_order_id="OX-1")).moved
    assert (order.status, order.exchange_order_id) == (NEW, None)
    assert "another order has this one's exchange_order_id" in caplog.text


@pytest.mark.parametrize("amount", [Decimal(-1), Decimal("NaN"), 1.5, Decimal("1E-19")])
async def test_an_amount_that_is_none_is_refused_and_nothing_is_on_record(
    uow: UnitOfWork, amount: Any
) -> None:
    order = await a_new_order(uow)
    with pytest.raises(InvalidValue):
        await report(uow, order, Report(1, NEW, amount))
    for status, at in ((None, NOON), (NEW, None), ("ACTIVE", NOON)):
        with pytest.raises(InvalidValue):
            await uow.orders.record_report(order.id, status, at=at)  # type: ignore[arg-type]  # on purpose
    assert len(await steps(uow, order)) == 1


async def test_a_report_says_by_its_text_what_it_says_by_its_member(uow: UnitOfWork) -> None:
    order = await a_new_order(uow, client_order_id=new_id().hex)
    assert (await uow.orders.record_report(order.id, "NEW", at=NOON)).moved  # type: ignore[arg-type]  # text
    assert (order.status, order.submitted_at) == (NEW, NOON)
