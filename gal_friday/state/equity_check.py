"""Equity: rebuilt from fills and cash flows, and compared with what is stored."""

from collections import defaultdict
from collections.abc import AsyncIterator
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.criteria import given
from gal_friday.dal.models import CashFlow, PortfolioState
from gal_friday.dal.repositories.audit_repository import row_key
from gal_friday.money import ZERO, exact
from gal_friday.state.differences import Difference
from gal_friday.state.ledger import FillEntry


class EquityCheck:
    """Adds up cash flows, and what fills realised less commission, by account and currency."""

    def __init__(self) -> None:
        self.cash_flows = 0
        self._rebuilt: defaultdict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)

    def settle(self, fill: FillEntry, gain: Decimal | None) -> None:
        """Add *gain* and take the commission, in its own currency where its rate is not known."""
        with exact():
            if fill.commission_quote is None:
                self._rebuilt[fill.account_id, fill.commission_asset] -= fill.commission
            net = (gain or ZERO) - (fill.commission_quote or ZERO)
            self._rebuilt[fill.account_id, fill.quote_currency] += net

    async def add_cash_flows(self, session: AsyncSession, account_id: str | None) -> None:
        """Add the movements of *account_id*, or of every account."""
        statement = (
            select(CashFlow.account_id, CashFlow.currency, func.sum(CashFlow.amount), func.count())
            .where(*given((CashFlow.account_id, account_id)))
            .group_by(CashFlow.account_id, CashFlow.currency)
        )
        for account, currency, amount, count in await session.execute(statement):
            self.cash_flows += count
            with exact():
                self._rebuilt[account, currency] += amount

    async def differences(self, session: AsyncSession, account_id: str | None) -> AsyncIterator[Difference]:
        """Closed equity that is not what was added up."""
        statement = select(
            PortfolioState.account_id, PortfolioState.currency, PortfolioState.closed_equity
        ).where(*given((PortfolioState.account_id, account_id)))
        stored = {
            (row.account_id, row.currency): row.closed_equity for row in await session.execute(statement)
        }
        for key in sorted(stored.keys() | self._rebuilt.keys()):
            there, here = stored.get(key), self._rebuilt[key]
            if (there or ZERO) != here:
                yield Difference(PortfolioState.__tablename__, row_key(key), "closed_equity", there, here)
