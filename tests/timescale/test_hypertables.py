"""Hypertables, compressed or not, keep the promises their tables have always made."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from gal_friday.dal.base import UpsertCounts
from gal_friday.database import Database
from gal_friday.errors import ConstraintViolated
from tests.commands import gal_friday
from tests.factories import EXCHANGE, MINUTE, NOON, PAIR, a_candle, a_market_trade
from tests.timescale.place import MANY, Place

pytestmark = pytest.mark.timescaledb

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_HOURS = text("""
    SELECT "timestamp", open, high, low, close, volume, trades_count, vwap, is_final, candles
    FROM market_data_hours ORDER BY 1
""")
EVERYTHING_AGAIN = """
    INSERT INTO market_data AS stored SELECT * FROM market_data
    ON CONFLICT (exchange, trading_pair, timeframe, "timestamp") DO UPDATE SET volume = excluded.volume + 1
"""


async def stored(bot: Database, *closes: int, first: int = 0, is_final: bool = True) -> UpsertCounts:
    """Store minutes from NOON on, with these prices."""
    async with bot.transaction() as uow:
        return await uow.market_data.store_candles(
            a_candle(
                timestamp=NOON + (first + number) * MINUTE,
                **dict.fromkeys(("open", "high", "low", "close", "vwap"), Decimal(close)),
                volume=Decimal(2),
                is_final=is_final,
            )
            for number, close in enumerate(closes)
        )


async def closes(bot: Database) -> list[Decimal]:
    return [candle.close for candle in await bot.market_data.get_latest_candles(EXCHANGE, PAIR, "1m")]


async def test_late_candles_find_their_place_among_compressed_ones(converted: Place, bot: Database) -> None:
    await stored(bot, 10, 11, 12)
    await stored(bot, 13, first=3, is_final=False)
    await converted.upkeep().run(now=NOON + 60 * DAY)
    assert converted.chunks() == ["0+"]
    assert await stored(bot, 11, 14, first=1) == UpsertCounts(0, 1, 1)
    assert await stored(bot, 20, 21, first=3) == UpsertCounts(1, 1, 0)
    assert await closes(bot) == [10, 11, 14, 20, 21]
    await converted.upkeep().run(now=NOON + 60 * DAY)
    assert converted.chunks() == ["0+"]
    assert await closes(bot) == [10, 11, 14, 20, 21]


async def test_a_rule_of_the_table_holds_for_compressed_rows(converted: Place, bot: Database) -> None:
    await stored(bot, 10)
    await converted.upkeep().run(now=NOON + 60 * DAY)
    with pytest.raises(ConstraintViolated):
        async with bot.transaction() as uow:
            await uow.market_data.store_candles([a_candle(timestamp=NOON, high=Decimal(1), low=Decimal(2))])
    assert await closes(bot) == [10]


async def test_more_rows_are_stored_again_than_the_server_would_take_out_by_itself(converted: Place) -> None:
    converted.sql(MANY)
    await converted.upkeep().run(now=NOON)
    assert all(chunk == "0+" for chunk in converted.chunks())
    converted.sql(EVERYTHING_AGAIN)
    assert converted.sql("SELECT count(*), sum(volume) FROM market_data") == (
        f"150000|{sum(range(1, 150_001)) + 150_000}.000000000000000000"
    )


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE market_trades SET price = 1",
        "UPDATE market_trades SET price = 1 WHERE exchange = 'kraken'",
        "DELETE FROM market_trades",
        "DELETE FROM market_trades WHERE exchange = 'kraken' AND trading_pair = 'BTC/USD'",
        "TRUNCATE market_trades",
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
async def test_trades_of_the_market_are_only_added(
    change: str, compressed: bool, converted: Place, bot: Database
) -> None:
    async with bot.transaction() as uow:
        uow.session.add_all(a_market_trade(traded_at=NOON + n * MINUTE, trade_id=f"t{n}") for n in range(3))
    if compressed:
        await converted.upkeep().run(now=NOON + 60 * DAY)
    assert converted.chunks("market_trades") == ["0+" if compressed else "3"]
    before = converted.contents()
    with pytest.raises(RuntimeError, match="a row of this table is its own record"):
        converted.sql(change)  # by the superuser
    assert converted.contents() == before


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT drop_chunks('market_data', older_than => now())",
        "SELECT decompress_chunk(chunk) FROM show_chunks('market_data') AS chunk",
        "DELETE FROM market_trades",
        "TRUNCATE market_data",
        "CALL refresh_continuous_aggregate('market_data_hours', NULL, NULL)",
    ],
)
async def test_a_trader_manages_no_chunks(statement: str, converted: Place, bot: Database) -> None:
    await stored(bot, 10)
    await converted.upkeep().run(now=NOON + 60 * DAY)
    before = converted.contents()
    with pytest.raises(RuntimeError, match=r"must be owner|permission denied"):
        converted.sql("SET ROLE the_bot", statement)
    assert converted.contents() == before


async def test_the_hours_are_what_a_query_makes_of_the_minutes(converted: Place, bot: Database) -> None:
    await stored(bot, *range(100, 400))
    async with bot.transaction() as uow:  # off the minute: a candle that belongs to no bar
        await uow.market_data.store_candles([a_candle(timestamp=NOON + timedelta(seconds=7))])
        await uow.market_data.store_candles([a_candle(timestamp=NOON + 70 * MINUTE, vwap=None)])
    span = (EXCHANGE, PAIR, "1h", NOON - HOUR, NOON + 9 * HOUR)
    expected = (await bot.market_data.query_ohlcv(*span)).bars
    assert len(expected) == 5
    for now in (NOON, NOON + 60 * DAY):  # made when asked for, then stored
        await converted.upkeep().run(now=now)
        assert await hours(bot) == [
            (
                *(bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume),
                *(bar.trades_count, bar.vwap, bar.is_final, bar.candles),
            )
            for bar in expected
        ]


async def hours(bot: Database) -> list[tuple[object, ...]]:
    async with bot.transaction() as uow:
        rows = await uow.session.execute(_HOURS)
        return [tuple(row) for row in rows]


async def test_the_same_file_imported_again_changes_nothing_compressed_or_not(
    converted: Place, tmp_path: Path
) -> None:
    lines = (f"{int(NOON.timestamp()) + 60 * minute},1,2,0.5,1.5,{minute}" for minute in range(3_000))
    header = "timestamp,open,high,low,close,volume"
    (tmp_path / "BTC_USD-1m.csv").write_text("\n".join([header, *lines, ""]))
    place = converted.url_of("bot")
    first = gal_friday(place, tmp_path, "import", "candles", "BTC_USD-1m.csv", "--exchange", "kraken")
    assert "│ 3,000 │ 3,000 │       0 │         0 │       0 │" in first.stdout, first.stderr
    before = converted.contents()
    await converted.upkeep().run(now=NOON + 60 * DAY)
    again = gal_friday(place, tmp_path, "import", "candles", "BTC_USD-1m.csv", "--exchange", "kraken")
    assert "│ 3,000 │   0 │       0 │     3,000 │       0 │" in again.stdout, again.stdout
    assert converted.contents() == before
    exported = gal_friday(place, tmp_path, "export", "candles", "--to", "csv", "-o", "out.csv")
    assert exported.returncode == 0, exported.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3_001
