"""`gal-friday spool`: points that wait on disk for their store."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.cli.db import server_url, settings_of

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from gal_friday.config import Settings
    from gal_friday.timeseries.writer_stats import WriterStats

app = typer.Typer(help="Points that wait on disk for their store of time series.", no_args_is_help=True)


@app.command()
def status(context: typer.Context) -> None:
    """What waits, whose it is, and what was refused; exits 1 where a file is damaged. Changes nothing."""
    from gal_friday.durable_log.refused import RefusedRecords  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.durable_log.slots import slot_states  # noqa: PLC0415

    console = Console()
    directories = _directories(settings_of(context))
    is_damaged = False
    for directory in directories:
        typer.echo(directory.name)
        table = Table("slot", "process", "batches", "bytes")
        damages = []
        for state in slot_states(directory):
            owner = "ended" if state.owner is None else str(state.owner or "unknown")
            table.add_row(state.directory.name, owner, f"{state.records:,}", f"{state.bytes:,}")
            damages += [state.damage] if state.damage else []
        console.print(table)
        for damage in damages:
            typer.echo(f"damaged: {damage}")
        is_damaged |= bool(damages)
        if refused := len(RefusedRecords(directory).lines()):
            typer.echo(f"{refused} refused: {RefusedRecords(directory).path}")
    if not directories:
        typer.echo("Nothing waits.")
    if is_damaged:
        raise typer.Exit(1)


@app.command()
def flush(
    context: typer.Context,
    *,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="The directory of another store's points, to bring them to this one.",
            exists=True,
            file_okay=False,
            resolve_path=True,
        ),
    ] = None,
) -> None:
    """Bring the store what processes that ended have left; exits 1 where something was refused."""
    settings = settings_of(context)
    with ExitStack() as stack:
        url = None
        if settings.influxdb.url is None:
            url = stack.enter_context(server_url(settings, settings.database.sqlalchemy_url()))
        stats = asyncio.run(_flush(settings, url, directory))
    typer.echo(f"{stats.delivered} delivered, {stats.refused} refused.")
    if stats.refused or stats.damaged:
        raise typer.Exit(1)


@app.command()
def export(context: typer.Context) -> None:
    """Print what waits as line protocol, also around damage. Changes nothing."""
    from gal_friday.durable_log.contents import salvage  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.durable_log.slots import slot_directories  # noqa: PLC0415
    from gal_friday.errors import InvalidValue  # noqa: PLC0415
    from gal_friday.timeseries.batches import Batch  # noqa: PLC0415

    for directory in _directories(settings_of(context)):
        for slot in slot_directories(directory):
            for record in salvage(slot):
                try:
                    typer.echo(Batch.decode(record.payload).lines())
                except InvalidValue as error:
                    typer.echo(f"{slot}, record {record.sequence}: {error}", err=True)


def _directories(settings: "Settings") -> Sequence[Path]:
    from gal_friday.timeseries.opening import spool_root  # noqa: PLC0415 -- help must not wait for it

    root = spool_root(settings)
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


async def _flush(settings: "Settings", url: "URL | None", directory: Path | None) -> "WriterStats":
    from gal_friday.dal.connection_pool import DatabaseConnectionPool  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.timeseries.opening import open_store, open_writer  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        pool = DatabaseConnectionPool(settings.database, url=url) if url is not None else None
        if pool is not None:
            await stack.enter_async_context(pool)
        store = await stack.enter_async_context(open_store(settings, pool))
        writer = await open_writer(settings, store, directory=directory)
        try:
            await writer.drain()
        finally:
            await writer.close()
        return writer.stats()
