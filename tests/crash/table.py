"""The outcome of many rounds, by kind of fault."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from rich.table import Table

from tests.crash.bench import Round
from tests.crash.faults import Kind, kinds_not_run


def table_of(rounds: Iterable[Round]) -> Table:
    """A line for each kind, those that were not run included, and one for all."""
    table = Table("fault", title_justify="left")
    for name in (
        *("rounds", "calls acknowledged", "journaled", "in flight: whole", "in flight: absent", "violations"),
        *("recovery, median", "recovery, longest"),
    ):
        table.add_column(name, justify="right")
    not_run = kinds_not_run()
    by_kind: defaultdict[Kind, list[Round]] = defaultdict(list)
    for each in rounds:
        by_kind[each.kind].append(each)
    for kind in Kind:
        if kind in not_run:
            table.add_row(f"{kind.value} (not run: {not_run[kind]})", "0", *["–"] * 7)
        elif kind in by_kind:
            table.add_row(kind.value, *_figures(by_kind[kind]))
    table.add_section()
    table.add_row("all", *_figures([each for some in by_kind.values() for each in some]))
    return table


def _figures(rounds: list[Round]) -> list[str]:
    counts = [
        len(rounds),
        sum(each.acknowledged for each in rounds),
        sum(each.journaled for each in rounds),
        sum(each.verdict.whole for each in rounds),
        sum(each.verdict.absent for each in rounds),
        sum(len(each.verdict.violations) for each in rounds),
    ]
    recoveries = [each.recovery_seconds for each in rounds]
    times = [f"{median(recoveries):.3f} s", f"{max(recoveries):.3f} s"] if recoveries else ["–", "–"]
    return [*(f"{count:,}" for count in counts), *times]
