"""What an account should hold in each currency, beside what the exchange says it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, SQLColumnExpression, and_, case, func, literal, or_, select, union_all

from gal_friday.dal.models import CashFlow, Fill, Instrument, Order, Position, Side
from gal_friday.dal.models.types import Cost
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.dal.valuation import INSTRUMENT_OF_POSITION, IS_SPOT
from gal_friday.money import ZERO, exact

_INSTRUMENT_OF_FILL = and_(Instrument.exchange == Fill.exchange, Instrument.trading_pair == Fill.trading_pair)
_SETTLED_IN_QUOTE = or_(
    Instrument.settle_currency.is_(None), Instrument.settle_currency == Fill.quote_currency
)


@dataclass(frozen=True, slots=True)
class BalanceComparison:
    """One currency: what the books expect, exactly, and what there is.

    `by_strategy` says whose fills and cash flows make up what is expected; what no strategy has part in, such
    as deposits, is under None.
    """

    currency: str
    expected: Decimal
    actual: Decimal
    by_strategy: Mapping[str | None, Decimal]

    @property
    def difference(self) -> Decimal:
        """Actual less expected."""
        with exact():
            return self.actual - self.expected


async def compare_balances(
    uow: UnitOfWork, actual: Mapping[str, Decimal], *, account_id: str
) -> Sequence[BalanceComparison]:
    """Each currency the account expects or has, by name; one that *actual* does not name is zero there.

    Expected is the sum over strategies of what fills and cash flows moved. A spot fill moves base by its
    quantity and quote by price × quantity; one of a derivative moves what it realised, in the quote currency.
    Either takes its commission from the currency it was charged in. An adjustment of a position counts where
    that is of a derivative: in spot it corrects a profit, and no money moved. Profit of a contract settled in
    another currency than its quote is not on the books in that currency and counts nowhere.
    """
    statement = _movements(account_id)
    held: dict[str, dict[str | None, Decimal]] = {currency: {} for currency in actual}
    for currency, strategy_id, amount in await uow.session.execute(statement):
        held.setdefault(currency, {})[strategy_id] = amount
    with exact():
        return [
            BalanceComparison(
                currency, sum(held[currency].values(), ZERO), actual.get(currency, ZERO), held[currency]
            )
            for currency in sorted(held)
        ]


def _movements(account_id: str) -> Select[str, str | None, Decimal]:
    signed = case((Fill.side == Side.BUY, Fill.quantity_filled), else_=-Fill.quantity_filled)
    units = signed * Fill.contract_multiplier
    base = func.coalesce(Instrument.base_currency, func.split_part(Fill.trading_pair, "/", 1))
    moved = union_all(
        *(
            part.where(Fill.account_id == account_id)
            for part in (
                _of_fills(base, units).where(IS_SPOT),
                _of_fills(Fill.quote_currency, -units * Fill.fill_price).where(IS_SPOT),
                _of_fills(Fill.quote_currency, Fill.realized_pnl).where(~IS_SPOT, _SETTLED_IN_QUOTE),
                _of_fills(Fill.commission_asset, -Fill.commission),
            )
        ),
        _cash_flows().where(CashFlow.account_id == account_id),
    ).subquery()
    total = func.sum(moved.c.amount)
    return (
        select(moved.c.currency, moved.c.strategy_id, total)
        .group_by(moved.c.currency, moved.c.strategy_id)
        .having(total != literal(ZERO, Cost()))
        .order_by(moved.c.currency, moved.c.strategy_id)
    )


def _of_fills(
    currency: SQLColumnExpression[str], amount: SQLColumnExpression[Any]
) -> Select[str, str | None, Any]:
    return (
        select(currency.label("currency"), Order.strategy_id, amount.label("amount"))
        .select_from(Fill)
        .join(Order, Order.id == Fill.order_id)
        .outerjoin(Instrument, _INSTRUMENT_OF_FILL)
    )


def _cash_flows() -> Select[str, str | None, Decimal]:
    return (
        select(CashFlow.currency, Position.strategy_id, CashFlow.amount)
        .outerjoin(Position, Position.id == CashFlow.position_id)
        .outerjoin(Instrument, INSTRUMENT_OF_POSITION)
        .where(or_(CashFlow.applied_seq.is_(None), ~IS_SPOT))
    )
