"""Where an entry stands, and what is due for it: read, and followed, in one transaction."""

from dataclasses import dataclass
from uuid import UUID

from gal_friday.dal.models import PortfolioPosition, PyramidingState
from gal_friday.services.live.following import follow
from gal_friday.services.live.orders import ENTRY
from gal_friday.services.live.rollover import UNDER_WAY
from gal_friday.services.live.stops import Due, protection_due
from gal_friday.state.state_transaction import StateTransaction


@dataclass(frozen=True, slots=True)
class Standing:
    """An entry as its fills have it, the pyramid if that changed, and what is due.

    `due` is for the exchange to protect it; `rolling` names the rollovers under way it has a part in.
    """

    position: PortfolioPosition
    pyramid: PyramidingState | None
    due: Due | None
    rolling: tuple[str, ...]


async def standing_of(t: StateTransaction, exchange: str, position_id: str) -> Standing:
    """Let an entry follow its fills; where it stands then. Raises NotFound."""
    following = await follow(t, exchange, position_id)
    position = following.position
    previous = position.rolled_from_position_id
    parts = [position, None if previous is None else await t.get_position(previous)]
    return Standing(
        position,
        following.pyramid,
        await protection_due(t, exchange, position_id),
        tuple(part.position_id for part in parts if part and part.rollover_status in UNDER_WAY),
    )


async def standing_by_order(t: StateTransaction, exchange: str, order_id: UUID) -> Standing | None:
    """As `standing_of`, for the entry an order belongs to; None for an order of nobody's entry."""
    order = await t.uow.orders.one(order_id)
    name = order.extra.get(ENTRY)
    return None if name is None else await standing_of(t, exchange, name)
