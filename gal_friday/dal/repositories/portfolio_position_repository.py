"""Entries and pyramids."""

from collections.abc import Sequence

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given
from gal_friday.dal.models.enums import EntryStatus, RolloverStatus
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.portfolio import PortfolioPosition

_LIVE = (EntryStatus.OPEN, EntryStatus.PARTIAL)


class PortfolioPositionRepository(BaseRepository[PortfolioPosition]):
    model = PortfolioPosition

    @one_statement
    async def get_open_positions(
        self, *, instrument: str | None = None, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[PortfolioPosition]:
        """Entries and pyramids that are not closed, in the order they were entered."""
        return await self.find_all(
            PortfolioPosition.account_id == account_id,
            PortfolioPosition.status.in_(_LIVE),
            *given((PortfolioPosition.instrument, instrument)),
            order_by=PortfolioPosition.entry_timestamp,
        )

    @one_statement
    async def get_rollovers(
        self, status: RolloverStatus, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[PortfolioPosition]:
        """Entries at this stage of moving to the next contract, in the order they were entered."""
        return await self.find_all(
            PortfolioPosition.account_id == account_id,
            PortfolioPosition.rollover_status == status,
            order_by=PortfolioPosition.entry_timestamp,
        )
