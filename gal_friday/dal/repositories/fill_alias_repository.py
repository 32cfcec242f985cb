"""Further ids fills are known by."""

from collections.abc import Sequence
from uuid import UUID

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.fills import FillAlias


class FillAliasRepository(BaseRepository[FillAlias]):
    model = FillAlias

    @one_statement
    async def of_fill(self, fill_id: UUID) -> Sequence[FillAlias]:
        """The other ids of the fill stored under this one, in the order they became known."""
        return await self.find_all(FillAlias.aliased_fill_id == fill_id, order_by=FillAlias.created_at)
