"""Figures of growth as a table, as JSON and as a chart."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from benchmarks.growth.measuring import GOAL_MILLISECONDS, Latency
from benchmarks.growth.memory import Load


def as_table(latencies: Sequence[Latency]) -> Table:
    """One line a call: p50 and p99 in milliseconds at each size."""
    sizes = sorted({latency.rows for latency in latencies})
    table = Table("call", "kind", *(f"{rows:,} rows: p50 / p99 ms" for rows in sizes))
    by_call: dict[str, list[Latency]] = {}
    for latency in latencies:
        by_call.setdefault(latency.call, []).append(latency)
    for call, measured in sorted(by_call.items(), key=lambda item: -item[1][-1].p99_milliseconds):
        cells = {latency.rows: _cell(latency) for latency in measured}
        table.add_row(call, measured[0].kind, *(cells.get(rows, "") for rows in sizes))
    return table


def write(latencies: Sequence[Latency], loads: Sequence[Load], out: Path) -> bool:
    """growth.json, and growth.png where matplotlib is installed: whether it is."""
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "goals_milliseconds": GOAL_MILLISECONDS,
        "latencies": [asdict(latency) for latency in latencies],
        "loads": [asdict(load) for load in loads],
    }
    (out / "growth.json").write_text(json.dumps(content, indent=2) + "\n")
    if not importlib.util.find_spec("matplotlib"):
        return False
    _draw(latencies, out / "growth.png")
    return True


def _cell(latency: Latency) -> str:
    figures = f"{latency.p50_milliseconds:.2f} / {latency.p99_milliseconds:.2f}"
    return f"[red]{figures}[/red]" if latency.is_slow else figures


def _draw(latencies: Sequence[Latency], path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 -- of the extra `bench`

    figure = Figure(figsize=(12, 6), layout="constrained")
    for axes, (kind, goal) in zip(figure.subplots(1, 2, sharey=True), GOAL_MILLISECONDS.items(), strict=True):
        of_kind = [latency for latency in latencies if latency.kind == kind]
        for call in {latency.call for latency in of_kind}:
            line = [(each.rows, each.p99_milliseconds) for each in of_kind if each.call == call]
            axes.plot(*zip(*line, strict=True), color="tab:blue", alpha=0.35, marker="o", markersize=3)
        axes.axhline(goal, color="tab:red", linestyle="--")
        axes.set(
            title=f"{kind} calls, goal {goal:g} ms",
            xlabel="rows",
            ylabel="p99, ms",
            xscale="log",
            yscale="log",
        )
    figure.savefig(path, dpi=120)
