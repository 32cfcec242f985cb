"""`gal-friday db timescale`: the time-series tables handed over to TimescaleDB."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.cli.db import server_url, settings_of

if TYPE_CHECKING:
    from gal_friday.upkeep.timescale import Timescale

app = typer.Typer(help="Hypertables in place of partitions.", no_args_is_help=True)


@app.command()
def enable(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Convert market_data, market_trades and series_points, all or none; the second time does nothing.

    For the login of GAL_FRIDAY_DATABASE__MIGRATION_URL, which owns the database.
    """
    if not yes:
        typer.confirm("Meanwhile nobody can use these tables, and there is no way back. Go on?", abort=True)
    with _timescale(context) as timescale:
        done = asyncio.run(timescale.enable())
    for table, rows in done.converted.items():
        typer.echo(f"{table} is a hypertable; rows taken along: {rows:,}")
    if done.is_new:
        typer.echo("market_data_hours has the hours made of minutes")
    changed = done.converted or done.is_new
    typer.echo(f"TimescaleDB {done.version} {'is enabled.' if changed else 'was enabled already.'}")


@app.command()
def status(context: typer.Context) -> None:
    """What the server offers, and how the time-series tables are kept."""
    with _timescale(context) as timescale:
        standing = asyncio.run(timescale.status())
    versions = f"server: {standing.offered or 'not offered'}; database: {standing.installed or 'not enabled'}"
    typer.echo(f"TimescaleDB, {versions}")
    table = Table("table", "kept as", "parts", "of them compressed", "bytes")
    for name, found in standing.tables.items():
        if found is not None:
            kind = "hypertable" if found.is_hypertable else "partitions"
            compressed = sum(part.is_compressed for part in found.partitions)
            size = sum(part.bytes for part in found.partitions)
            table.add_row(name, kind, str(len(found.partitions)), str(compressed), f"{size:,}")
    Console().print(table)


@contextmanager
def _timescale(context: typer.Context) -> "Iterator[Timescale]":
    from gal_friday.upkeep.timescale import Timescale  # noqa: PLC0415 -- Alembic takes a second

    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_migration_url()) as url:
        yield Timescale(url, settings.database, settings.upkeep)
