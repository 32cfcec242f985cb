"""A chart of each row: what every peer reaches of the floor."""

from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness.run import Row

OURS, THEIRS, FLOOR = "#1f6feb", "#8b949e", "#d29922"


def draw(row: Row, out: Path) -> None:
    """A PNG of *row* into *out*; none where matplotlib is not installed."""
    if find_spec("matplotlib") is not None:
        _draw(row, out / f"{row.name.lower().replace(' ', '-')}.png")


def _draw(row: Row, path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 -- of the extra `bench`

    ranking = sorted(row.figures.items(), key=lambda entry: entry[1].ratio)
    names = [name for name, _ in ranking]
    ratios = [measured.ratio for _, measured in ranking]
    below = [measured.ratio - min(measured.ratios) for _, measured in ranking]
    above = [max(measured.ratios) - measured.ratio for _, measured in ranking]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        names, ratios, xerr=(below, above), capsize=3, color=[_colour(row, name) for name in names]
    )
    axes.bar_label(bars, [f" {ratio:.2f}" for ratio in ratios], label_type="edge", padding=4)
    axes.axvline(1, color=FLOOR, linewidth=1, linestyle="--")
    axes.set_title(f"{row.name}: {row.item.title}")
    axes.set_xlabel(f"throughput, {row.item.floor} = 1; median and range of the rounds")
    axes.margins(x=0.15)
    figure.savefig(path, dpi=120)


def _colour(row: Row, peer: str) -> str:
    if peer == row.item.floor:
        return FLOOR
    return OURS if peer.startswith("gal_friday") else THEIRS
