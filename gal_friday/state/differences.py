"""What is stored differently from what the fills and cash flows lead to."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from gal_friday.money import canonical

#: Stands for all columns, where a whole row is missing or should not be there.
ROW = "(row)"


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored value that is not the rebuilt one.

    `key` is the row's primary key as the audit record has it. Where `column` is `(row)` the whole row is
    stored and nothing leads to it, or the other way round.
    """

    table: str
    key: str
    column: str
    stored: object
    rebuilt: object


def differences_of(
    table: str, key: UUID | str, columns: Iterable[str], stored: Any, rebuilt: Any
) -> Iterator[Difference]:
    """What differs in *columns*, which both *stored* and *rebuilt* have as attributes."""
    for column in columns:
        there, here = getattr(stored, column), getattr(rebuilt, column)
        if there != here:
            yield Difference(table, str(key), column, there, here)


def unaccounted(table: str, key: UUID | str, stored: str) -> Difference:
    """A row to which no fill and no cash flow leads; *stored* says which it is."""
    return Difference(table, str(key), ROW, stored, None)


def shown(value: object) -> str:
    """A stored or rebuilt value for a person: amounts to the last decimal and no further."""
    if value is None:
        return "–"
    if isinstance(value, Decimal):
        return f"{canonical(value):f}"
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
