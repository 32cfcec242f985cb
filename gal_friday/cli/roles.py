"""`gal-friday db roles`: what logins may do, by the role they are members of."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from gal_friday.cli.db import server_url, settings_of

if TYPE_CHECKING:
    from gal_friday.dal.migrations.role_manager import RoleManager

app = typer.Typer(help="Least privilege: who may migrate, trade, read and watch.", no_args_is_help=True)


@app.command()
def apply(context: typer.Context) -> None:
    """Let each role do what it must and no more; exits 1 where something is left to do by hand."""
    with _manager(context) as manager:
        report = asyncio.run(manager.apply())
    typer.echo(f"{len(report.put_right)} differences put right.")
    _exit_if(report.left, "To be changed by hand:")


@app.command()
def check(context: typer.Context) -> None:
    """Name everything the roles may do too much or too little; exits 1 where there is something."""
    with _manager(context) as manager:
        differences = asyncio.run(manager.check())
    _exit_if(differences, "The roles are not as declared:")
    typer.echo("The roles are as declared.")


def _exit_if(differences: Sequence[str], heading: str) -> None:
    if differences:
        typer.echo("\n  ".join([heading, *differences]))
        raise typer.Exit(1)


@contextmanager
def _manager(context: typer.Context) -> "Iterator[RoleManager]":
    from gal_friday.dal.migrations.role_manager import RoleManager  # noqa: PLC0415 -- Alembic takes a second

    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_migration_url()) as url:
        yield RoleManager(url, settings.database)
