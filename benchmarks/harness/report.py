"""The table, as text, as Markdown and as JSON."""

import os
import platform
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from benchmarks.harness.rounds import Figures
from benchmarks.harness.run import Row
from benchmarks.peers import library, version_of

#: A unit is "orders/s", or the time of one in one of these.
SECONDS = {"ms": 1e3, "µs": 1e6}
HEADINGS = ("item", "peer", "median", "ratio", "spread", "round trips", "peak MiB")


def figure(unit: str, seconds: float) -> float:
    """*seconds* per piece of work in *unit*."""
    return 1 / seconds if unit.endswith("/s") else seconds * SECONDS[unit]


def as_json(row: Row) -> dict[str, dict[str, Any]]:
    """One row of `latest.json`: what was measured of each peer."""
    return {peer: _as_json(row.item.unit, measured) for peer, measured in row.figures.items()}


def _as_json(unit: str, measured: Figures) -> dict[str, Any]:
    return {
        "median": _rounded(figure(unit, measured.median_seconds)),
        "unit": unit,
        "ratio": round(measured.ratio, 3),
        "ratio_min": round(min(measured.ratios), 3),
        "ratio_max": round(max(measured.ratios), 3),
        "rounds": len(measured.seconds),
        "round_trips": measured.round_trips,
        "peak_mib": measured.peak_mib and round(measured.peak_mib, 1),
    }


def _rounded(value: float) -> float:
    return round(value) if value >= 1000 else round(value, 3)


def cells(row: Row) -> Iterator[tuple[str, ...]]:
    """The lines of *row*, best peer first, in the columns of HEADINGS."""
    ranking = sorted(row.figures.items(), key=lambda entry: -entry[1].ratio)
    for place, (peer, measured) in enumerate(ranking):
        value = figure(row.item.unit, measured.median_seconds)
        yield (
            "" if place else row.name,
            peer,
            f"{value:,.0f} {row.item.unit}" if value >= 100 else f"{value:.3g} {row.item.unit}",
            f"{measured.ratio:.2f}",
            f"{min(measured.ratios):.2f}–{max(measured.ratios):.2f}",
            "" if measured.round_trips is None else f"{measured.round_trips:g}",
            "" if measured.peak_mib is None else f"{measured.peak_mib:.0f}",
        )


def as_table(rows: Sequence[Row]) -> Table:
    """For the terminal."""
    table = Table(title="ratio: throughput, the floor of the same round = 1")
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if place < 2 else "right", no_wrap=True)
    for row in rows:
        for line in cells(row):
            ours = line[1].startswith("gal_friday")
            table.add_row(*line, style="bold" if ours else None)
        table.add_section()
    return table


def as_markdown(rows: Sequence[Row], server_version: str) -> str:
    """For `benchmarks/README.md`."""
    lines = [
        conditions(rows, server_version),
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{'---|' * 2}{'---:|' * (len(HEADINGS) - 2)}",
    ]
    for row in rows:
        for line in cells(row):
            shown = [f"**{cell}**" if cell and line[1].startswith("gal_friday") else cell for cell in line]
            lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def conditions(rows: Sequence[Row], server_version: str) -> str:
    """Machine and versions, without names of either."""
    peers = sorted({peer for row in rows for peer in row.figures}, key=str.lower)
    versions = dict.fromkeys(f"{library(peer)[1]} {version_of(peer)}" for peer in peers)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rounds = sorted({len(measured.seconds) for row in rows for measured in row.figures.values()})
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}; Python {platform.python_version()},"
        f" PostgreSQL {server_version}; {', '.join(versions)}; {'–'.join(map(str, rounds))} rounds."
    )
