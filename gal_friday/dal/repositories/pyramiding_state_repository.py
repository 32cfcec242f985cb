"""How far pyramids have been built."""

from collections.abc import Sequence

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.portfolio import PyramidingState


class PyramidingStateRepository(BaseRepository[PyramidingState]):
    model = PyramidingState

    @one_statement
    async def of_account(self, account_id: str = DEFAULT_ACCOUNT_ID) -> Sequence[PyramidingState]:
        """Every pyramid of the account, by instrument."""
        return await self.find_all(
            PyramidingState.account_id == account_id, order_by=PyramidingState.instrument
        )
