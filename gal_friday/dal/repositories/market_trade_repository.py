"""Trades of everyone, as exchanges publish them."""

from collections.abc import Sequence
from datetime import datetime

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import within
from gal_friday.dal.models.timeseries import MarketTrade


class MarketTradeRepository(BaseRepository[MarketTrade]):
    model = MarketTrade

    @one_statement
    async def between(
        self,
        exchange: str,
        trading_pair: str,
        start: datetime,
        end: datetime,
        *,
        limit: int | None = None,
    ) -> Sequence[MarketTrade]:
        """Trades made from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            MarketTrade.exchange == exchange,
            MarketTrade.trading_pair == trading_pair,
            *within(MarketTrade.traded_at, start, end),
            order_by=MarketTrade.traded_at,
            limit=limit,
        )
