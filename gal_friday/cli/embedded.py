"""`gal-friday embedded`: the PostgreSQL server of one's own, by hand."""

from typing import Annotated

import typer

from gal_friday.config import Settings
from gal_friday.embedded import EmbeddedServer, Endpoint

#: What `pg_ctl status` and service scripts say for "not running".
NOT_RUNNING = 3

app = typer.Typer(
    help="The PostgreSQL server used where no database URL is configured.", no_args_is_help=True
)


@app.command()
def start(context: typer.Context) -> None:
    """Start the server and keep it running until `embedded stop`, whether it is used or not."""
    endpoint = _server(context).pin()
    typer.echo(f"PostgreSQL {endpoint.version} is running and stays so until: gal-friday embedded stop")
    _describe(endpoint)
    _mention_url(context)


@app.command()
def stop(context: typer.Context) -> None:
    """Stop the server now; connections of programs that still use it are closed."""
    was_running = _server(context).stop_now()
    typer.echo("PostgreSQL has been stopped." if was_running else "PostgreSQL was not running.")


@app.command()
def status(context: typer.Context) -> None:
    """Say whether the server runs, and where; exits 3 if it does not."""
    now = _server(context).status()
    if now.endpoint:
        reason = (
            "pinned by `embedded start`"
            if now.pinned
            else "in use"
            if now.in_use
            else "about to stop, unused"
        )
        typer.echo(f"PostgreSQL {now.endpoint.version} is running (process {now.pid}; {reason}).")
        _describe(now.endpoint)
    elif now.state == "busy":
        typer.echo(f"PostgreSQL is starting, recovering or stopping; see {now.log_file}")
    else:
        typer.echo(f"PostgreSQL is not running.\n  data        {now.data_directory}")
    _mention_url(context)
    if now.state != "running":
        raise typer.Exit(NOT_RUNNING)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(
    context: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(help="Handed to psql, e.g. -c 'SELECT 1'")] = None,
) -> None:
    """Open psql on the server, which is started if it has to be."""
    _server(context).exec_psql(arguments or [])


def _server(context: typer.Context) -> EmbeddedServer:
    settings = context.obj
    assert isinstance(settings, Settings), "set by the root command"
    return EmbeddedServer(settings.embedded)


def _describe(endpoint: Endpoint) -> None:
    typer.echo(f"  data        {endpoint.data_directory}")
    typer.echo(f"  programs    {endpoint.bin_directory}")
    typer.echo(f"  connection  {endpoint.dsn}")


def _mention_url(context: typer.Context) -> None:
    if context.obj.database.url:
        typer.echo("GAL_FRIDAY_DATABASE__URL is set, so gal-friday does not use this server by itself.")
