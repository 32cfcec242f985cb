"""`gal-friday replay`: recorded candles, a small strategy, and all a bot would store."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.cli.progress import progress
from gal_friday.money import canonical

if TYPE_CHECKING:
    from gal_friday.config import Settings
    from gal_friday.replay.run import Run
    from gal_friday.replay.summary import Summary

INTERRUPTED = 130


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Kraken OHLC JSON, freqtrade JSON, or CSV.")],
    *,
    run: Annotated[
        str | None, typer.Option(help="Name to keep the run under; by default from file and pair.")
    ] = None,
    pair: Annotated[str | None, typer.Option(help="Where the file does not tell: BTC/USDT.")] = None,
    exchange: Annotated[str | None, typer.Option(help="Where the file does not tell: kraken.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Stop after so many candles; started again it goes on.")
    ] = None,
    fast: Annotated[int, typer.Option(help="Closes in the fast average.")] = 10,
    slow: Annotated[int, typer.Option(help="Closes in the slow average.")] = 30,
    candles_per_commit: Annotated[int, typer.Option(min=1, help="Candles in one transaction.")] = 25,
) -> None:
    """Replay recorded candles through a moving-average bot and store everything it does.

    It may be killed at any instant: started again with the same file it goes on exactly where it was.
    """
    from gal_friday.adapters.candle_files import read_candles  # noqa: PLC0415 -- help must not wait for SQLAlchemy
    from gal_friday.replay.run import Rules, Run  # noqa: PLC0415 -- likewise

    rules = Rules(fast=fast, slow=slow, candles_per_commit=candles_per_commit)
    it = Run.of(read_candles(file), name=run, trading_pair=pair, exchange=exchange, rules=rules)
    console = Console()
    try:
        summary, had = asyncio.run(_replay(context.obj, it, limit, console))
    except KeyboardInterrupt:
        console.print(f"Interrupted; nothing is half done. The same command goes on with run {it.name!r}.")
        raise typer.Exit(INTERRUPTED) from None
    if had == len(it.candles):
        console.print(f"Run {it.name!r} was finished before; nothing to do.")
    console.print(_table(it, summary))


async def _replay(
    settings: "Settings", run: "Run", limit: int | None, console: Console
) -> "tuple[Summary, int]":
    from gal_friday.database import open_database  # noqa: PLC0415 -- see above
    from gal_friday.replay.runner import replay as replay_run  # noqa: PLC0415
    from gal_friday.replay.summary import summary_of  # noqa: PLC0415

    seen: list[int] = []
    async with open_database(settings) as database:
        with progress(console, run.name, len(run.candles), "candles") as report:

            def note(cursor: int) -> None:
                seen.append(cursor)
                report(cursor)

            await replay_run(database, run, limit=limit, report=note)
        async with database.transaction(actor="replay") as uow:
            return await summary_of(uow, run), seen[0]


def _table(run: "Run", summary: "Summary") -> Table:
    table = Table(title=f"{run.name}: {run.trading_pair} {run.timeframe} at {run.exchange}")
    table.add_column("table")
    table.add_column("rows", justify="right")
    for name, count in sorted(summary.rows.items()):
        table.add_row(name, f"{count:,}")
    table.add_section()
    table.add_row("trades closed, with profit", f"{summary.trades:,}, {summary.winning_trades:,}")
    table.add_row(f"equity, {summary.currency}", f"{canonical(summary.equity):,f}")
    return table
