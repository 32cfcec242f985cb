"""What the server does by itself: its functions, and the triggers that follow from the models.

A trigger covers raw SQL as well. Autogenerate compares what is declared here with the database.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Table

#: Each is defined by one statement in the migrations' `sql/<name>.sql`; a function follows those it calls.
FUNCTIONS = ("raise_row_version",)


@dataclass(frozen=True, slots=True, order=True)
class Trigger:
    """A trigger in the words of CREATE TRIGGER; *events* are in the order the server prints them in."""

    table: str
    name: str
    events: str
    per: str
    function: str
    arguments: tuple[str, ...] = ()


def triggers_of(table: Table) -> Iterator[Trigger]:
    """The triggers *table* is to have."""
    if "row_version" in table.columns:
        yield Trigger(table.name, "raise_row_version", "BEFORE UPDATE", "ROW", "raise_row_version")
