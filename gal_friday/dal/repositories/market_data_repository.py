"""Candles."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_
from sqlalchemy.dialects.postgresql import Insert

from gal_friday.dal.base import BaseRepository, UpsertCounts, one_statement
from gal_friday.dal.criteria import within
from gal_friday.dal.models.timeseries import Candle

# The whole candle: a column not given goes back to its default, and so a candle to final.
_REPLACED = (
    Candle.open,
    Candle.high,
    Candle.low,
    Candle.close,
    Candle.volume,
    Candle.trades_count,
    Candle.vwap,
    Candle.is_final,
    Candle.data_source,
    Candle.data_quality_score,
)


class MarketDataRepository(BaseRepository[Candle]):
    model = Candle

    async def store_candles(self, candles: Iterable[Candle]) -> UpsertCounts:
        """Store candles, or bring those already there up to date.

        A final candle is replaced by another final one only: what still changes says less than what no longer
        does. Of candles with the same key in one call the last one counts.
        """
        live_first = sorted(candles, key=lambda candle: candle.is_final is not False)
        return await self._upsert_many(live_first, update=_REPLACED, may_replace=_not_final_by_live)

    @one_statement
    async def get_historical_data(
        self,
        exchange: str,
        trading_pair: str,
        timeframe: str,
        start: datetime,
        end: datetime,
        *,
        limit: int | None = None,
    ) -> Sequence[Candle]:
        """Candles that begin from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            Candle.exchange == exchange,
            Candle.trading_pair == trading_pair,
            Candle.timeframe == timeframe,
            *within(Candle.timestamp, start, end),
            order_by=Candle.timestamp,
            limit=limit,
        )

    @one_statement
    async def get_latest_candles(
        self, exchange: str, trading_pair: str, timeframe: str, *, limit: int = 100
    ) -> Sequence[Candle]:
        """The last *limit* candles, oldest first."""
        newest_first = await self.find_all(
            Candle.exchange == exchange,
            Candle.trading_pair == trading_pair,
            Candle.timeframe == timeframe,
            order_by=Candle.timestamp.desc(),
            limit=limit,
        )
        return newest_first[::-1]


def _not_final_by_live(statement: Insert) -> ColumnElement[bool]:
    return or_(statement.excluded.is_final, ~Candle.is_final)
