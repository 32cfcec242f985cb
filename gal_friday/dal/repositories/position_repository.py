"""Net positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import joinedload

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.criteria import ANY, Whichever, given, unless_any
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.positions import Position, PositionMark
from gal_friday.dal.repositories.position_mark_repository import PositionMarkRepository
from gal_friday.errors import Ambiguous, IllegalTransition, NotFound
from gal_friday.money import ZERO


@dataclass(frozen=True, slots=True)
class PositionTotals:
    """Positions in one quote currency; amounts are in it, profit and loss before commission."""

    active_positions: int
    closed_positions: int
    total_realized_pnl: Decimal
    total_unrealized_pnl: Decimal
    total_commission: Decimal


class PositionRepository(BaseRepository[Position]):
    model = Position

    async def get_active_positions(
        self, *, strategy_id: str | Whichever | None = ANY, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[Position]:
        """Open positions with their `mark` loaded, newest first; those of no strategy for None."""
        statement = self._select(
            Position.account_id == account_id,
            Position.closed_at.is_(None),
            *unless_any(Position.strategy_id, strategy_id),
            order_by=Position.opened_at.desc(),
        )
        return (await self._session.scalars(statement.options(joinedload(Position.mark)))).all()

    async def get_position_by_pair(
        self,
        trading_pair: str,
        *,
        exchange: str | None = None,
        strategy_id: str | Whichever | None = ANY,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Position | None:
        """The open position in *trading_pair* with its `mark` loaded, or None.

        That of no strategy is found with None as *strategy_id*, which is ANY unless given.
        Raises Ambiguous where several exchanges or strategies hold the pair and none is named.
        """
        statement = self._select(
            Position.account_id == account_id,
            Position.trading_pair == trading_pair,
            Position.closed_at.is_(None),
            *given((Position.exchange, exchange)),
            *unless_any(Position.strategy_id, strategy_id),
        )
        found = (await self._session.scalars(statement.options(joinedload(Position.mark)).limit(2))).all()
        if len(found) > 1:
            raise Ambiguous(
                "name exchange and strategy_id",
                trading_pair=trading_pair,
                holders=[(position.exchange, position.strategy_id) for position in found],
            )
        return found[0] if found else None

    async def update_position_price(
        self, position_id: UUID, current_price: Decimal, *, marked_at: datetime | None = None
    ) -> PositionMark:
        """Mark a position with the price seen at *marked_at* (default: now); gives back the mark in force.

        That is an earlier mark where it was made with a later price. Raises NotFound.
        """
        marks = PositionMarkRepository(self._session)
        await marks.mark_many({position_id: current_price}, marked_at=marked_at or datetime.now(UTC))
        mark = await marks.get(position_id)
        if mark is None:
            raise NotFound(table=Position.__tablename__, key=position_id)
        return mark

    async def close_position(
        self,
        position_id: UUID,
        *,
        realized_pnl: Decimal | None = None,
        closed_at: datetime | None = None,
    ) -> Position:
        """Make a position flat as of *closed_at* (default: now); its entry price stays on record.

        *realized_pnl*, where given, replaces what was realised so far: profit and loss of the whole position
        before commission, in quote currency. Raises NotFound, StaleWrite, IllegalTransition for a closed one.
        """
        position = await self.one(position_id)
        if position.closed_at is not None:
            raise IllegalTransition(
                "the position is closed already", position=position_id, closed_at=position.closed_at
            )
        position.quantity = position.cost = ZERO
        position.closed_at = closed_at or datetime.now(UTC)
        if realized_pnl is not None:
            position.realized_pnl = realized_pnl
        await self.update(position)
        await self._session.execute(
            update(PositionMark).where(PositionMark.position_id == position_id).values(unrealized_pnl=ZERO)
        )
        return position

    async def get_position_summary(
        self, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Mapping[str, PositionTotals]:
        """Totals of all positions, open and closed, by quote currency."""
        is_open = Position.closed_at.is_(None)
        statement = (
            select(
                Position.quote_currency,
                func.count().filter(is_open),
                func.count().filter(~is_open),
                func.sum(Position.realized_pnl),
                func.coalesce(func.sum(PositionMark.unrealized_pnl).filter(is_open), ZERO),
                func.sum(Position.total_commission),
            )
            .outerjoin(PositionMark, PositionMark.position_id == Position.id)
            .where(Position.account_id == account_id)
            .group_by(Position.quote_currency)
            .order_by(Position.quote_currency)
        )
        rows = (await self._session.execute(statement)).all()
        return {row.quote_currency: PositionTotals(*row[1:]) for row in rows}
