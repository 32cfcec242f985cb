"""What positions are worth, as SQL over `positions` joined with their `instruments`.

A price is in quote currency for one base unit, so value = price × quantity × contract multiplier; the
multiplier is 1 where the instrument is not on record.
"""

from decimal import Decimal

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, case, func, or_

from gal_friday.dal.models.accounts import Instrument
from gal_friday.dal.models.enums import InstrumentKind, PositionSide
from gal_friday.dal.models.positions import Position
from gal_friday.money import MONEY_DECIMALS

INSTRUMENT_OF_POSITION = and_(
    Instrument.exchange == Position.exchange, Instrument.trading_pair == Position.trading_pair
)
IS_SPOT = or_(Instrument.kind.is_(None), Instrument.kind == InstrumentKind.SPOT)


def contract_multiplier() -> ColumnElement[Decimal]:
    return func.coalesce(Instrument.contract_multiplier, 1)


def unrealized_pnl(price: SQLColumnExpression[Decimal]) -> ColumnElement[Decimal]:
    """What closing at *price* would bring before commission: ±(price × quantity - cost) × multiplier.

    Exact, rounded once to 18 decimals, half up.
    """
    gain = (price * Position.quantity - Position.cost) * contract_multiplier()
    return func.round(case((Position.side == PositionSide.LONG, gain), else_=-gain), MONEY_DECIMALS)


def value_at(price: SQLColumnExpression[Decimal]) -> ColumnElement[Decimal]:
    """Price × quantity × multiplier, without a sign, to 18 decimals; the entry cost where *price* is null."""
    value = func.abs(func.coalesce(price * Position.quantity, Position.cost)) * contract_multiplier()
    return func.round(value, MONEY_DECIMALS)
