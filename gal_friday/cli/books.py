"""`gal-friday verify` and `gal-friday rebuild`: whether the books balance, and what brings them to."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from gal_friday.cli.db import server_url, settings_of
from gal_friday.cli.progress import progress
from gal_friday.money import canonical

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from gal_friday.config import DatabaseSettings
    from gal_friday.state.differences import Difference
    from gal_friday.state.rebuild import Rebuilding
    from gal_friday.state.verification import Verification


def verify(
    context: typer.Context,
    *,
    account: Annotated[str | None, typer.Option(help="This account alone; by default every one.")] = None,
) -> None:
    """Rebuild positions, trades, orders and equity from fills and cash flows; exit 1 where they differ.

    Reads one snapshot and changes nothing: trading may go on meanwhile.
    """
    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_url()) as url:
        outcome = asyncio.run(_verify(settings.database, url, account))
    console = Console()
    if outcome.differences:
        _print_differences(console, outcome.differences)
    console.print(_sentence(outcome), highlight=False, soft_wrap=True)
    if not outcome.is_balanced:
        raise typer.Exit(1)


def rebuild(
    context: typer.Context,
    position: Annotated[UUID, typer.Argument(help="Id of the position.")],
    *,
    actor: Annotated[
        str | None, typer.Option(help="Who does it, for the audit record; by default the login role.")
    ] = None,
) -> None:
    """Recompute a position with its fills in the order they happened in, and book the difference.

    What was stored before stays as it is: the difference in profit and loss becomes an adjustment.
    """
    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_url()) as url:
        outcome = asyncio.run(_rebuild(settings.database, url, position, actor))
    currency = outcome.currency
    typer.echo(f"{outcome.fills} fills in the order they happened in.")
    typer.echo(f"Realised so far: {canonical(outcome.realized_before):f} {currency}")
    if outcome.adjustment is None:
        typer.echo("In that order it is the same; nothing was booked.")
        return
    typer.echo(f"In that order:   {canonical(outcome.realized_after):f} {currency}")
    typer.echo(
        f"Booked {canonical(outcome.adjustment.amount):+f} {currency} as adjustment {outcome.adjustment.id},"
        f" number {outcome.adjustment.applied_seq} of the position."
    )


async def _verify(settings: "DatabaseSettings", url: "URL", account: str | None) -> "Verification":
    from gal_friday.dal.connection_pool import DatabaseConnectionPool  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.dal.criteria import given  # noqa: PLC0415
    from gal_friday.dal.models import Fill  # noqa: PLC0415
    from gal_friday.state.verification import verify as verify_books  # noqa: PLC0415

    async with (
        DatabaseConnectionPool(settings, url=url) as pool,
        pool.transaction(read_only=True, snapshot=True) as uow,
    ):
        fills = await uow.fills.count(*given((Fill.account_id, account)))
        with progress(Console(stderr=True), "verifying", fills, "fills") as report:
            return await verify_books(uow, account_id=account, report=report)


async def _rebuild(
    settings: "DatabaseSettings", url: "URL", position: UUID, actor: str | None
) -> "Rebuilding":
    from gal_friday.dal.connection_pool import DatabaseConnectionPool  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.state.rebuild import rebuild as rebuild_position  # noqa: PLC0415

    async with DatabaseConnectionPool(settings, url=url) as pool:
        return await pool.retrying(lambda uow: rebuild_position(uow, position), actor=actor)


def _print_differences(console: Console, differences: "Sequence[Difference]") -> None:
    from gal_friday.state.differences import shown  # noqa: PLC0415 -- help must not wait for it

    table = Table("table", "key", "column", "stored", "rebuilt")
    for each in differences:
        table.add_row(each.table, each.key, each.column, shown(each.stored), shown(each.rebuilt))
    if not console.is_terminal:  # a program reads it: no value may be broken over two lines
        unlimited = console.options.update(max_width=100_000)
        console = Console(width=Measurement.get(console, unlimited, table).maximum)
    console.print(table)


def _sentence(outcome: "Verification") -> str:
    compared = (
        f"positions: {outcome.positions:,}, trades: {outcome.trades:,}, orders: {outcome.orders:,};"
        f" fills: {outcome.fills:,}, cash flows: {outcome.cash_flows:,}"
    )
    if outcome.is_balanced:
        return f"The books balance ({compared})."
    return f"The books do not balance: differences: {len(outcome.differences):,} ({compared})."
