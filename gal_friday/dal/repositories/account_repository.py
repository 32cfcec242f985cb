"""Accounts."""

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.accounts import Account, CashFlow
from gal_friday.dal.models.enums import AccountMode, CashFlowKind
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.portfolio import DEFAULT_INITIAL_CAPITAL, PortfolioState
from gal_friday.errors import AlreadyExists
from gal_friday.money import ZERO


class AccountRepository(BaseRepository[Account]):
    model = Account

    async def open_account(
        self,
        account_id: str = DEFAULT_ACCOUNT_ID,
        *,
        mode: AccountMode | None = None,
        exchange: str | None = None,
        reporting_currency: str = "USD",
        initial_capital: Decimal = DEFAULT_INITIAL_CAPITAL,
        opened_at: datetime | None = None,
        reason: str | None = None,
    ) -> Account:
        """The account of this name: made with its portfolio state, or as it is where it is open already.

        *mode* is PAPER unless given; *initial_capital* is in *reporting_currency* and booked as its first
        cash flow, as of *opened_at* (default: now), with its *reason*. Safe for many processes at once, and
        never resets equity. Raises AlreadyExists where the account is open in another mode or at another
        exchange than given.
        """
        new = {"account_id": account_id, "mode": mode or AccountMode.PAPER, "exchange": exchange}
        made = await self._stored(
            insert(Account).values(**new, reporting_currency=reporting_currency).on_conflict_do_nothing()
        )
        account = made.one_or_none() or await self.one(account_id)
        if account.mode != (mode or account.mode) or account.exchange != (exchange or account.exchange):
            raise AlreadyExists(
                "the account is open for something else",
                account_id=account_id,
                mode=account.mode.value,
                exchange=account.exchange,
            )
        opening = await self._session.scalars(
            insert(PortfolioState)
            .values(
                account_id=account_id,
                currency=account.reporting_currency,
                initial_capital=initial_capital,
                closed_equity=ZERO,
            )
            .on_conflict_do_nothing()
            .returning(PortfolioState.currency)
        )
        if opening.one_or_none() is not None:
            self._session.add(
                CashFlow(
                    account_id=account_id,
                    currency=account.reporting_currency,
                    amount=initial_capital,
                    kind=CashFlowKind.OPENING,
                    occurred_at=opened_at or datetime.now(UTC),
                    reason=reason,
                )
            )
            await self._flush()
        return account
