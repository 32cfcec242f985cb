"""What a portfolio's tests have in common."""

from decimal import Decimal
from typing import Any

from gal_friday.dal.models import CashFlowKind
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import exact
from gal_friday.services import PortfolioManager
from tests.factories import NOON, a_cash_flow

CAPITAL = Decimal(5_000_000)
BOT_B = "bot-b"
portfolio = PortfolioManager()
bot_b = PortfolioManager(BOT_B)


def figures(*values: object) -> Any:
    """To be compared with numbers of any type."""
    return values


async def an_account(uow: UnitOfWork, capital: Decimal = Decimal(1_000), **options: Any) -> None:
    await uow.accounts.open_account(BOT_B, initial_capital=capital, opened_at=NOON, **options)


async def gain(uow: UnitOfWork, amount: Decimal | int, currency: str = "USD") -> None:
    """Interest: equity moves, and nobody put anything in."""
    await uow.cash_flows.add(
        a_cash_flow(account_id=BOT_B, amount=Decimal(amount), currency=currency, kind=CashFlowKind.INTEREST)
    )


async def realise(uow: UnitOfWork, amount: Decimal) -> None:
    """What a fill would: equity moves by what it realised."""
    state = await uow.portfolio_states.get_for_update("USD", account_id=BOT_B)
    with exact():
        state.closed_equity += amount
    await uow.portfolio_states.update(state)
