"""`gal-friday recover`: from whatever happened to an account that may trade, or the reasons why not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gal_friday.cli.db import server_url, settings_of

if TYPE_CHECKING:
    from gal_friday.config import Settings
    from gal_friday.dal.journal import JournalStats
    from gal_friday.dal.models import Account, RecoveryCertificate
    from gal_friday.database import Database
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
    """Take in journal and exchange, check the account, print the certificate; exit 1 where it may not trade.

    The exchange is asked where one is configured. With --dry-run nothing is stored, by whatever it asks.

    The account is halted while an invariant fails, and goes on once none does, or the operator overrides it.
    """
    recovery = asyncio.run(
        _recover(settings_of(context), account, override=override or [], reason=reason, dry_run=dry_run)
    )
    _print(Console(), recovery.certificate, dry_run=dry_run)
    if dry_run:
        _print_halt(recovery.state.account)
    if not recovery.may_trade:
        raise typer.Exit(1)


async def _recover(
    settings: "Settings", account: str, *, override: list[str], reason: str | None, dry_run: bool
) -> "Recovery":
    from gal_friday.adapters.ccxt_client import open_exchange  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.database import open_database  # noqa: PLC0415
    from gal_friday.services.reconciliation import Reconciler  # noqa: PLC0415
    from gal_friday.state.recovery import recover as recover_account  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        opening = _as_it_is(settings) if dry_run else open_database(settings)
        database = await stack.enter_async_context(opening)
        reconcile = None
        if settings.exchange.name:
            reconciler = Reconciler(
                database,
                await stack.enter_async_context(open_exchange(settings.exchange)),
                exchange=settings.exchange.name,
                account_id=account,
                answer_timeout_seconds=settings.exchange.answer_timeout_seconds,
                actor="gal-friday recover",
            )
            reconcile = partial(reconciler.reconcile, dry_run=dry_run)
        return await recover_account(
            database,
            account_id=account,
            journal=_JournalAsItIs(settings) if dry_run else database.journal,
            reconcile=reconcile,
            override=override,
            override_reason=reason,
            dry_run=dry_run,
        )


class _JournalAsItIs:
    """The journal looked at, by whichever processes it was left, and nothing taken from it."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings

    async def drain(self) -> "JournalStats":
        from gal_friday.dal.journal.slots import directory_name, standing  # noqa: PLC0415 -- help must not wait for it
        from gal_friday.database import journal_root  # noqa: PLC0415

        url = self._settings.database.sqlalchemy_url()
        return await asyncio.to_thread(standing, journal_root(self._settings) / directory_name(url))

    async def retry_refused(self) -> int:
        return 0


@asynccontextmanager
async def _as_it_is(settings: "Settings") -> AsyncIterator["Database"]:
    """The database, neither migrated nor given what waits in the journal."""
    from gal_friday.dal.connection_pool import DatabaseConnectionPool  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.database import Database  # noqa: PLC0415

    with server_url(settings, settings.database.sqlalchemy_url()) as url:
        async with DatabaseConnectionPool(settings.database, url=url) as pool:
            yield Database(pool)


def _print(console: Console, certificate: "RecoveryCertificate", *, dry_run: bool) -> None:
    console.print(_restored(certificate))
    console.print(_checked(certificate))
    differences = (certificate.reconciliation or {}).get("differences", [])
    for title, rows in (
        ("differs at the exchange", [_flat(each) for each in differences]),
        ("orders in doubt: ask the exchange for each by its client_order_id", certificate.orders_in_doubt),
        ("positions no stop protects", certificate.unprotected_positions),
        ("fills without their order", certificate.unmatched_fills),
    ):
        if rows:
            console.print(_listed(title, rows))
    kind = "dry run, nothing stored" if dry_run else f"certificate {certificate.id}"
    verdict = "may trade" if certificate.may_trade else "may not trade"
    console.print(f"{certificate.account_id} {verdict} ({kind}).", highlight=False, soft_wrap=True)


def _print_halt(account: "Account") -> None:
    if account.halted_at is not None:
        since, who = account.halted_at.isoformat(), account.halted_by or "nobody named"
        typer.echo(f"It is halted since {since} by {who}: {account.halt_reason}")


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


def _flat(difference: dict[str, Any]) -> dict[str, Any]:
    """A difference in one line: what it is about, here and at the exchange."""
    return {
        "kind": difference["kind"],
        "about": _spelled(difference["subject"]),
        "here": difference.get("ours"),
        "at the exchange": difference.get("theirs"),
    }


def _spelled(finding: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in finding.items())
