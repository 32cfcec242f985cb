"""What positions are worth now."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, case, column, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.enums import PositionSide
from gal_friday.dal.models.positions import Position, PositionMark
from gal_friday.dal.models.types import Identifier, Money, UtcDateTime
from gal_friday.money import MONEY_DECIMALS


class PositionMarkRepository(BaseRepository[PositionMark]):
    model = PositionMark

    async def mark_many(
        self, prices: Mapping[UUID, Decimal], *, marked_at: datetime
    ) -> Sequence[PositionMark]:
        """Mark positions, by id, with the prices seen at *marked_at*; gives back the marks that changed.

        One statement computes each unrealized profit and loss from the position as it stands at that moment,
        exactly, rounded once to 18 decimals. A price older than the one a position was marked with changes
        nothing, and neither does a position that does not exist.
        """
        if not prices:
            return []
        given = (
            func.unnest(
                literal(list(prices), ARRAY(Identifier())), literal(list(prices.values()), ARRAY(Money()))
            )
            .table_valued(column("position_id", Uuid()), column("price", Money()), name="given")
            .render_derived()
        )
        marks = (
            select(
                Position.id,
                given.c.price,
                _unrealized_pnl(given.c.price),
                literal(marked_at, UtcDateTime()),
            )
            .join(given, given.c.position_id == Position.id)
            .order_by(Position.id)  # whoever marks the same positions locks them in the same order
        )
        statement = insert(PositionMark).from_select(
            ["position_id", "current_price", "unrealized_pnl", "marked_at"], marks
        )
        new = statement.excluded
        changed = await self._stored(
            statement.on_conflict_do_update(
                index_elements=[PositionMark.position_id],
                set_={
                    "current_price": new.current_price,
                    "unrealized_pnl": new.unrealized_pnl,
                    "marked_at": new.marked_at,
                },
                where=new.marked_at >= PositionMark.marked_at,
            )
        )
        return changed.all()


def _unrealized_pnl(price: ColumnElement[Decimal]) -> ColumnElement[Decimal]:
    gain = price * Position.quantity - Position.cost
    return func.round(case((Position.side == PositionSide.LONG, gain), else_=-gain), MONEY_DECIMALS)
