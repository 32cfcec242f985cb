"""Closed trades that were moved out of the way."""

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.trades import ArchivedTrade


class ArchivedTradeRepository(BaseRepository[ArchivedTrade]):
    model = ArchivedTrade
