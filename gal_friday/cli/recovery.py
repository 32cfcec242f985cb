"""`gal-friday recover`: from whatever happened to an account that may trade, or the reasons why not."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.cli.db import server_url, settings_of

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from gal_friday.config import Settings
    from gal_friday.dal.models import RecoveryCertificate
    from gal_friday.state.recovery import Recovery


def recover(
    context: typer.Context,
    *,
    account: Annotated[str, typer.Option(help="The account to recover.")] = "default",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the certificate; store, drain and halt nothing.")
    ] = False,
    override: Annotated[
        list[str] | None, typer.Option(help="An invariant to trade in spite of; may be given several times.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is overridden; goes on record.")] = None,
) -> None:
    """Store what the journal holds, check the account, print the certificate; exit 1 where it may not trade.

    The account is halted while an invariant fails, and goes on once none does, or the operator overrides it.
    """
    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_url()) as url:
        recovery = asyncio.run(
            _recover(settings, url, account, override=override or [], reason=reason, dry_run=dry_run)
        )
    _print(Console(), recovery.certificate, dry_run=dry_run)
    if not recovery.may_trade:
        raise typer.Exit(1)


async def _recover(
    settings: "Settings", url: "URL", account: str, *, override: list[str], reason: str | None, dry_run: bool
) -> "Recovery":
    from gal_friday.dal.connection_pool import DatabaseConnectionPool  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.database import Database  # noqa: PLC0415
    from gal_friday.state.recovery import recover as recover_account  # noqa: PLC0415

    async with DatabaseConnectionPool(settings.database, url=url) as pool:
        return await recover_account(
            Database(pool), account_id=account, override=override, override_reason=reason, dry_run=dry_run
        )


def _print(console: Console, certificate: "RecoveryCertificate", *, dry_run: bool) -> None:
    console.print(_restored(certificate))
    console.print(_checked(certificate))
    for title, rows in (
        ("orders in doubt: ask the exchange for each by its client_order_id", certificate.orders_in_doubt),
        ("positions no stop protects", certificate.unprotected_positions),
        ("fills without their order", certificate.unmatched_fills),
    ):
        if rows:
            console.print(_listed(title, rows))
    kind = "dry run, nothing stored" if dry_run else f"certificate {certificate.id}"
    verdict = "may trade" if certificate.may_trade else "may not trade"
    console.print(f"{certificate.account_id} {verdict} ({kind}).", highlight=False, soft_wrap=True)


def _restored(certificate: "RecoveryCertificate") -> Table:
    table = Table("restored", "rows", "SHA-256")
    for name, count in sorted(certificate.counts.items()):
        table.add_row(name, f"{count:,}", certificate.checksums[name][:16])
    return table


def _checked(certificate: "RecoveryCertificate") -> Table:
    overridden = {each["name"]: each["reason"] for each in certificate.overrides}
    table = Table("invariant", "holds", "findings")
    for invariant in certificate.invariants:
        name = invariant["name"]
        holds = "yes" if invariant["holds"] else "overridden" if name in overridden else "NO"
        lines = [_spelled(finding) for finding in invariant["findings"]]
        if (rest := invariant["number"] - len(lines)) > 0:
            lines.append(f"and {rest:,} more")
        if name in overridden:
            lines.append(f"overridden: {overridden[name]}")
        table.add_row(name, holds, "\n".join(lines))
    return table


def _listed(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    return table


def _spelled(finding: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in finding.items())
