"""`gal-friday import`: files of candles and trades into the database."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.adapters.market_files.content import Kind, OnError
from gal_friday.cli.db import settings_of
from gal_friday.cli.progress import progress
from gal_friday.errors import UnreadableFile

if TYPE_CHECKING:
    from gal_friday.adapters.market_files.terms import Terms
    from gal_friday.config import Settings
    from gal_friday.services.market_import import ImportReport

INTERRUPTED = 130
_NAMED = 20

app = typer.Typer(help="Files of candles and trades into the database.", no_args_is_help=True)

Files = Annotated[
    list[Path], typer.Argument(help="Of Kraken, Binance or freqtrade, CSV, Parquet or Arrow; gzip as well.")
]
Exchange = Annotated[str | None, typer.Option(help="Where the file does not tell: kraken.")]
Pair = Annotated[str | None, typer.Option(help="Where neither file nor name tells: BTC/USDT.")]
NaiveIsUtc = Annotated[bool, typer.Option("--naive-is-utc", help="Times without a zone are UTC.")]
Errors = Annotated[
    OnError, typer.Option(help="Where a row is refused: keep the others, or nothing of the file.")
]


@app.command("candles")
def import_candles(
    context: typer.Context,
    files: Files,
    *,
    exchange: Exchange = None,
    pair: Pair = None,
    timeframe: Annotated[
        str | None, typer.Option(help="Where neither file, name nor distances tell: 1m.")
    ] = None,
    quality: Annotated[
        int, typer.Option(min=0, max=100, help="A final candle is replaced by none of a lower one.")
    ] = 100,
    naive_is_utc: NaiveIsUtc = False,
    on_error: Errors = OnError.REFUSE_FILE,
) -> None:
    """Store the candles of files; what is there already is brought up to date, a repetition changes nothing.

    Exits 1 where anything was refused.
    """
    from gal_friday.adapters.market_files.terms import Terms  # noqa: PLC0415 -- help must not wait for SQLAlchemy

    terms = Terms(exchange, pair, timeframe, data_quality_score=quality, naive_is_utc=naive_is_utc)
    _import(settings_of(context), files, Kind.CANDLES, terms, on_error)


@app.command("trades")
def import_trades(
    context: typer.Context,
    files: Files,
    *,
    exchange: Exchange = None,
    pair: Pair = None,
    naive_is_utc: NaiveIsUtc = False,
    on_error: Errors = OnError.REFUSE_FILE,
) -> None:
    """Store the public trades of files; those that are there already are left alone.

    Exits 1 where anything was refused.
    """
    from gal_friday.adapters.market_files.terms import Terms  # noqa: PLC0415 -- see above

    _import(
        settings_of(context), files, Kind.TRADES, Terms(exchange, pair, naive_is_utc=naive_is_utc), on_error
    )


def _import(
    settings: "Settings", files: Sequence[Path], kind: Kind, terms: "Terms", on_error: OnError
) -> None:
    from gal_friday.services.market_import import ImportReport  # noqa: PLC0415 -- see above

    reports = [ImportReport(file) for file in files]
    interrupted = False
    try:
        asyncio.run(_import_all(settings, reports, kind, terms, on_error))
    except KeyboardInterrupt:
        interrupted = True
    Console().print(_table(reports))
    _print_refused(reports)
    if interrupted:
        typer.echo("Interrupted; what is counted is stored whole. The same command goes on.")
        raise typer.Exit(INTERRUPTED)
    if any(report.refused or report.problem for report in reports):
        raise typer.Exit(1)


async def _import_all(
    settings: "Settings",
    reports: "Sequence[ImportReport]",
    kind: Kind,
    terms: "Terms",
    on_error: OnError,
) -> None:
    from gal_friday.database import open_database  # noqa: PLC0415 -- see above
    from gal_friday.services.market_import import import_file  # noqa: PLC0415

    async with open_database(settings) as database:
        for report in reports:
            size = report.file.stat().st_size if report.file.is_file() else 0
            with progress(Console(), report.file.name, size, "bytes") as told:
                try:
                    await import_file(database, report, kind, terms, on_error=on_error, progress=told)
                except UnreadableFile as error:  # the others may be good
                    report.problem = error


def _table(reports: "Sequence[ImportReport]") -> Table:
    table = Table("file", "format")
    for name in ("read", "new", "updated", "unchanged", "refused"):
        table.add_column(name, justify="right")
    for report in reports:
        counts = (report.read, report.new, report.updated, report.unchanged, report.refused)
        state = "refused" if report.problem else report.format
        table.add_row(report.file.name, state, *(f"{count:,}" for count in counts))
    return table


def _print_refused(reports: "Sequence[ImportReport]") -> None:
    for report in reports:
        if report.problem:
            typer.echo(f"refused: {report.problem}", err=True)
        for row in report.examples[:_NAMED]:
            typer.echo(f"refused: {row}", err=True)
        if report.refused > _NAMED:
            typer.echo(f"refused: {report.refused - _NAMED:,} more in {report.file}", err=True)
