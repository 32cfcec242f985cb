"""One comparison of both sides: what is stored of it, in which order, and what remains."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from gal_friday.adapters.ccxt import OrderReport, TradeReport
from gal_friday.dal.models import Order
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import AlreadyExists, ConstraintViolated, InvalidValue, NotFound, PersistenceError
from gal_friday.money import ZERO
from gal_friday.services.reconciliation import repairs
from gal_friday.services.reconciliation.balances import balance_differences
from gal_friday.services.reconciliation.books import Horizon, OwnOrders, Scope, own_fills, own_orders
from gal_friday.services.reconciliation.judgement import (
    amendment,
    contradicts,
    differ,
    differences,
    has_news,
    may_be,
    subject_of,
    unknown_there,
)
from gal_friday.services.reconciliation.questions import Questions
from gal_friday.services.reconciliation.reading import ExchangeSide, match
from gal_friday.services.reconciliation.rehearsal import Store
from gal_friday.services.reconciliation.report import Difference, DifferenceKind, Repair

T = TypeVar("T")
Step = Callable[[UnitOfWork], Awaitable[Sequence[Repair | Difference]]]

_STEPS_AT_ONCE = 50
#: What is wrong with one record and says nothing of the others.
_OF_ONE_RECORD = (AlreadyExists, ConstraintViolated, InvalidValue, NotFound)


@dataclass(slots=True)
class Found:
    """What one reading of both sides came to."""

    orders: int
    fills: int
    balances: int
    repairs: list[Repair] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def with_answers(self, problems: Iterable[str], failures: Iterable[str]) -> "Found":
        """Together with what was not understood and not answered."""
        return replace(
            self,
            problems=list(dict.fromkeys([*problems, *self.problems])),
            failures=list(dict.fromkeys([*failures, *self.failures])),
        )

    def confirmed_by(self, again: "Found", *, repaired_before: bool) -> "Found":
        """The differences both readings show, and what both stored where the first one did store it."""
        seen = {difference.identity for difference in self.differences}
        confirmed = [difference for difference in again.differences if difference.identity in seen]
        both = replace(
            again, repairs=[*self.repairs * repaired_before, *again.repairs], differences=confirmed
        )
        return both.with_answers(self.problems, self.failures)


class Comparison:
    """Stores what the exchange said and finds what is different all the same."""

    def __init__(self, scope: Scope, theirs: ExchangeSide, *, at: datetime, settled_before: datetime) -> None:
        self._scope = scope
        self._theirs = theirs
        self._at = at
        self._settled_before = settled_before
        self._trades = list(theirs.trades or ())
        self._traded = {(trade.trading_pair, trade.exchange_order_id) for trade in self._trades}
        self._problems: list[str] = []

    async def add_older_fills(self, questions: Questions, ours: OwnOrders, limits: Horizon) -> None:
        """Ask for executions from before the horizon, of orders of which the exchange says more is filled."""
        lacking: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
        for report in self._theirs.orders.values():
            order = match(ours, report)
            filled = report.filled_quantity or ZERO
            begun = report.opened_at or (order.created_at if order else limits.fills_since)
            here = order.filled_quantity if order else ZERO
            if begun < limits.fills_since and filled > here and differ(here, filled):
                lacking[report.trading_pair].append((report.exchange_order_id, begun))
        for pair, orders in sorted(lacking.items()):
            since = min(begun for _, begun in orders)
            trades = await questions.trades(max(since, limits.not_before or since), (pair,), pair=pair)
            wanted = {name for name, _ in orders}
            known = {(trade.exchange_order_id, trade.fill_id) for trade in self._trades}
            self._trades += [
                trade
                for trade in trades or ()
                if trade.exchange_order_id in wanted and (trade.exchange_order_id, trade.fill_id) not in known
            ]

    async def settle(self, store: Store) -> Found:
        """Store orders, then fills; then compare what came of it."""
        found: list[Repair | Difference] = []
        ours = await store.do(self._read)
        found += await self._all_of(store, self._steps(ours))
        stored = await store.do(lambda uow: own_fills(uow, self._scope, self._trades))
        for batch in repairs.batches(repairs.not_stored(self._trades, stored)):
            found += await self._fills(store, batch)
        found += self._remaining(await store.do(self._read))
        balances = self._theirs.balances
        if balances is not None:
            found += await store.do(lambda uow: balance_differences(uow, balances, self._scope.account_id))
        return Found(
            orders=len(self._theirs.orders),
            fills=len(self._trades),
            balances=len(balances or ()),
            repairs=[each for each in found if isinstance(each, Repair)],
            differences=[each for each in found if isinstance(each, Difference)],
            problems=self._problems,
        )

    async def _read(self, uow: UnitOfWork) -> OwnOrders:
        names: list[tuple[str | None, str | None]] = [
            (report.exchange_order_id, report.client_order_id) for report in self._theirs.orders.values()
        ]
        return await own_orders(uow, self._scope, names)

    def _steps(self, ours: OwnOrders) -> list[Step]:
        """What the exchange says of orders and we do not have yet."""
        steps: list[Step] = []
        for report in self._theirs.orders.values():
            order = match(ours, report)
            if order is None:
                if self._is_wanted(report) and self._lookalike(ours, report) is None:
                    steps.append(partial(_adopt, self._scope, report, self._at))
            elif self._is_the_one(ours, order, report):
                steps += self._steps_of(order, report)
        return steps

    def _steps_of(self, order: Order, report: OrderReport) -> list[Step]:
        steps: list[Step] = []
        if has_news(order, report, self._at):
            steps.append(partial(_tell_status, order, report, self._at))
        if amendment(order, report):
            steps.append(partial(_amend, order, report, self._at))
        return steps

    def _is_wanted(self, report: OrderReport) -> bool:
        """Whether an order we never sent matters: it can fill, or has."""
        name = (report.trading_pair, report.exchange_order_id)
        return report.is_open or bool(report.filled_quantity) or name in self._traded

    def _is_the_one(self, ours: OwnOrders, order: Order, report: OrderReport) -> bool:
        """Whether *report*, and no other, is of *order*."""
        if contradicts(order, report):
            return False
        return order.exchange_order_id is not None or not any(
            other is not report and match(ours, other) is order for other in self._theirs.orders.values()
        )

    def _lookalike(self, ours: OwnOrders, report: OrderReport) -> Order | None:
        """An order of ours in doubt that one the exchange lists without any id of ours may be."""
        if report.client_order_id is not None:
            return None
        return next((order for order in ours.unacknowledged if may_be(order, report)), None)

    def _remaining(self, ours: OwnOrders) -> list[Difference]:
        found: list[Difference] = []
        for report in self._theirs.orders.values():
            order = match(ours, report)
            if order is None:
                if (lookalike := self._lookalike(ours, report)) is not None and self._is_wanted(report):
                    subject = subject_of(lookalike, report)
                    found.append(
                        Difference(
                            DifferenceKind.ORDER_MAY_BE_OURS, subject, str(lookalike.status), report.status
                        )
                    )
            elif not self._is_the_one(ours, order, report):
                subject = subject_of(order, report)
                shown = f"{report.side} {report.trading_pair} {report.exchange_order_id}"
                ours_shown = f"{order.side} {order.trading_pair} {order.exchange_order_id}"
                found.append(Difference(DifferenceKind.ORDER_CONTRADICTS, subject, ours_shown, shown))
            else:
                found += differences(
                    order,
                    report,
                    settled_before=self._settled_before,
                    fills_are_known=self._theirs.trades is not None,
                )
        current = {order.id: order for order in ours.working}
        for order in self._theirs.unknown:
            if order.id in current:
                difference = unknown_there(current[order.id], self._settled_before)
                found += [difference] if difference else []
        return found

    async def _fills(self, store: Store, batch: list[TradeReport]) -> Sequence[Repair | Difference]:
        try:
            return await store.do(lambda uow: repairs.take_fills(uow, self._scope, batch))
        except _OF_ONE_RECORD:
            return await self._one_by_one(
                store, [partial(_take_fills, self._scope, [trade]) for trade in batch]
            )

    async def _all_of(self, store: Store, steps: Sequence[Step]) -> Sequence[Repair | Difference]:
        found: list[Repair | Difference] = []
        for start in range(0, len(steps), _STEPS_AT_ONCE):
            some = steps[start : start + _STEPS_AT_ONCE]
            try:
                found += await store.do(partial(_several, some))
            except _OF_ONE_RECORD:
                found += await self._one_by_one(store, some)
        return found

    async def _one_by_one(self, store: Store, steps: Sequence[Step]) -> Sequence[Repair | Difference]:
        """One bad record does not hide the others."""
        found: list[Repair | Difference] = []
        for step in steps:
            try:
                found += await store.do(step)
            except _OF_ONE_RECORD as error:
                self._problems.append(_words(error))
        return found


async def _several(steps: Sequence[Step], uow: UnitOfWork) -> Sequence[Repair | Difference]:
    return [each for step in steps for each in await step(uow)]


async def _adopt(scope: Scope, report: OrderReport, at: datetime, uow: UnitOfWork) -> Sequence[Repair]:
    return [await repairs.adopt(uow, scope, report, at)]


async def _tell_status(order: Order, report: OrderReport, at: datetime, uow: UnitOfWork) -> Sequence[Repair]:
    return [await repairs.tell_status(uow, order, report, at)]


async def _amend(order: Order, report: OrderReport, at: datetime, uow: UnitOfWork) -> Sequence[Repair]:
    return [await repairs.amend(uow, order, report, amendment(order, report), at)]


async def _take_fills(
    scope: Scope, trades: Sequence[TradeReport], uow: UnitOfWork
) -> Sequence[Repair | Difference]:
    return await repairs.take_fills(uow, scope, trades)


def _words(error: PersistenceError) -> str:
    return str(error)
