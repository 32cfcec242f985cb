"""Hours made of minutes, and days of hours, by the server."""

from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.upkeep.steps import PATIENCE_SECONDS, in_a_step

#: What such a candle has as its data_source.
SOURCE = "downsampled"

# The volume-weighted price needs one of every candle in which something was traded: none is guessed. A candle
# made of fewer than it could be has the less quality, so that it takes no better one's place.
_DOWNSAMPLE = text("""
    INSERT INTO market_data AS stored (exchange, trading_pair, timeframe, "timestamp", open, high, low, close,
        volume, trades_count, vwap, is_final, data_source, data_quality_score)
    SELECT exchange, trading_pair, CAST(:coarse AS varchar), bucket,
        (array_agg(open ORDER BY "timestamp"))[1], max(high), min(low),
        (array_agg(close ORDER BY "timestamp" DESC))[1], sum(volume),
        CASE WHEN count(trades_count) = count(*) THEN sum(trades_count) END,
        CASE WHEN sum(volume) > 0 AND bool_and(volume = 0 OR vwap IS NOT NULL)
            THEN average_price_rounded(sum(vwap * volume), sum(volume)) END,
        true, CAST(:source AS varchar), min(data_quality_score) * count(*) / CAST(:expected AS integer)
    FROM (
        SELECT *, date_trunc(CAST(:unit AS text), "timestamp", 'UTC') AS bucket FROM market_data
        WHERE timeframe = :fine AND is_final AND "timestamp" >= :start AND "timestamp" < :end
    ) AS fine
    GROUP BY exchange, trading_pair, bucket
    ORDER BY exchange, trading_pair, bucket
    ON CONFLICT (exchange, trading_pair, timeframe, "timestamp") DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, trades_count = excluded.trades_count, vwap = excluded.vwap,
        is_final = excluded.is_final, data_source = excluded.data_source,
        data_quality_score = excluded.data_quality_score
    WHERE NOT stored.is_final OR stored.data_quality_score < excluded.data_quality_score
        OR stored.data_source = excluded.data_source
        AND stored.data_quality_score = excluded.data_quality_score
        AND (stored.open, stored.high, stored.low, stored.close,
                stored.volume, stored.trades_count, stored.vwap)
            IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close,
                excluded.volume, excluded.trades_count, excluded.vwap)
""")
_HOURS = {"fine": "1m", "coarse": "1h", "unit": "hour", "expected": 60}
_DAYS = {"fine": "1h", "coarse": "1d", "unit": "day", "expected": 24}
_DAY = timedelta(days=1)


async def downsample(
    connection: AsyncConnection,
    start: datetime,
    end: datetime,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> int:
    """Store hours and days, made of the final minutes and hours of each whole UTC day from *start* to *end*.

    Gives back how many candles were new or changed: none the second time. open, high, low, close, volume
    and trades_count as usual; vwap is Σ(vwap·volume)/Σ(volume), rounded half up to 18 decimals, or empty
    where a candle with volume has none. The quality is the least of those a candle is made of, times the part
    of 60 minutes or 24 hours that were there. A final candle of the same or better quality from elsewhere is
    left alone. Each day is a transaction. Raises LockTimeout if others were in the way all the time.
    """
    day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = day if day == start else day + _DAY
    stored = 0
    while day + _DAY <= end:
        stored += await in_a_step(
            connection, partial(_one_day, connection, day), patience_seconds=patience_seconds
        )
        day += _DAY
    return stored


async def _one_day(connection: AsyncConnection, day: datetime) -> int:
    between = {"start": day, "end": day + _DAY, "source": SOURCE}
    hours = await connection.execute(_DOWNSAMPLE, {**between, **_HOURS})
    days = await connection.execute(_DOWNSAMPLE, {**between, **_DAYS})
    return hours.rowcount + days.rowcount
