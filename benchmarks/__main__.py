"""`python -m benchmarks [ITEM …] [--rounds N] [--peers NAME,NAME] [--quick]`: measure, print, write."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from rich.console import Console

from benchmarks.harness.charts import draw
from benchmarks.harness.report import as_json, as_markdown, as_table
from benchmarks.harness.run import Plan, Row, run
from benchmarks.harness.server import make_template, started_server
from benchmarks.items.catalogue import ITEMS

OUT = Path(__file__).parent / "out"
QUICK_ROUNDS = 3
#: Of the table, where no terminal has one.
WIDTH = 120


def plan_of(arguments: argparse.Namespace) -> Plan:
    asked = [name.upper() for name in arguments.items]
    known = {item.key.upper() for item in ITEMS}
    if unknown := set(asked) - known:
        raise SystemExit(f"no such item: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return Plan(
        items=[item for item in ITEMS if not asked or item.key.upper() in asked],
        rounds=arguments.rounds or (QUICK_ROUNDS if arguments.quick else None),
        quick=arguments.quick,
        peers=tuple(filter(None, arguments.peers.split(","))),
    )


async def measure(plan: Plan, out: Path, console: Console) -> Sequence[Row]:
    """The rows of *plan*; each is printed and written to *out* as soon as it is finished."""
    rows: list[Row] = []
    if missing := plan.missing():
        console.print(f"not installed, left out: {', '.join(missing)}")
    with started_server() as server, tempfile.TemporaryDirectory() as scratch:
        version = server.run("psql", "-Atc", "SHOW server_version").split()[0]
        template = await make_template(server)
        async with aclosing(run(plan, server, template, Path(scratch))) as finished:
            async for row in finished:
                rows.append(row)
                console.print(as_table([row]))
                write(rows, version, out)
                draw(row, out)
    return rows


def write(rows: Sequence[Row], server_version: str, out: Path) -> None:
    """*rows* as JSON and as Markdown into *out*."""
    out.mkdir(parents=True, exist_ok=True)
    latest = json.dumps({row.name: as_json(row) for row in rows}, indent=2, ensure_ascii=False)
    (out / "latest.json").write_text(f"{latest}\n")
    (out / "table.md").write_text(as_markdown(rows, server_version))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("items", nargs="*", metavar="ITEM", help="W1 W2 …; all of them unless some are named")
    parser.add_argument(
        "--rounds", type=int, help=f"interleaved rounds (as each item says; quick: {QUICK_ROUNDS})"
    )
    parser.add_argument("--peers", default="", help="beginnings of names, like asyncpg,gal_friday")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--out", type=Path, default=OUT, help="where JSON, Markdown and charts go")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(as_table(asyncio.run(measure(plan_of(arguments), arguments.out, console))))


if __name__ == "__main__":
    main()
