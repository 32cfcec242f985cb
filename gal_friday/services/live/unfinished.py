"""What a process before left undone, found by a few statements however many entries there are."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, select

from gal_friday.dal.models import EntryStatus, Fill, Order, OrderStatus, PortfolioPosition
from gal_friday.dal.models.positions import Position
from gal_friday.services.live.following import is_behind
from gal_friday.services.live.orders import ENTRY, orders_of_many
from gal_friday.services.live.rollover import UNDER_WAY
from gal_friday.services.live.stops import protection_of
from gal_friday.state.state_transaction import StateTransaction

_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Orders PENDING_NEW; entries by name: behind their fills, amid a rollover, not protected as meant."""

    pending: tuple[Order, ...]
    behind: tuple[str, ...]
    rolling: tuple[str, ...]
    unprotected: tuple[str, ...]


async def unfinished(t: StateTransaction, exchange: str, live: Collection[PortfolioPosition]) -> Unfinished:
    """What is unfinished of the entries *live* of the account, and of those that were filled when closed."""
    pending = await t.uow.orders.find_by_status(OrderStatus.PENDING_NEW, account_id=t.account_id)
    rolling = [
        position.position_id
        for status in UNDER_WAY
        for position in await t.uow.portfolio_positions.get_rollovers(status, account_id=t.account_id)
    ]
    behind, unprotected = [], []
    positions = [*live, *await _filled_when_closed(t, exchange)]
    for begin in range(0, len(positions), _BATCH):
        batch = {position.position_id: position for position in positions[begin : begin + _BATCH]}
        for name, orders in (await orders_of_many(t.uow, t.account_id, exchange, list(batch))).items():
            if is_behind(batch[name], orders):
                behind.append(name)
            if protection_of(t.account_id, batch[name], orders) is not None:
                unprotected.append(name)
    return Unfinished(
        tuple(order for order in pending if order.exchange == exchange and ENTRY in order.extra),
        tuple(behind),
        tuple(rolling),
        tuple(unprotected),
    )


async def _filled_when_closed(t: StateTransaction, exchange: str) -> list[PortfolioPosition]:
    """Entries that may have missed a fill since they were closed: their net position is open by it."""
    found = await t.uow.session.scalars(
        select(PortfolioPosition)
        .join(
            Order,
            and_(
                Order.account_id == PortfolioPosition.account_id,
                Order.extra[ENTRY].astext == PortfolioPosition.position_id,
            ),
        )
        .join(Fill, Fill.order_id == Order.id)
        .join(Position, Position.id == Fill.position_id)
        .where(
            PortfolioPosition.account_id == t.account_id,
            PortfolioPosition.status == EntryStatus.CLOSED,
            Position.account_id == t.account_id,
            Position.closed_at.is_(None),
            Order.exchange == exchange,
            Fill.created_at > PortfolioPosition.updated_at,
        )
        .distinct()
    )
    return list(found)
