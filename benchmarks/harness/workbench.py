"""What an item finds when its turn comes: a migrated database of its own, and where the peers reach it."""

import importlib
import json
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no type hints


@dataclass(frozen=True, slots=True)
class Workbench:
    """A database for one item; `size` is how much work a turn is, in the item's own units."""

    #: postgresql://… of a login that may trade and no more: every peer's.
    url: str
    #: postgresql://… of the owner, for what is prepared and cleaned up between turns.
    owner_url: str
    #: Scratch files of the run.
    directory: Path
    #: The server's own programs.
    binaries: Path
    size: int
    #: How many tasks work at once, each with a connection.
    tasks: int = 1
    #: Connections every peer's pool may open.
    pool_size: int = 1
    #: Name of the variant, for items whose work differs by it.
    variant: str = ""
    #: Whether this is the quick run, for items whose tables are filled before.
    quick: bool = False

    def peer(self, name: str) -> AbstractAsyncContextManager[Any]:
        """The peer *name*, opened for this database: what `opened` of `benchmarks.peers.<name>` gives.

        Raises ModuleNotFoundError where it is not installed.
        """
        opened: AbstractAsyncContextManager[Any] = importlib.import_module(f"benchmarks.peers.{name}").opened(
            self
        )
        return opened

    def as_json(self) -> str:
        """For another process; see `from_json`."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Workbench":
        values = json.loads(text)
        return cls(**{**values, "directory": Path(values["directory"]), "binaries": Path(values["binaries"])})

    async def owner(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection of the owner, to be closed by who asked for it."""
        return await asyncpg.connect(self.owner_url)
