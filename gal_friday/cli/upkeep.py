"""`gal-friday upkeep` and `gal-friday partitions`: tables that grow without end, kept in shape."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.cli.db import server_url, settings_of

if TYPE_CHECKING:
    from gal_friday.upkeep.run import UpkeepReport
    from gal_friday.upkeep.runner import TableStatus, Upkeep

app = typer.Typer(help="Partitions, retention, down-sampling.", no_args_is_help=True)
partitions_app = typer.Typer(help="The partitions there are.", no_args_is_help=True)


@app.command()
def run(
    context: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what it would begin with.")] = False,
    keep_detached: Annotated[
        bool, typer.Option("--keep-detached", help="Keep what is past retention, as tables of their own.")
    ] = False,
) -> None:
    """Make partitions, move what waits for one, let go what is past retention.

    For the login of GAL_FRIDAY_DATABASE__MIGRATION_URL. Exits 1 where something is left for the next run.
    """
    with _upkeep(context) as upkeep:
        report = asyncio.run(upkeep.run(dry_run=dry_run, keep_detached=keep_detached))
    for line in _lines(report):
        typer.echo(line)
    if report.left:
        raise typer.Exit(1)


@app.command()
def status(context: typer.Context) -> None:
    """How the tables stand; exits 1 where a run has something to do."""
    with _upkeep(context) as upkeep:
        found = asyncio.run(upkeep.status())
    table = Table("table", "cut by", "kept for", "partitions", "rows in default", "to be made", "to leave")
    for each in found:
        retention = each.policy.retention
        table.add_row(
            each.table,
            "chunks" if each.is_hypertable else str(each.policy.interval),
            "ever" if retention is None else f"{retention.days} days",
            str(len(each.partitions)),
            f"{each.rows_in_default:,}",
            str(len(each.missing)),
            str(len(each.past_retention)),
        )
    Console().print(table)
    if any(each.missing or each.past_retention or each.to_compress for each in found):
        raise typer.Exit(1)


@partitions_app.command("list")
def list_partitions(context: typer.Context) -> None:
    """Every partition: from when to when, how many rows as last counted, and its size on disk."""
    with _upkeep(context) as upkeep:
        found = asyncio.run(upkeep.status())
    table = Table("partition", "from", "to", "rows, about", "bytes")
    for row in _rows(found):
        table.add_row(*row)
    Console().print(table)


def _rows(found: "list[TableStatus]") -> Iterator[tuple[str, ...]]:
    for each in found:
        for one in each.partitions:
            bounds = (bound.date().isoformat() if bound else "" for bound in (one.lower, one.upper))
            yield one.name, *bounds, f"{one.estimated_rows:,}", f"{one.bytes:,}"


def _lines(report: "UpkeepReport") -> Iterator[str]:
    for name, rows in report.made.items():
        yield f"made {name}" + (f"; taken from the default: {rows:,}" if rows else "")
    for name in report.dropped:
        yield f"dropped {name}"
    for name in report.detached:
        yield f"detached {name}"
    for name, count in report.minutes_removed.items():
        yield f"minutes removed from {name}: {count:,}"
    if report.downsampled:
        yield f"hours and days stored for them: {report.downsampled:,}"
    for name in report.compressed:
        yield f"compressed {name}"
    for reason in report.left:
        yield f"left for the next run: {reason}"
    done = (report.made, report.dropped, report.detached, report.minutes_removed, report.compressed)
    if not any((*done, report.left)):
        yield "There is nothing to do."


@contextmanager
def _upkeep(context: typer.Context) -> "Iterator[Upkeep]":
    from gal_friday.upkeep import Upkeep  # noqa: PLC0415 -- Alembic takes a second

    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_migration_url()) as url:
        yield Upkeep(url, settings.database, settings.upkeep)
