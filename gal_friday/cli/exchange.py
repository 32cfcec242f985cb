"""`gal-friday reconcile` and `gal-friday adopt`: what the exchange has, and what we have of it."""

import asyncio
import json
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.cli.db import settings_of
from gal_friday.errors import ConfigurationError

if TYPE_CHECKING:
    from gal_friday.config import Settings
    from gal_friday.services.adoption import Adopted
    from gal_friday.services.reconciliation import ReconciliationReport

Account = Annotated[str, typer.Option(help="The account.")]


class Mode(StrEnum):
    """Whether an account trades real money."""

    LIVE = "LIVE"
    PAPER = "PAPER"


def reconcile(
    context: typer.Context,
    *,
    account: Account = "default",
    since: Annotated[
        str | None, typer.Option(help="Ask for fills from here on, as 2026-11-20T00:00:00Z.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be stored, store nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare orders, fills and balances with the exchange; store what it says, report what nothing decides.

    Exits 1 where something differs that is not repaired, or the exchange did not answer. A bot may run on.
    """
    report = asyncio.run(_reconcile(settings_of(context), account, _moment(since), dry_run=dry_run))
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print_report(report)
    if not report.agrees:
        raise typer.Exit(1)


def adopt(
    context: typer.Context,
    *,
    account: Annotated[str, typer.Option(help="Name for the account; it must not have books yet.")],
    file: Annotated[
        Path | None,
        typer.Option(help="JSON or CSV of balances and positions; by default the exchange is asked."),
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency reports are made in.")] = "USD",
    mode: Annotated[Mode, typer.Option(help="Whether it trades real money.")] = Mode.LIVE,
) -> None:
    """Take over a running account: its balances and open positions become the beginning of its books.

    Run twice with the same it adds nothing. Nothing may be executed meanwhile; orders that work are adopted
    by `gal-friday reconcile` afterwards.
    """
    settings = settings_of(context)
    if not settings.exchange.name:
        raise ConfigurationError("no exchange is named", variable="GAL_FRIDAY_EXCHANGE__NAME")
    adopted = asyncio.run(_adopt(settings, account, file, currency, mode))
    table = Table("currency", "opening")
    for name, amount in adopted.openings.items():
        table.add_row(name, f"{amount:f}")
    Console().print(table)
    done = "taken over" if adopted.is_new else "was taken over before with the same; nothing was added"
    typer.echo(f"Account {account!r} {done}: {adopted.positions} open positions.")


async def _reconcile(
    settings: "Settings", account: str, since: datetime | None, *, dry_run: bool
) -> "ReconciliationReport":
    from gal_friday.adapters.ccxt_client import open_exchange  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.database import open_database  # noqa: PLC0415
    from gal_friday.services.reconciliation import Reconciler  # noqa: PLC0415

    async with open_exchange(settings.exchange) as exchange, open_database(settings) as database:
        reconciler = Reconciler(
            database,
            exchange,
            exchange=settings.exchange.name or "",
            account_id=account,
            answer_timeout_seconds=settings.exchange.answer_timeout_seconds,
            actor="gal-friday reconcile",
        )
        return await reconciler.reconcile(since=since, dry_run=dry_run)


async def _adopt(
    settings: "Settings", account: str, file: Path | None, currency: str, mode: Mode
) -> "Adopted":
    from gal_friday.adapters.ccxt_client import open_exchange  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.adapters.holdings import holdings_of  # noqa: PLC0415
    from gal_friday.adapters.holdings_files import read_holdings  # noqa: PLC0415
    from gal_friday.dal.models import AccountMode  # noqa: PLC0415
    from gal_friday.database import open_database  # noqa: PLC0415
    from gal_friday.services.adoption import Adoption, adopt  # noqa: PLC0415

    name = settings.exchange.name or ""
    if file is not None:
        holdings = read_holdings(file)
    else:
        async with open_exchange(settings.exchange) as exchange:
            holdings = await holdings_of(
                exchange, name, timeout_seconds=settings.exchange.answer_timeout_seconds
            )
    adoption: Adoption = Adoption(
        account_id=account,
        exchange=name,
        holdings=holdings,
        reporting_currency=currency,
        mode=AccountMode(mode),
    )
    async with open_database(settings) as database:
        return await adopt(database, adoption, actor="gal-friday adopt")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise typer.BadParameter("write a time with its zone, as 2026-11-20T00:00:00Z", param_hint="--since")
    return moment


def _print_report(report: "ReconciliationReport") -> None:
    console = Console()
    if report.differences:
        table = Table("differs", "what", "here", "at the exchange")
        for each in report.differences:
            it = each.subject
            names = (it.trading_pair, it.exchange_order_id, it.fill_id, it.client_order_id, it.currency)
            what = " ".join(name for name in names if name)
            table.add_row(each.kind, what, each.ours or "", each.theirs or "")
        console.print(table)
    for sentence in (*report.not_understood, *report.failures):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    done = "would be stored" if report.dry_run else "stored"
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.repaired().items())) or "nothing"
    console.print(
        f"{report.exchange}, since {report.since:%Y-%m-%d %H:%M} UTC: {report.orders:,} orders,"
        f" {report.fills:,} fills, {report.balances:,} balances read; {done}: {counts}.",
        highlight=False,
        soft_wrap=True,
    )
    if not report.is_complete:
        console.print("Not everything could be compared; run it again.", highlight=False)
    elif report.agrees:
        console.print("Exchange and books agree.", highlight=False)
