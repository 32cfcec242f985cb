"""Equity and risk of accounts."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import or_, select, update

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.portfolio import PortfolioState
from gal_friday.errors import NotFound
from gal_friday.money import amount_rounded


class PortfolioStateRepository(BaseRepository[PortfolioState]):
    model = PortfolioState

    @one_statement
    async def of_account(self, account_id: str = DEFAULT_ACCOUNT_ID) -> Sequence[PortfolioState]:
        """The account's state, one row per currency."""
        return await self.find_all(PortfolioState.account_id == account_id, order_by=PortfolioState.currency)

    async def get_for_update(self, currency: str, *, account_id: str = DEFAULT_ACCOUNT_ID) -> PortfolioState:
        """The state in *currency*, locked until this transaction ends. Raises NotFound, LockTimeout."""
        key = account_id, currency
        state = await self._session.get(PortfolioState, key, with_for_update=True, populate_existing=True)
        if state is None:
            raise NotFound(table=PortfolioState.__tablename__, key=key)
        return state

    async def lock_all(self, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        """Lock the account's state in every currency until this transaction ends. Raises LockTimeout."""
        await self._session.execute(
            select(PortfolioState.currency)
            .where(PortfolioState.account_id == account_id)
            .order_by(PortfolioState.currency)
            .with_for_update()
        )

    async def raise_peaks(
        self, equities: Mapping[str, Decimal], *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> None:
        """Let the account's peak in each currency be at least the equity given; it never goes down.

        Of several that raise a peak at once the highest stays. Peaks that are high enough are not touched.
        """
        for currency in sorted(equities):
            await self._stored(
                update(PortfolioState)
                .where(
                    PortfolioState.account_id == account_id,
                    PortfolioState.currency == currency,
                    or_(
                        PortfolioState.peak_equity.is_(None),
                        PortfolioState.peak_equity < amount_rounded(equities[currency]),
                    ),
                )
                .values(peak_equity=amount_rounded(equities[currency]))
            )
