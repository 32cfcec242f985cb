"""`gal-friday export`: candles and trades of the database into a file."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gal_friday.adapters.market_files.content import Format, Kind
from gal_friday.cli.db import settings_of
from gal_friday.errors import InvalidValue

if TYPE_CHECKING:
    from gal_friday.config import Settings
    from gal_friday.services.market_export import Selection

INTERRUPTED = 130

app = typer.Typer(help="Candles and trades of the database into a file.", no_args_is_help=True)

Output = Annotated[Path, typer.Option("--output", "-o", help="File to write; it must not be there yet.")]
To = Annotated[Format, typer.Option("--to", help="Format of the file.")]
Exchange = Annotated[str | None, typer.Option(help="Of this exchange only.")]
Pair = Annotated[str | None, typer.Option(help="Of this pair only.")]
From = Annotated[str | None, typer.Option("--start", help="ISO 8601, UTC where no zone is given.")]
Until = Annotated[str | None, typer.Option("--end", help="Not included.")]


@app.command("candles")
def export_candles(
    context: typer.Context,
    output: Output,
    to: To,
    *,
    exchange: Exchange = None,
    pair: Pair = None,
    timeframe: Annotated[str | None, typer.Option(help="Of this length only.")] = None,
    start: From = None,
    end: Until = None,
) -> None:
    """Write stored candles to a file that `import candles` reads back without a change."""
    from gal_friday.services.market_export import Selection  # noqa: PLC0415 -- help must not wait for SQLAlchemy

    selection = Selection(exchange, pair, timeframe, _moment(start), _moment(end))
    _export(settings_of(context), output, Kind.CANDLES, to, selection)


@app.command("trades")
def export_trades(
    context: typer.Context,
    output: Output,
    to: To,
    *,
    exchange: Exchange = None,
    pair: Pair = None,
    start: From = None,
    end: Until = None,
) -> None:
    """Write stored trades to a file that `import trades` reads back without a change."""
    from gal_friday.services.market_export import Selection  # noqa: PLC0415 -- see above

    selection = Selection(exchange, pair, start=_moment(start), end=_moment(end))
    _export(settings_of(context), output, Kind.TRADES, to, selection)


def _export(settings: "Settings", output: Path, kind: Kind, to: Format, selection: "Selection") -> None:
    try:
        count = asyncio.run(_export_all(settings, output, kind, to, selection))
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.")
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(f"{count:,} {kind} in {output}")


async def _export_all(
    settings: "Settings", output: Path, kind: Kind, to: Format, selection: "Selection"
) -> int:
    from gal_friday.database import open_database  # noqa: PLC0415 -- see above
    from gal_friday.services.market_export import export_file  # noqa: PLC0415

    with Console().status(f"Writing {output.name} …") as status:

        def told(rows: int) -> None:
            status.update(f"Writing {output.name}: {rows:,} {kind} …")

        async with open_database(settings) as database:
            return await export_file(database, output, kind, to, selection, progress=told)


def _moment(given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise InvalidValue("not a time in ISO 8601", value=given) from None
    return moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment
