"""`gal-friday db`: the schema and its migrations, from any directory."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.config import Settings, shown
from gal_friday.embedded import EmbeddedServer

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from gal_friday.dal.migrations.migration_manager import MigrationManager, MigrationReport
    from gal_friday.dal.migrations.revisions import Revision

app = typer.Typer(help="The schema and its migrations.", no_args_is_help=True)

# "-1" is a revision, not an option.
TAKES_MINUS = {"ignore_unknown_options": True}

Target = Annotated[str, typer.Argument(help="A revision's id or the start of one, head, base, +1, -1 …")]


@app.command()
def upgrade(context: typer.Context, revision: Target = "head") -> None:
    """Apply pending revisions; waits while another process does."""
    with _manager(context) as manager, _working("Migrating"):
        report = asyncio.run(manager.run_migrations(revision))
    _print_report(report, "applied")


@app.command(context_settings=TAKES_MINUS)
def downgrade(
    context: typer.Context,
    revision: Target,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Undo revisions, and lose what only they had a place for."""
    if not yes:
        typer.confirm(
            "Tables and columns made since will be dropped with what is in them. Go on?", abort=True
        )
    with _manager(context) as manager, _working("Rolling back"):
        report = asyncio.run(manager.rollback(revision))
    _print_report(report, "undone")


@app.command()
def current(context: typer.Context) -> None:
    """Print the database's revision."""
    with _manager(context) as manager:
        revision, pending = asyncio.run(_current_and_pending(manager))
    state = f"{len(pending)} pending" if pending else "up to date"
    typer.echo(f"{revision or 'no revision yet'} ({state})")


@app.command()
def history(context: typer.Context) -> None:
    """List every revision, oldest first."""
    with _manager(context) as manager:
        revisions = asyncio.run(manager.history())
    table = Table("revision", "what it does", "oldest code served", "applied")
    for revision in revisions:
        table.add_row(
            revision.id, revision.message, revision.oldest_code, "yes" if revision.is_applied else "no"
        )
    Console().print(table)


@app.command()
def check(
    context: typer.Context,
    at_head: Annotated[
        bool, typer.Option("--at-head", help="Only the revision, in a tenth of a second: for start scripts.")
    ] = False,
) -> None:
    """Compare the database with the models; exits 1 where they differ or revisions are pending."""
    if at_head:
        with _manager(context) as manager:
            typer.echo(f"The database is at {asyncio.run(_serving_revision(manager))}.")
        return
    with _manager(context) as manager:
        differences = asyncio.run(_differences(manager))
    if not differences:
        typer.echo("The database is as the models declare it.")
        return
    table = Table("to be as the models declare it, the database needs")
    for difference in differences:
        table.add_row(difference)
    Console().print(table)
    raise typer.Exit(1)


@app.command()
def stamp(context: typer.Context, revision: Target = "head") -> None:
    """Record a revision as the database's without running anything."""
    with _manager(context) as manager:
        asyncio.run(manager.stamp_db(revision))
        typer.echo(f"The database is now taken to be at {asyncio.run(manager.current()) or 'no revision'}.")


@app.command()
def revision(
    context: typer.Context,
    message: Annotated[str, typer.Option("--message", "-m", help="What it changes, in a few words.")],
    empty: Annotated[bool, typer.Option("--empty", help="Do not compare models and database.")] = False,
) -> None:
    """Write a new revision: what the models declare and the database does not have."""
    # Alembic tells of its progress; standard output is for the path alone.
    with _manager(context) as manager, redirect_stdout(sys.stderr):
        path = asyncio.run(manager.generate_revision(message, autogenerate=not empty))
    typer.echo(path)


@app.command()
def url(context: typer.Context) -> None:
    """Print where the database is, the password masked."""
    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_url()) as found:
        typer.echo(shown(found))


@contextmanager
def _manager(context: typer.Context) -> "Iterator[MigrationManager]":
    from gal_friday.dal.migrations.migration_manager import MigrationManager  # noqa: PLC0415 -- the ORM takes a second

    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_migration_url()) as found:
        yield MigrationManager(found, settings.database)


@contextmanager
def server_url(settings: Settings, configured: "URL | None") -> "Iterator[URL]":
    """*configured*, or where the embedded server answers, which is in use meanwhile."""
    if configured is not None:
        yield configured
        return
    with EmbeddedServer(settings.embedded) as endpoint:
        yield endpoint.url


@contextmanager
def _working(what: str) -> Iterator[None]:
    with Console(stderr=True).status(f"{what} …"):
        yield


def settings_of(context: typer.Context) -> Settings:
    settings = context.obj
    assert isinstance(settings, Settings), "set by the root command"
    return settings


async def _current_and_pending(manager: "MigrationManager") -> "tuple[str | None, list[Revision]]":
    return await manager.current(), await manager.pending()


async def _serving_revision(manager: "MigrationManager") -> str | None:
    await manager.check_compatibility()
    return await manager.current()


async def _differences(manager: "MigrationManager") -> list[str]:
    await manager.check_compatibility()
    return await manager.check()


def _print_report(report: "MigrationReport", done: str) -> None:
    for each in report.revisions:
        typer.echo(f"{each} {done}")
    waited = f", {report.waited_seconds:.1f} s of it waiting for another process" * (
        report.waited_seconds > 1
    )
    typer.echo(f"The database is at {report.to_revision or 'no revision'} ({report.seconds:.1f} s{waited}).")
