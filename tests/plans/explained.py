"""The plans of statements, from the log of a server that explains all of them, nested ones included."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.servers import PostgresServer

# By database: whatever statement of this package, of a trigger or a function, on whichever connection.
EXPLAIN = """
    LOAD 'auto_explain';
    ALTER DATABASE {name} SET session_preload_libraries = 'auto_explain';
    ALTER DATABASE {name} SET auto_explain.log_min_duration = 0;
    ALTER DATABASE {name} SET auto_explain.log_format = 'json';
    ALTER DATABASE {name} SET auto_explain.log_nested_statements = on;
    ALTER DATABASE {name} SET auto_explain.log_analyze = on;
    ALTER DATABASE {name} SET auto_explain.log_timing = off;
"""


@dataclass(frozen=True)
class Plan:
    """How a statement was carried out."""

    statement: str
    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Every step of it."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.get("Plans", [])


class ExplainedLog:
    """The server's log from some moment on."""

    def __init__(self, server: PostgresServer) -> None:
        self._path = server.directory / "log"
        self.skip()

    def skip(self) -> None:
        """Forget what has been logged so far."""
        self._offset = self._path.stat().st_size

    def plans(self) -> list[Plan]:
        """What has been logged since."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().decode().splitlines()
        return [Plan(entry["Query Text"], entry["Plan"]) for entry in _entries(lines)]


def _entries(lines: list[str]) -> Iterator[dict[str, Any]]:
    """The JSON behind each `plan:`; a message's further lines begin with a tab."""
    plan: list[str] | None = None
    for line in [*lines, ""]:
        if plan is not None and line.startswith("\t"):
            plan.append(line)
            continue
        if plan is not None:
            yield json.loads("\n".join(plan))
        plan = [] if line.endswith(" plan:") else None
