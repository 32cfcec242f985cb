"""What a process before left undone, found by a few statements however many entries there are."""

from collections.abc import Collection
from dataclasses import dataclass

from gal_friday.dal.models import Order, OrderStatus, PortfolioPosition
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
    """What is unfinished of the entries *live* of the account."""
    pending = await t.uow.orders.find_by_status(OrderStatus.PENDING_NEW, account_id=t.account_id)
    rolling = [
        position.position_id
        for status in UNDER_WAY
        for position in await t.uow.portfolio_positions.get_rollovers(status, account_id=t.account_id)
    ]
    behind, unprotected = [], []
    positions = list(live)
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
