"""Proof of commits whose answer was lost."""

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.instances import CommitMarker


class CommitMarkerRepository(BaseRepository[CommitMarker]):
    model = CommitMarker
