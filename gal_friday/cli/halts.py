"""`gal-friday halt`, `resume` and `halts`: stopping whatever adds risk, for every process at once."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gal_friday.cli.db import server_url, settings_of

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from gal_friday.config import DatabaseSettings
    from gal_friday.dal.unit_of_work import UnitOfWork
    from gal_friday.state.halts import Halt

T = TypeVar("T")

Account = Annotated[str, typer.Option(help="The account.")]
Strategy = Annotated[str | None, typer.Option(help="One strategy of it alone; by default all of it.")]
By = Annotated[str | None, typer.Option(help="Who decides it, for the record; by default the OS user.")]


def halt(
    context: typer.Context,
    *,
    reason: Annotated[str, typer.Option(help="Why; goes on record.")],
    account: Account = "default",
    strategy: Strategy = None,
    by: By = None,
) -> None:
    """Stop an account, or one strategy in it: nothing that adds risk is stored once this returns.

    It is in force at once; then it waits for what was being stored. What reduces or protects a position
    passes. A halt in force keeps its time and gets the new reason.
    """
    from gal_friday.state.halts import halt as halt_trading  # noqa: PLC0415 -- help must not wait for it

    who = by or getpass.getuser()
    made = _done(
        context,
        lambda uow: halt_trading(uow, reason=reason, by=who, account_id=account, strategy_id=strategy),
        actor=who,
        wait_for=account,
    )
    typer.echo(_sentence(made))


def resume(
    context: typer.Context,
    *,
    reason: Annotated[str, typer.Option(help="Why it may go on; goes on record.")],
    account: Account = "default",
    strategy: Strategy = None,
    by: By = None,
) -> None:
    """Let an account, or one strategy in it, go on. A strategy goes on only where its account does."""
    from gal_friday.state.halts import in_force  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.state.halts import resume as resume_trading  # noqa: PLC0415

    who = by or getpass.getuser()

    async def go_on(uow: "UnitOfWork") -> "tuple[Halt | None, Sequence[Halt]]":
        lifted = await resume_trading(uow, reason=reason, by=who, account_id=account, strategy_id=strategy)
        return lifted, await in_force(uow, account_id=account)

    lifted, left = _done(context, go_on, actor=who)
    name = _name(account, strategy)
    typer.echo(f"{name} was not halted." if lifted is None else f"{name} goes on. {_since(lifted, 'It was')}")
    for other in left:
        typer.echo(_sentence(other))


def halts(context: typer.Context, *, account: Account = "default") -> None:
    """Print what is halted in an account; exit 1 where something is."""
    from gal_friday.state.halts import in_force  # noqa: PLC0415 -- help must not wait for it

    found = _done(context, lambda uow: in_force(uow, account_id=account), actor=None)
    for each in found:
        typer.echo(_sentence(each))
    if found:
        raise typer.Exit(1)
    typer.echo(f"Nothing is halted in {account}.")


def _done(
    context: typer.Context,
    work: "Callable[[UnitOfWork], Awaitable[T]]",
    *,
    actor: str | None,
    wait_for: str | None = None,
) -> T:
    settings = settings_of(context)
    with server_url(settings, settings.database.sqlalchemy_url()) as url:
        return asyncio.run(_in_a_transaction(settings.database, url, work, actor, wait_for))


async def _in_a_transaction(
    settings: "DatabaseSettings",
    url: "URL",
    work: "Callable[[UnitOfWork], Awaitable[T]]",
    actor: str | None,
    wait_for: str | None,
) -> T:
    from gal_friday.dal.connection_pool import DatabaseConnectionPool  # noqa: PLC0415 -- help must not wait for it
    from gal_friday.state.halts import wait_for_intents  # noqa: PLC0415

    async with DatabaseConnectionPool(settings, url=url) as pool:
        outcome = await pool.retrying(work, actor=actor)
        if wait_for is not None:
            await wait_for_intents(pool, account_id=wait_for)
        return outcome


def _name(account: str, strategy: str | None) -> str:
    return account if strategy is None else f"{strategy} in {account}"


def _sentence(halt: "Halt") -> str:
    return _since(halt, f"{_name(halt.account_id, halt.strategy_id)} is")


def _since(halt: "Halt", subject: str) -> str:
    return f"{subject} halted since {halt.since.isoformat()} by {halt.by or 'nobody named'}: {halt.reason}"
