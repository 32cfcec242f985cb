"""Replaying: one transaction after the other, each beginning from what the database says."""

from collections.abc import Callable
from functools import partial

from gal_friday.adapters.candle_rows import CandleRow
from gal_friday.dal.models import Candle, Severity
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.replay.beginning import begin, stored_progress
from gal_friday.replay.books import Books
from gal_friday.replay.bot import Bot
from gal_friday.replay.progress import STATE_KEY, Progress
from gal_friday.replay.run import Run


async def replay(
    database: Database, run: Run, *, limit: int | None = None, report: Callable[[int], None] = lambda _: None
) -> Progress:
    """Replay *run* from where it stands to its end, or until *limit* candles are done.

    Whatever a candle leads to is stored in one transaction with the cursor, so that it may be interrupted
    at any instant. *report* is called with the cursor after each commit. A run at its end is left as it is.

    Raises AlreadyExists where the run was begun with another file or other rules.
    """
    end = len(run.candles) if limit is None else min(limit, len(run.candles))
    progress = await database.retrying(partial(begin, run=run), actor="replay")
    report(progress.cursor)
    while progress.cursor < end:
        progress = await database.retrying(partial(advance, run=run, end=end), actor="replay")
        report(progress.cursor)
    return progress


async def advance(uow: UnitOfWork, run: Run, end: int) -> Progress:
    """One transaction's candles, up to *end* at most; gives back where the run stands after them."""
    books = await Books.open(uow, run)
    progress = await stored_progress(uow, run)
    size = run.rules.candles_per_commit
    candles = run.candles[progress.cursor : min(progress.cursor // size * size + size, end)]
    if not candles:
        return progress  # another process was here meanwhile
    bot = Bot(uow, run, books, progress)
    for candle in candles:
        await bot.on_candle(candle)
    await uow.market_data.store_candles([_stored(run, candle) for candle in candles])
    last = candles[-1]
    bot.note(
        run.closes_at(last),
        "DATA",
        "candles stored",
        Severity.DEBUG,
        candles=len(candles),
        last=last.timestamp,
    )
    if books.position is not None:
        await uow.flush()
        await uow.position_marks.mark_many({books.position.id: last.close}, marked_at=run.closes_at(last))
    if bot.progress.cursor == len(run.candles):
        await _finish(uow, run, bot)
    await uow.logs.add_many(bot.logs)
    await uow.strategy_states.set_value(run.name, STATE_KEY, bot.progress.as_json(), account_id=run.name)
    return bot.progress


async def _finish(uow: UnitOfWork, run: Run, bot: Bot) -> None:
    end = run.closes_at(run.candles[-1])
    strategy = await uow.strategies.one(run.name)
    strategy.is_active, strategy.deactivated_at = False, end
    await uow.strategies.update(strategy)
    bot.note(end, "STRATEGY", "replay finished", candles=len(run.candles))


def _stored(run: Run, candle: CandleRow) -> Candle:
    return Candle(
        exchange=run.exchange,
        trading_pair=run.trading_pair,
        timeframe=run.timeframe,
        timestamp=candle.timestamp,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        vwap=candle.vwap,
        trades_count=candle.trades_count,
        data_source=run.file_format,
    )
