"""The orders of an entry: the one that entered it, those that protect it, and those that leave it.

All of them are found from the entry's name: the first has a client_order_id that follows from it, the others
name the first as their parent. Each remembers what it is for in its metadata.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid5

from sqlalchemy import func, or_, select

from gal_friday.dal.models import WORKING_ORDER_STATUSES, Fill, Order, OrderStatus, Side
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import NotFound
from gal_friday.money import ZERO, exact

_NAMESPACE = UUID("7a3d5f0e-5f0b-4c3e-9a55-0d6f1f6d0a41")
#: Keys of an order's metadata: the entry it belongs to, what it is for, and why.
ENTRY, STEP, REASON = "entry", "step", "reason"


class Step(StrEnum):
    """What an order of an entry is for."""

    ENTER = "ENTER"
    STOP = "STOP"
    EXIT = "EXIT"
    ROLL = "ROLL"


def client_id(account_id: str, position_id: str, step: Step, which: str | int = 0) -> str:
    """The client_order_id of a step: 32 hexadecimal digits, the same whenever the step is done again."""
    return uuid5(_NAMESPACE, f"{account_id}\n{position_id}\n{step}\n{which}").hex


def is_working(order: Order) -> bool:
    """Whether the order can still fill."""
    return order.status in WORKING_ORDER_STATUSES


def opposite(side: Side) -> Side:
    """The side that leaves what *side* entered."""
    return Side.SELL if side is Side.BUY else Side.BUY


@dataclass(frozen=True, slots=True)
class EntryOrders:
    """The orders of an entry, and what their fills made of it.

    `held` is in contracts, signed as the entry was meant: what a fee took in base units is not held.
    """

    enter: Order
    others: tuple[Order, ...]
    held: Decimal
    contract_multiplier: Decimal
    last_fill_at: datetime | None

    def of(self, step: Step) -> list[Order]:
        """The orders of one kind, the oldest first."""
        return [order for order in self.others if order.extra.get(STEP) == step]

    @property
    def leaving(self) -> list[Order]:
        """Those that reduce the entry."""
        return [order for order in self.others if order.side is not self.enter.side]

    @property
    def to_leave(self) -> Decimal:
        """Contracts held that no working exit is already about to leave."""
        leaving = (*self.of(Step.EXIT), *self.of(Step.ROLL))
        with exact():
            going = sum((order.remaining_quantity or ZERO for order in leaving if is_working(order)), ZERO)
            return max(self.held - going, ZERO)

    @property
    def is_leaving(self) -> bool:
        """Whether an exit is working."""
        return any(is_working(order) for order in (*self.of(Step.EXIT), *self.of(Step.ROLL)))

    @property
    def protecting(self) -> list[Order]:
        """Its stop orders that are working, the oldest first."""
        return [order for order in self.of(Step.STOP) if is_working(order)]

    @property
    def stop_has_struck(self) -> bool:
        """Whether the exchange said that a stop was filled whose fills are still to come."""
        return any(
            order.reported_status is OrderStatus.FILLED and order.status is not OrderStatus.FILLED
            for order in self.of(Step.STOP)
        )


async def orders_of(uow: UnitOfWork, account_id: str, exchange: str, position_id: str) -> EntryOrders:
    """The orders of the entry *position_id*, and what their fills add up to. Raises NotFound."""
    found = await orders_of_many(uow, account_id, exchange, [position_id])
    if position_id not in found:
        raise NotFound(table=Order.__tablename__, position_id=position_id, exchange=exchange)
    return found[position_id]


async def orders_of_many(
    uow: UnitOfWork, account_id: str, exchange: str, position_ids: Sequence[str]
) -> dict[str, EntryOrders]:
    """The orders of these entries, by name, without those that this exchange never got; two statements."""
    names = {client_id(account_id, position_id, Step.ENTER): position_id for position_id in position_ids}
    entering = select(Order.id).where(
        Order.account_id == account_id, Order.exchange == exchange, Order.client_order_id.in_(list(names))
    )
    found = await uow.session.scalars(
        select(Order)
        .where(or_(Order.id.in_(entering), Order.parent_order_id.in_(entering)))
        .order_by(Order.created_at, Order.id),
        execution_options={"populate_existing": True},
    )
    enters: dict[UUID, Order] = {}
    others: defaultdict[UUID, list[Order]] = defaultdict(list)
    for order in found.all():
        if order.parent_order_id is None:
            enters[order.id] = order
        else:
            others[order.parent_order_id].append(order)
    family = func.coalesce(Order.parent_order_id, Order.id)
    sums = await uow.session.execute(
        select(
            family,
            func.sum(Fill.net_quantity),
            func.max(Fill.contract_multiplier),
            func.max(Fill.filled_at),
        )
        .join(Order, Order.id == Fill.order_id)
        .where(or_(Order.id.in_(list(enters)), Order.parent_order_id.in_(list(enters))))
        .group_by(family)
    )
    executed = {key: (net, multiplier, last) for key, net, multiplier, last in sums}
    entries = {}
    for key, enter in enters.items():
        net, multiplier, last = executed.get(key, (ZERO, Decimal(1), None))
        net = net or ZERO
        held = net if enter.side is Side.BUY else -net
        entries[names[str(enter.client_order_id)]] = EntryOrders(
            enter, tuple(others[key]), max(held, ZERO), multiplier, last
        )
    return entries
