"""`gal-friday audit`: the record of every change."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gal_friday.cli.db import server_url, settings_of
from gal_friday.config import DatabaseSettings

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from gal_friday.dal.models import AuditEntry

app = typer.Typer(help="The record of every change.", no_args_is_help=True)


@app.callback()
def audit() -> None:
    """The record of every change."""


@app.command()
def show(
    context: typer.Context,
    *,
    table: Annotated[str | None, typer.Option(help="Table of the rows changed.")] = None,
    row: Annotated[
        str | None, typer.Option(help='Primary key; several columns as JSON: \'["default", "USD"]\'.')
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Time with its offset: 2026-11-21T09:00+00:00.", metavar="WHEN")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Who made the change.")] = None,
) -> None:
    """Print changes, oldest first: when, who, what was done to which row, old and new values."""
    wanted = {"table": table, "key": _key(row), "since": _instant(since), "actor": actor}
    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_url()) as url:
        asyncio.run(_print(settings.database, url, wanted))


async def _print(settings: DatabaseSettings, url: "URL", wanted: dict[str, Any]) -> None:
    found = False
    async for entry in _entries(settings, url, wanted):
        found = True
        typer.echo(
            f"{entry.recorded_at.isoformat()}  {entry.actor}  ({entry.application or 'no application'},"
            f" transaction {entry.transaction_id})\n  {entry.operation} {entry.table_name} {entry.row_key}"
        )
        for line in _lines(entry):
            typer.echo(f"    {line}")
    if not found:
        typer.echo("Nothing on record.")


async def _entries(
    settings: DatabaseSettings, url: "URL", wanted: dict[str, Any]
) -> "AsyncIterator[AuditEntry]":
    from gal_friday.dal.connection_pool import DatabaseConnectionPool  # noqa: PLC0415 -- help must not wait for it

    async with (
        DatabaseConnectionPool(settings, url=url) as pool,
        pool.transaction(read_only=True) as uow,
    ):
        page = await uow.audit.search(**wanted)
        while True:
            for entry in page.items:
                yield entry
            if page.next is None:
                return
            page = await uow.audit.search(**wanted, after=page.next)


def _lines(entry: "AuditEntry") -> list[str]:
    before, after = entry.before or {}, entry.after or {}
    if entry.before is not None and entry.after is not None:
        return [f"{name}: {_shown(before[name])} → {_shown(after[name])}" for name in sorted(after)]
    return [f"{name}: {_shown(value)}" for name, value in sorted((before | after).items())]


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _key(row: str | None) -> str | list[str] | None:
    if row is None or not row.startswith("["):
        return row
    try:
        key = json.loads(row)
    except ValueError:
        key = None
    if not isinstance(key, list):
        raise typer.BadParameter('several columns are given as JSON: \'["default", "USD"]\'')
    return [str(part) for part in key]


def _instant(since: str | None) -> datetime | None:
    if since is None:
        return None
    try:
        instant = datetime.fromisoformat(since)
    except ValueError:
        raise typer.BadParameter(f"not a time: {since}") from None
    if instant.utcoffset() is None:
        raise typer.BadParameter(f"{since} is no point in time without an offset, like {since}+00:00")
    return instant
