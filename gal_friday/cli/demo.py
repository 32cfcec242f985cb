"""`gal-friday demo`: a replay is killed three times, and nobody can tell."""

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gal_friday.money import canonical

if TYPE_CHECKING:
    from gal_friday.replay.demo import Demonstration


def demo(
    *,
    seed: Annotated[int, typer.Option(help="The market, and the moments of the kills.")] = 7,
    candles: Annotated[int, typer.Option(min=500, max=100_000, help="Length of the market.")] = 4_000,
    kills: Annotated[int, typer.Option(min=1, max=100, help="How often SIGKILL strikes.")] = 3,
) -> None:
    """Replay a market of our own, kill the replay while it writes, recover, and compare every row.

    Runs on servers of its own in a temporary directory; your data is not touched. Exits 1 if a fill was
    lost or doubled, or if any row differs from an uninterrupted run's.
    """
    from gal_friday.replay.demo import LABELS, demonstrate  # noqa: PLC0415 -- help must not wait for SQLAlchemy

    logging.getLogger().setLevel(logging.WARNING)  # the bars are the report
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {label: bars.add_task(f"replay, {label}", total=candles) for label in LABELS}
        outcome = asyncio.run(
            demonstrate(
                seed=seed,
                candles=candles,
                kills=kills,
                report=lambda label, cursor: bars.update(tasks[label], completed=cursor),
            )
        )
    for number, kill in enumerate(outcome.kills, 1):
        console.print(
            f"kill {number}: {kill.cursor:,} candles stored, the next ones in flight ({kill.statement})",
            highlight=False,
        )
    console.print(_table(outcome))
    equal = f"no: {outcome.difference}" if outcome.difference else "yes"
    console.print(f"state equal to the uninterrupted run: {equal}", highlight=False, soft_wrap=True)
    if not outcome.passed:
        raise typer.Exit(1)


def _table(outcome: "Demonstration") -> Table:
    table = Table(title="What the server holds")
    for heading in ("table", "uninterrupted", f"killed {len(outcome.kills)} times"):
        table.add_column(heading, justify="left" if heading == "table" else "right")
    uninterrupted, killed = outcome.uninterrupted.row_counts(), outcome.killed.row_counts()
    for name in sorted(uninterrupted):
        if uninterrupted[name] or killed[name]:
            table.add_row(name, f"{uninterrupted[name]:,}", f"{killed[name]:,}")
    table.add_section()
    table.add_row("equity, USD", *(f"{canonical(amount):,f}" for amount in outcome.equity.values()))
    table.add_row("fills lost", "", str(outcome.fills_lost))
    table.add_row("fills doubled", "", str(outcome.fills_doubled))
    return table
