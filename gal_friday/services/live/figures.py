"""portfolio_state's figures of risk, which follow from the entries held and their stops."""

from decimal import Decimal

from sqlalchemy import case, func, select

from gal_friday.dal.models import EntryStatus, PortfolioPosition, PortfolioState, PositionSide
from gal_friday.dal.models.positions import Position
from gal_friday.dal.models.types import Cost
from gal_friday.money import ZERO, amount_rounded, exact, ratio_rounded
from gal_friday.state.state_transaction import StateTransaction

_HUNDRED = Decimal(100)
_LOSS = (
    case(
        (Position.side == PositionSide.SHORT, PortfolioPosition.current_stop - PortfolioPosition.entry_price),
        else_=PortfolioPosition.entry_price - PortfolioPosition.current_stop,
    )
    * PortfolioPosition.quantity
)
_VALUE = PortfolioPosition.entry_price * PortfolioPosition.quantity


async def update_figures(t: StateTransaction, currency: str) -> None:
    """Let risk and volatility of the account in *currency* be those of the entries it holds now.

    The risk of an entry is what is lost between entry price and stop, at least 0; without a stop it is its
    whole value. Locks portfolio_state: the last thing in its transaction.
    """
    risk, volatility = (
        await t.uow.session.execute(
            select(
                func.coalesce(func.sum(func.greatest(func.coalesce(_LOSS, _VALUE), 0)), 0, type_=Cost()),
                func.coalesce(func.sum(PortfolioPosition.atr * PortfolioPosition.quantity), 0, type_=Cost()),
            )
            .outerjoin(Position, Position.id == PortfolioPosition.net_position_id)
            .where(
                PortfolioPosition.account_id == t.account_id,
                PortfolioPosition.currency == currency,
                PortfolioPosition.status.in_((EntryStatus.OPEN, EntryStatus.PARTIAL)),
                PortfolioPosition.quantity > 0,
            )
        )
    ).one()
    state = await t.uow.session.get(
        PortfolioState, (t.account_id, currency), with_for_update=True, populate_existing=True
    )
    if state is None:  # nothing was ever booked in it
        return
    equity = state.closed_equity
    with exact():
        percent = ratio_rounded(risk * _HUNDRED, equity) if equity > 0 else ZERO
    state.total_risk_amount = amount_rounded(risk)
    state.total_risk_percent = percent
    state.total_volatility_amount = amount_rounded(volatility)
    await t.uow.flush()
