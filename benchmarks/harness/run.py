"""A run: every item asked for, on one server, each in a database of its own."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.item import AnyItem, Variant
from benchmarks.harness.rounds import Figures, measure
from benchmarks.harness.server import made_database, synchronous_commit
from benchmarks.harness.survey import survey
from benchmarks.harness.workbench import Workbench
from benchmarks.peers import is_installed
from tests.servers import TRADER, PostgresServer


@dataclass(frozen=True, slots=True)
class Row:
    """A finished row of the table."""

    item: AnyItem
    variant: Variant
    figures: Mapping[str, Figures]

    @property
    def name(self) -> str:
        return self.item.row(self.variant)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: *peers* are beginnings of names, empty for all of them."""

    items: Sequence[AnyItem]
    #: None: as many as each item says.
    rounds: int | None
    quick: bool = False
    peers: Sequence[str] = ()

    def peers_of(self, item: AnyItem) -> list[str]:
        """Those of *item* that are installed and asked for; the floor always is."""
        return [
            name
            for name in item.openings
            if is_installed(name) and (name == item.floor or self._is_asked_for(name))
        ]

    def missing(self) -> list[str]:
        """Peers that would be measured were they installed."""
        names = {name for item in self.items for name in item.openings}
        return sorted(name for name in names if not is_installed(name) and self._is_asked_for(name))

    def _is_asked_for(self, name: str) -> bool:
        return not self.peers or any(name.lower().startswith(asked.lower()) for asked in self.peers)


async def run(plan: Plan, server: PostgresServer, template: str, directory: Path) -> AsyncGenerator[Row]:
    """Rows as they are finished, on copies of the database *template*."""
    for item in plan.items:
        async with made_database(server, template) as database:
            bench = Workbench(
                url=server.url(database, user=TRADER),
                owner_url=server.url(database),
                directory=directory,
                binaries=server.bin_directory,
                quick=plan.quick,
                size=item.quick_size if plan.quick else item.size,
            )
            await item.setup(bench)
            for variant in item.variants:
                yield Row(item, variant, await _figures(item, variant, bench, plan))


async def _figures(item: AnyItem, variant: Variant, bench: Workbench, plan: Plan) -> dict[str, Figures]:
    peers = plan.peers_of(item)
    bench = replace(
        bench,
        variant=variant.name,
        size=max(round(bench.size * variant.share), 1),
        tasks=variant.tasks,
        pool_size=variant.connections or variant.tasks,
    )
    async with synchronous_commit(bench, on=variant.synchronous):
        measured = await measure(item, bench, peers, plan.rounds or item.rounds)
        for peer in peers:
            round_trips, peak_mib = await survey(item, bench, peer)
            measured[peer] = replace(measured[peer], round_trips=round_trips, peak_mib=peak_mib)
    return measured
