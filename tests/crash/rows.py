"""The rows lifecycles lead to: which there must be after so many calls, and which there are."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Text, cast, func, outerjoin, select, true
from sqlalchemy.orm import QueryableAttribute

from gal_friday.dal.models import (
    EventLog,
    Fill,
    Order,
    OrderHistory,
    PortfolioPosition,
    PortfolioState,
    PyramidingState,
    RiskDecision,
    Signal,
    SignalLog,
    StrategyState,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.crash.lifecycles import Lifecycle, Name

#: Rows of each table, in the columns of COLUMNS, as often as they are there.
Rows = Mapping[str, Counter[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is compared of a table: *columns*, of which the first says which lifecycle a row belongs to."""

    columns: Mapping[str, ColumnElement[Any]]
    owner: Callable[[Lifecycle], Iterable[object]]
    account: QueryableAttribute[str]
    only: ColumnElement[bool] | None = None
    source: FromClause | None = None

    def statement(self, accounts: Iterable[str]) -> Select[*tuple[Any, ...]]:
        statement = select(*self.columns.values()).where(self.account.in_(accounts))
        if self.source is not None:
            statement = statement.select_from(self.source)
        return statement if self.only is None else statement.where(self.only)


def _columns(*columns: Any, **computed: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
    return {column.key: column for column in columns} | computed


def _key(plan: Lifecycle) -> list[object]:
    return [plan.key]


def _orders(plan: Lifecycle) -> list[object]:
    return [order.order_id for order in plan.orders]


def _state_keys(plan: Lifecycle) -> list[object]:
    orders = [order.client_order_id for order in plan.orders]
    return [*orders, *(fill.fill_id for call in plan.calls for fill in call.fills)]


KINDS: Mapping[str, Kind] = {
    "signal_log": Kind(
        _columns(SignalLog.instrument, SignalLog.fingerprint, SignalLog.price), _key, SignalLog.account_id
    ),
    "signals": Kind(
        _columns(
            Signal.id,
            Signal.fingerprint,
            Signal.side,
            Signal.proposed_entry_price,
            Signal.status,
            Signal.decided_at,
            executed=Signal.executed_at.is_not(None),
        ),
        lambda plan: [plan.signal_id],
        Signal.account_id,
    ),
    "risk_decisions": Kind(
        _columns(
            RiskDecision.signal_id,
            RiskDecision.id,
            RiskDecision.decision,
            RiskDecision.requested_quantity,
            RiskDecision.decided_at,
        ),
        lambda plan: [plan.signal_id],
        RiskDecision.account_id,
    ),
    "orders": Kind(
        _columns(
            Order.id,
            Order.client_order_id,
            Order.exchange_order_id,
            Order.signal_id,
            Order.parent_order_id,
            Order.side,
            Order.quantity,
            Order.limit_price,
            Order.status,
            Order.reported_status,
            Order.filled_quantity,
            Order.cost,
            Order.average_fill_price,
            Order.commission_quote,
        ),
        _orders,
        Order.account_id,
    ),
    # A report that came again is on record as well, as one that moved nothing.
    "order_history": Kind(
        _columns(
            OrderHistory.order_id,
            OrderHistory.from_status,
            OrderHistory.to_status,
            OrderHistory.reported_status,
            OrderHistory.source,
            OrderHistory.reason,
        ),
        _orders,
        OrderHistory.account_id,
        only=OrderHistory.applied.is_(true()),
    ),
    "fills": Kind(
        _columns(
            Fill.order_id,
            Fill.fill_id,
            Fill.side,
            Fill.quantity_filled,
            Fill.fill_price,
            Fill.commission,
            Fill.filled_at,
            applied=Fill.applied_seq.is_not(None) & Fill.position_id.is_not(None),
        ),
        _orders,
        Fill.account_id,
    ),
    # An event without its fill has no order here, and so belongs to no lifecycle.
    "event_log": Kind(
        _columns(Fill.order_id, Fill.fill_id, EventLog.event_type),
        _orders,
        EventLog.account_id,
        source=outerjoin(
            EventLog,
            Fill,
            (Fill.account_id == EventLog.account_id)
            & (EventLog.stream == func.concat("position-", Fill.position_id))
            & (EventLog.stream_version == Fill.applied_seq),
        ),
    ),
    "portfolio_positions": Kind(
        _columns(
            PortfolioPosition.position_id,
            PortfolioPosition.entry_price,
            PortfolioPosition.lots,
            PortfolioPosition.current_stop,
            PortfolioPosition.row_version,
        ),
        _key,
        PortfolioPosition.account_id,
    ),
    "pyramiding_state": Kind(
        _columns(
            PyramidingState.instrument,
            PyramidingState.base_position_id,
            PyramidingState.pyramid_count,
            PyramidingState.last_pyramid_price,
            PyramidingState.row_version,
        ),
        _key,
        PyramidingState.account_id,
    ),
    "portfolio_state": Kind(
        {"key": func.jsonb_object_keys(PortfolioState.state)}, _key, PortfolioState.account_id
    ),
    "strategy_state": Kind(
        _columns(StrategyState.key, value=cast(StrategyState.value, Text)),
        _state_keys,
        StrategyState.account_id,
    ),
}


async def stored_rows(
    uow: UnitOfWork, accounts: Iterable[str], plans: Iterable[Lifecycle]
) -> Mapping[Name | None, Rows]:
    """All rows of *accounts* by the lifecycle they belong to; None where that is none of *plans*."""
    names = list(accounts)
    known = list(plans)
    found: dict[Name | None, defaultdict[str, Counter[tuple[Any, ...]]]]
    found = defaultdict(lambda: defaultdict(Counter))
    for table, kind in KINDS.items():
        owners = {owner: plan.name for plan in known for owner in kind.owner(plan)}
        for row in await uow.session.execute(kind.statement(names)):
            found[owners.get(row[0])][table][tuple(row)] += 1
    return found
