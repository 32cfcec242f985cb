"""Proof of commits whose answer was lost."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, delete, func, select

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.marked_commits import KEPT, first_marker_of
from gal_friday.dal.models.instances import CommitMarker
from gal_friday.errors import InvalidValue

_LAST = UUID(int=2**128 - 1)


class CommitMarkerRepository(BaseRepository[CommitMarker]):
    model = CommitMarker

    async def prune(self, older_than: timedelta = KEPT, *, limit: int = 10_000) -> int:
        """Remove the oldest markers, at most *limit* and none younger than *older_than*; how many went.

        Raises InvalidValue for what would remove markers that can still be asked for.
        """
        if older_than < KEPT:
            raise InvalidValue("markers may be asked for longer", name="older_than", least=KEPT)
        kept_by_limit = select(CommitMarker.id).order_by(CommitMarker.id).offset(limit).limit(1)
        removed = delete(CommitMarker).where(
            CommitMarker.id < first_marker_of(datetime.now(UTC) - older_than),
            # A range of the key, not a list of rows: two that prune at once meet them in the same order.
            CommitMarker.id < func.coalesce(kept_by_limit.scalar_subquery(), _LAST),
        )
        result = await self._session.execute(removed, execution_options={"synchronize_session": False})
        return cast("CursorResult[Any]", result).rowcount
