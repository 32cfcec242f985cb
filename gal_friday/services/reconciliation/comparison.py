"""One comparison of both sides: what is stored of it, in which order, and what remains."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from gal_friday.adapters.ccxt import OrderReport
from gal_friday.dal.models import Order
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import ZERO
from gal_friday.services.reconciliation import fills, repairs
from gal_friday.services.reconciliation.balances import balance_differences
from gal_friday.services.reconciliation.books import Horizon, OwnOrders, Scope, own_fills, own_orders
from gal_friday.services.reconciliation.found import Found
from gal_friday.services.reconciliation.judgement import (
    amendment,
    contradiction,
    contradicts,
    differ,
    differences,
    has_news,
    looks_like,
    may_be,
    unknown_there,
)
from gal_friday.services.reconciliation.questions import Questions
from gal_friday.services.reconciliation.reading import ExchangeSide, match
from gal_friday.services.reconciliation.rehearsal import Store
from gal_friday.services.reconciliation.report import Difference, Repair
from gal_friday.services.reconciliation.steps import Finding, Step, StepRunner


class Comparison:
    """Stores what the exchange said and finds what is different all the same."""

    def __init__(self, scope: Scope, theirs: ExchangeSide, *, at: datetime, settled_before: datetime) -> None:
        self._scope = scope
        self._theirs = theirs
        self._at = at
        self._settled_before = settled_before
        self._trades = list(theirs.trades or ())
        self._traded = {(trade.trading_pair, trade.exchange_order_id) for trade in self._trades}

    async def add_older_fills(self, questions: Questions, ours: OwnOrders, limits: Horizon) -> None:
        """Ask for executions from before the horizon, of orders of which the exchange says more is filled."""
        lacking: dict[str, dict[str, datetime]] = defaultdict(dict)
        for report in self._theirs.orders.values():
            order = match(ours, report)
            filled = report.filled_quantity or ZERO
            begun = report.opened_at or (order.created_at if order else limits.fills_since)
            here = order.filled_quantity if order else ZERO
            if begun < limits.fills_since and filled > here and differ(here, filled):
                lacking[report.trading_pair][report.exchange_order_id] = begun
        known = {(trade.exchange_order_id, trade.fill_id) for trade in self._trades}
        for pair, orders in sorted(lacking.items()):
            since = min(orders.values())
            trades = await questions.trades(max(since, limits.not_before or since), (pair,), pair=pair)
            self._trades += [
                trade
                for trade in trades or ()
                if trade.exchange_order_id in orders and (trade.exchange_order_id, trade.fill_id) not in known
            ]

    async def settle(self, store: Store) -> Found:
        """Store what is new of orders, then fills; then compare what came of it."""
        runner = StepRunner(store)
        found: list[Finding] = await runner.do(list(self._steps(await store.do(self._read))))
        stored = await store.do(lambda uow: own_fills(uow, self._scope, self._trades))
        for batch in fills.batches(fills.not_stored(self._trades, stored)):
            together = partial(fills.take, scope=self._scope, trades=batch)
            one_by_one = [
                Step(
                    f"fill {trade.fill_id} of order {trade.exchange_order_id} at {self._scope.exchange}",
                    partial(fills.take, scope=self._scope, trades=[trade]),
                )
                for trade in batch
            ]
            found += await runner.do_together(together, one_by_one)
        found += self._remaining(await store.do(self._read))
        balances = self._theirs.balances
        if balances is not None and self._theirs.trades is not None:
            account_id = self._scope.account_id
            found += await store.do(lambda uow: balance_differences(uow, balances, account_id))
        return Found(
            orders=len(self._theirs.orders),
            fills=len(self._trades),
            balances=len(balances or ()),
            repairs=[each for each in found if isinstance(each, Repair)],
            differences=[each for each in found if isinstance(each, Difference)],
            problems=runner.problems,
        )

    async def _read(self, uow: UnitOfWork) -> OwnOrders:
        reports = self._theirs.orders.values()
        return await own_orders(
            uow, self._scope, [(report.exchange_order_id, report.client_order_id) for report in reports]
        )

    def _steps(self, ours: OwnOrders) -> Iterator[Step]:
        """What the exchange says of orders and we do not have yet."""
        for report in self._theirs.orders.values():
            about = f"order {report.exchange_order_id} at {self._scope.exchange}"
            order = match(ours, report)
            if order is None:
                if self._is_wanted(report) and self._lookalike(ours, report) is None:
                    yield Step(about, partial(repairs.adopt, scope=self._scope, report=report, at=self._at))
            elif self._is_the_one(ours, order, report):
                tell = partial(repairs.tell_status, order=order, report=report, at=self._at)
                if has_news(order, report, self._at):
                    yield Step(about, tell)
                if amended := amendment(order, report):
                    amend = partial(repairs.amend, order=order, report=report, at=self._at, amended=amended)
                    yield Step(about, amend)

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

    def _remaining(self, ours: OwnOrders) -> Iterator[Difference]:
        for report in self._theirs.orders.values():
            order = match(ours, report)
            if order is None:
                lookalike = self._lookalike(ours, report)
                if lookalike is not None and self._is_wanted(report):
                    yield looks_like(lookalike, report)
            elif self._is_the_one(ours, order, report):
                yield from differences(
                    order,
                    report,
                    settled_before=self._settled_before,
                    fills_are_known=self._theirs.trades is not None,
                )
            else:
                yield contradiction(order, report)
        working = {order.id: order for order in ours.working}
        for order in self._theirs.unknown:
            if order.id in working:
                difference = unknown_there(working[order.id], self._settled_before)
                if difference is not None:
                    yield difference
