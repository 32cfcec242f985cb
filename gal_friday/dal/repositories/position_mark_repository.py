"""What positions are worth now."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    TableValuedAlias,
    Uuid,
    and_,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeEngine

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.accounts import Instrument
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.positions import Position, PositionMark
from gal_friday.dal.models.types import Identifier, Money, PlainText, UtcDateTime
from gal_friday.dal.valuation import INSTRUMENT_OF_POSITION, unrealized_pnl

#: Prices by pair, or by (exchange, pair).
PairPrices = (
    Mapping[str, Decimal] | Mapping[tuple[str, str], Decimal] | Mapping[str | tuple[str, str], Decimal]
)

_TYPES: dict[str, TypeEngine[Any]] = {"position_id": Uuid(), "price": Money()}


class PositionMarkRepository(BaseRepository[PositionMark]):
    """Marks, each made by one statement from the position as it stands at that moment.

    Profit and loss is computed exactly, the contract multiplier included, and rounded once to 18 decimals. A
    price older than the one a position was marked with changes nothing.
    """

    model = PositionMark

    async def mark_many(
        self, prices: Mapping[UUID, Decimal], *, marked_at: datetime
    ) -> Sequence[PositionMark]:
        """Mark positions, by id, with the prices seen at *marked_at*; gives back the marks that changed.

        A position that does not exist changes nothing.
        """
        if not prices:
            return []
        given = _rows(
            "given",
            position_id=literal(list(prices), ARRAY(Identifier())),
            price=literal(list(prices.values()), ARRAY(Money())),
        )
        marks = _marks(given.c.price, marked_at).join(given, given.c.position_id == Position.id)
        return await self._mark(marks)

    async def mark_pairs(
        self,
        prices: PairPrices,
        *,
        marked_at: datetime,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[PositionMark]:
        """Mark every open position of an account in the pairs given; gives back the marks that changed.

        A price is of a pair at one exchange where its key is (exchange, pair), else of the pair wherever no
        such price is given.
        """
        if not prices:
            return []
        everywhere = [(pair, price) for pair, price in prices.items() if isinstance(pair, str)]
        somewhere = [(*place, price) for place, price in prices.items() if not isinstance(place, str)]
        anywhere = _rows(
            "anywhere",
            trading_pair=literal([pair for pair, _ in everywhere], ARRAY(PlainText())),
            price=literal([price for _, price in everywhere], ARRAY(Money())),
        )
        there = _rows(
            "there",
            exchange=literal([exchange for exchange, _, _ in somewhere], ARRAY(PlainText())),
            trading_pair=literal([pair for _, pair, _ in somewhere], ARRAY(PlainText())),
            price=literal([price for _, _, price in somewhere], ARRAY(Money())),
        )
        price = func.coalesce(there.c.price, anywhere.c.price)
        marks = (
            _marks(price, marked_at)
            .outerjoin(
                there,
                and_(there.c.exchange == Position.exchange, there.c.trading_pair == Position.trading_pair),
            )
            .outerjoin(anywhere, anywhere.c.trading_pair == Position.trading_pair)
            .where(Position.account_id == account_id, Position.closed_at.is_(None), price.is_not(None))
        )
        return await self._mark(marks)

    async def _mark(self, marks: Select[UUID, Decimal, Decimal, datetime]) -> Sequence[PositionMark]:
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


def _marks(price: ColumnElement[Decimal], marked_at: datetime) -> Select[UUID, Decimal, Decimal, datetime]:
    return (
        select(Position.id, price, unrealized_pnl(price), literal(marked_at, UtcDateTime()))
        .select_from(Position)
        .outerjoin(Instrument, INSTRUMENT_OF_POSITION)
        .order_by(Position.id)  # whoever marks the same positions locks them in the same order
    )


def _rows(name: str, **arrays: ColumnElement[Any]) -> TableValuedAlias:
    """The elements of the arrays side by side, as a table."""
    columns = [column(each, _TYPES.get(each, PlainText())) for each in arrays]
    return func.unnest(*arrays.values()).table_valued(*columns, name=name).render_derived()
