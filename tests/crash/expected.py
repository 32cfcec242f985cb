"""The rows there must be after the first calls of a lifecycle, worked out without the code under test."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from uuid import UUID

from gal_friday.dal.models import OrderStatus, ReportSource, RiskVerdict, SignalStatus
from tests.crash.lifecycles import FILLS, Call, FillPlan, Lifecycle, OrderPlan, What
from tests.crash.rows import Rows


@dataclass
class _Order:
    plan: OrderPlan
    status: OrderStatus = OrderStatus.PENDING_NEW
    reported: OrderStatus | None = None
    exchange_order_id: str | None = None
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)

    @property
    def row(self) -> tuple[Any, ...]:
        plan = self.plan
        names = (plan.order_id, plan.client_order_id, self.exchange_order_id)
        links = (plan.signal_id, plan.parent_order_id)
        terms = (plan.side, plan.quantity, plan.limit_price)
        return (
            *(*names, *links, *terms, self.status, self.reported),
            *(self.filled, self.cost, self._average(), self.commission),
        )

    def _average(self) -> Decimal | None:
        if not self.filled:
            return None
        with localcontext(prec=80):
            return (self.cost / self.filled).quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP)


@dataclass
class _Rows:
    """The rows of a lifecycle while its calls are made on paper."""

    plan: Lifecycle
    rows: dict[str, Counter[tuple[Any, ...]]] = field(default_factory=dict)
    orders: dict[UUID, _Order] = field(default_factory=dict)
    signal: SignalStatus | None = None
    stop: tuple[Decimal | None, int] | None = None

    def make(self, call: Call) -> None:
        plan = self.plan
        match call.what:
            case What.TAKE_SIGNAL:
                self._add("signal_log", plan.key, plan.fingerprint, plan.price)
                self.signal = SignalStatus.PROPOSED
            case What.DECIDE:
                values = (RiskVerdict.APPROVED, plan.price, plan.at(0))
                self._add("risk_decisions", plan.signal_id, plan.decision_id, *values)
                self.signal = SignalStatus.APPROVED
            case What.SAVE_ENTRY:
                self._add("pyramiding_state", plan.key, plan.key, 1, plan.price, 1)
                self.stop = (None, 1)
            case What.MOVE_STOP:
                self.stop = (plan.price, 2)
            case What.SAVE_PORTFOLIO:
                self._add("portfolio_state", plan.key)
            case _ if call.order is not None:
                self._follow(call, call.order)

    def _follow(self, call: Call, plan: OrderPlan) -> None:
        order = self.orders.setdefault(plan.order_id, _Order(plan))
        match call.what:
            case What.SUBMIT:
                self._remark(order, None, ReportSource.ENGINE, None)
                self._add("strategy_state", plan.client_order_id, _json({"order": plan.client_order_id}))
                if plan.signal_id is not None:
                    self.signal = SignalStatus.EXECUTED
            case What.ACKNOWLEDGE:
                order.exchange_order_id = plan.exchange_order_id
                order.reported = OrderStatus.NEW
                self._move(order, OrderStatus.NEW, ReportSource.STREAM)
            case What.REQUEST_CANCEL:
                self._move(order, OrderStatus.PENDING_CANCEL, ReportSource.ENGINE, "moved")
            case What.CANCELED:
                order.reported = OrderStatus.CANCELED
                self._move(order, OrderStatus.CANCELED, ReportSource.STREAM)
            case what if what in FILLS:
                for fill in call.fills:
                    self._fill(order, fill)
                    if what is What.FILL_IN_UNIT_OF_WORK:
                        self._add("strategy_state", fill.fill_id, _json({"seen": True}))

    def _fill(self, order: _Order, fill: FillPlan) -> None:
        order.filled += fill.quantity
        order.cost += fill.quantity * fill.price
        order.commission += fill.commission
        is_complete = order.filled >= order.plan.quantity
        status = OrderStatus.FILLED if is_complete else OrderStatus.PARTIALLY_FILLED
        if order.status is not status:
            self._move(order, status, ReportSource.STREAM, f"fill {fill.fill_id}")
        terms = (order.plan.side, fill.quantity, fill.price, fill.commission, fill.filled_at)
        self._add("fills", order.plan.order_id, fill.fill_id, *terms, True)
        self._add("event_log", order.plan.order_id, fill.fill_id, "FillApplied")

    def _move(
        self, order: _Order, status: OrderStatus, source: ReportSource, reason: str | None = None
    ) -> None:
        before, order.status = order.status, status
        self._remark(order, before, source, reason)

    def _remark(
        self, order: _Order, before: OrderStatus | None, source: ReportSource, reason: str | None
    ) -> None:
        place = (order.plan.order_id, before, order.status, order.reported)
        self._add("order_history", *place, source, reason)

    def _add(self, table: str, *row: Any) -> None:
        self.rows.setdefault(table, Counter())[row] += 1

    def finished(self) -> Rows:
        """With the rows that calls change, as the last one left them."""
        plan = self.plan
        if self.signal is not None:
            is_executed = self.signal is SignalStatus.EXECUTED
            decided_at = None if self.signal is SignalStatus.PROPOSED else plan.at(0)
            terms = (plan.fingerprint, plan.side, plan.price, self.signal, decided_at)
            self._add("signals", plan.signal_id, *terms, is_executed)
        if self.stop is not None:
            self._add("portfolio_positions", plan.key, plan.price, 3, *self.stop)
        for order in self.orders.values():
            self._add("orders", *order.row)
        return self.rows


def expected_rows(plan: Lifecycle, calls: int) -> Rows:
    """The rows of *plan* once its first *calls* calls have been made, each once."""
    on_paper = _Rows(plan)
    for call in plan.calls[:calls]:
        on_paper.make(call)
    return on_paper.finished()


def differences(expected: Rows, stored: Rows) -> Iterator[str]:
    """What is missing and what is too much, a row a line."""
    for table in sorted({*expected, *stored}):
        must, there = expected.get(table, Counter()), stored.get(table, Counter())
        for row in (must - there).elements():
            yield f"missing from {table}: {_shown(row)}"
        for row in (there - must).elements():
            yield f"too much in {table}: {_shown(row)}"


def _shown(row: tuple[Any, ...]) -> str:
    return ", ".join("–" if value is None else str(value) for value in row)


def _json(value: object) -> str:
    return json.dumps(value)
