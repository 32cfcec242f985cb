"""What we have of orders and fills, as a reconciliation compares it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from sqlalchemy import func, or_, select

from gal_friday.adapters.ccxt import TradeReport
from gal_friday.dal.models import (
    WORKING_ORDER_STATUSES,
    CashFlow,
    CashFlowKind,
    Fill,
    Instrument,
    Order,
    OrderOrigin,
    Position,
)
from gal_friday.dal.unit_of_work import UnitOfWork

T = TypeVar("T")

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose orders are meant, and where."""

    account_id: str
    exchange: str


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far back the exchange is asked: for executions, for orders at their end, and in which pairs.

    What was executed before *not_before* counts already.
    """

    fills_since: datetime
    orders_since: datetime
    pairs: Sequence[str]
    not_before: datetime | None


class OwnOrders:
    """Orders of ours by the names an exchange has for them."""

    def __init__(self, orders: Iterable[Order], now: datetime) -> None:
        self.now = now
        self.orders = list(orders)
        self._by_exchange_id = {
            (order.trading_pair, order.exchange_order_id): order
            for order in self.orders
            if order.exchange_order_id is not None
        }
        self._by_client_id = {
            order.client_order_id: order
            for order in self.orders
            if order.client_order_id is not None and order.origin is OrderOrigin.ENGINE
        }

    @property
    def working(self) -> Sequence[Order]:
        """Those that can still fill."""
        return [order for order in self.orders if order.status in WORKING_ORDER_STATUSES]

    @property
    def unacknowledged(self) -> Sequence[Order]:
        """Working ones of which we do not know the exchange's id."""
        return [order for order in self.working if order.exchange_order_id is None]

    def named(self, trading_pair: str, exchange_order_id: str) -> Order | None:
        """The order the exchange knows by this id."""
        return self._by_exchange_id.get((trading_pair, exchange_order_id))

    def sent_as(self, client_order_id: str | None) -> Order | None:
        """The order of ours that was sent with this id."""
        return None if client_order_id is None else self._by_client_id.get(client_order_id)


async def horizon(
    uow: UnitOfWork, scope: Scope, since: datetime | None, overlap: timedelta, pairs: Sequence[str]
) -> Horizon:
    """How far back to ask: to *since*, else to *overlap* before the last fill or, without any, the account.

    Unless *since* says so, not to before what the account held was taken over: that has its effect already.
    Raises NotFound for an unknown account.
    """
    account = await uow.accounts.one(scope.account_id)
    last_fill = await uow.session.scalar(
        select(func.max(Fill.filled_at)).where(
            Fill.account_id == scope.account_id, Fill.exchange == scope.exchange
        )
    )
    fills_since = since or (last_fill or account.created_at) - overlap
    not_before = await _taken_over(uow, scope.account_id)
    if not_before is not None and since is not None:
        not_before = min(not_before, since)
    if not_before is not None:
        fills_since = max(fills_since, not_before)
    unacknowledged_since = await uow.session.scalar(
        select(func.min(Order.created_at)).where(
            Order.account_id == scope.account_id,
            Order.exchange == scope.exchange,
            Order.status.in_(WORKING_ORDER_STATUSES),
            Order.exchange_order_id.is_(None),
        )
    )
    orders_since = fills_since
    if unacknowledged_since is not None:
        orders_since = min(orders_since, unacknowledged_since - overlap)
    all_pairs = sorted({*pairs, *await _traded_pairs(uow, scope)})
    return Horizon(fills_since, orders_since, all_pairs, not_before)


async def own_orders(
    uow: UnitOfWork, scope: Scope, names: Iterable[tuple[str | None, str | None]]
) -> OwnOrders:
    """Our working orders, and those the exchange speaks of by *names*: (its id, our id)."""
    in_scope = (Order.account_id == scope.account_id, Order.exchange == scope.exchange)
    found = {
        order.id: order
        for order in await uow.orders.find_all(*in_scope, Order.status.in_(WORKING_ORDER_STATUSES))
    }
    for chunk in _chunks(names):
        exchange_ids = [name for name, _ in chunk if name is not None]
        client_ids = [name for _, name in chunk if name is not None]
        named = await uow.orders.find_all(
            *in_scope,
            or_(Order.exchange_order_id.in_(exchange_ids), Order.client_order_id.in_(client_ids)),
        )
        found |= {order.id: order for order in named}
    now = await uow.session.scalar(select(func.clock_timestamp()))
    assert now is not None
    return OwnOrders(found.values(), now)


async def own_fills(
    uow: UnitOfWork, scope: Scope, trades: Iterable[TradeReport]
) -> dict[tuple[str, str], Fill]:
    """Stored fills of the orders *trades* are of, by the exchange's order id and the fill's id."""
    found: dict[tuple[str, str], Fill] = {}
    for chunk in _chunks(sorted({trade.exchange_order_id for trade in trades})):
        stored = await uow.fills.find_all(
            Fill.account_id == scope.account_id,
            Fill.exchange == scope.exchange,
            Fill.exchange_order_id.in_(chunk),
        )
        found |= {(fill.exchange_order_id, fill.fill_id): fill for fill in stored}
    return found


async def _taken_over(uow: UnitOfWork, account_id: str) -> datetime | None:
    """When what the account held at the exchange was booked, where it was."""
    moment: datetime | None = await uow.session.scalar(
        select(func.min(CashFlow.occurred_at)).where(
            CashFlow.account_id == account_id,
            CashFlow.kind == CashFlowKind.OPENING,
            CashFlow.reason.is_not(None),
        )
    )
    return moment


async def _traded_pairs(uow: UnitOfWork, scope: Scope) -> set[str]:
    """Pairs the account may have orders in."""
    listed = select(Instrument.trading_pair).where(Instrument.exchange == scope.exchange, Instrument.active)
    ordered = select(Order.trading_pair).where(
        Order.account_id == scope.account_id, Order.exchange == scope.exchange
    )
    held = select(Position.trading_pair).where(
        Position.account_id == scope.account_id, Position.exchange == scope.exchange
    )
    return set(await uow.session.scalars(listed.union(ordered, held)))


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _AT_ONCE)):
        yield chunk
