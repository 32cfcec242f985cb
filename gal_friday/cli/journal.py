"""`gal-friday journal`: facts of the exchange that wait on disk for the database."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.cli.db import server_url, settings_of

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from gal_friday.config import Settings
    from gal_friday.dal.journal.stats import JournalStats

app = typer.Typer(help="Facts that wait on disk for the database.", no_args_is_help=True)


@app.command()
def status(context: typer.Context) -> None:
    """What waits, whose it is, and what was refused; exits 1 where a file is damaged. Changes nothing."""
    from gal_friday.durable_log.refused import RefusedRecords  # noqa: PLC0415
    from gal_friday.durable_log.slots import SlotState, slot_states  # noqa: PLC0415 -- help must not wait for it

    console = Console()
    directories = _directories(settings_of(context))
    states: list[SlotState] = []
    for directory in directories:
        typer.echo(directory.name)
        table = Table("slot", "process", "facts", "bytes")
        for state in slot_states(directory):
            owner = "ended" if state.owner is None else str(state.owner or "unknown")
            table.add_row(state.directory.name, owner, f"{state.records:,}", f"{state.bytes:,}")
            states.append(state)
        console.print(table)
        for state in states:
            if state.damage and state.directory.parent == directory:
                typer.echo(f"damaged: {state.damage}")
        if refused := len(RefusedRecords(directory).lines()):
            typer.echo(f"{refused} refused: {RefusedRecords(directory).path}")
    if not directories:
        typer.echo("Nothing waits.")
    if any(state.damage for state in states):
        raise typer.Exit(1)


@app.command()
def drain(
    context: typer.Context,
    *,
    refused: Annotated[bool, typer.Option("--refused", help="What was refused as well, once more.")] = False,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="The directory of another database's facts, to bring them to this one.",
            exists=True,
            file_okay=False,
            resolve_path=True,
        ),
    ] = None,
) -> None:
    """Bring the database what processes that ended have left; exits 1 where something was refused."""
    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_url()) as url:
        stats = asyncio.run(_drain(settings, url, directory, refused=refused))
    typer.echo(f"{stats.applied} applied, {stats.duplicates} known already, {stats.refused} refused.")
    if stats.refused or stats.damaged:
        raise typer.Exit(1)


@app.command()
def export(
    context: typer.Context,
    *,
    refused: Annotated[
        bool, typer.Option("--refused", help="What was refused, instead of what waits.")
    ] = False,
) -> None:
    """Print what waits, one JSON object a line, also around damage. Changes nothing."""
    for directory in _directories(settings_of(context)):
        for line in _refused(directory) if refused else _waiting(directory):
            typer.echo(line)


def _directories(settings: "Settings") -> Sequence[Path]:
    from gal_friday.database import journal_root  # noqa: PLC0415 -- help must not wait for it

    root = journal_root(settings)
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


async def _drain(
    settings: "Settings", url: "URL", directory: Path | None, *, refused: bool
) -> "JournalStats":
    from gal_friday.dal.connection_pool import DatabaseConnectionPool  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.database import open_journal  # noqa: PLC0415

    async with DatabaseConnectionPool(settings.database, url=url) as pool:
        journal = await open_journal(settings, pool, directory=directory)
        try:
            if refused:
                await journal.retry_refused()
            return await journal.drain()
        finally:
            await journal.close()


def _refused(directory: Path) -> Iterator[str]:
    from gal_friday.durable_log.refused import RefusedRecords  # noqa: PLC0415 -- help must not wait for it

    for line in RefusedRecords(directory).lines():
        yield line.decode(errors="backslashreplace")


def _waiting(directory: Path) -> Iterator[str]:
    from gal_friday.durable_log.contents import salvage  # noqa: PLC0415
    from gal_friday.durable_log.refused import shown  # noqa: PLC0415
    from gal_friday.durable_log.slots import slot_directories  # noqa: PLC0415 -- help must not wait for it

    for slot in slot_directories(directory):
        for record in salvage(slot):
            place = {"directory": str(slot), "sequence": record.sequence}
            yield json.dumps({**place, "fact": shown(record.payload)}, ensure_ascii=False)
