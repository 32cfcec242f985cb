"""Everything a database holds, in a form two runs can be compared by."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, Table, select
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.models import Base
from gal_friday.money import canonical

#: When a row was written, by which transaction of which process, and numbers a server hands out: an
#: interrupted run differs from an uninterrupted one in these. No other column is left out; ids are compared
#: by what they stand for.
NOT_COMPARED = frozenset(
    {
        "created_at",
        "updated_at",
        "recorded_at",
        "transaction_id",
        "cash_flows.occurred_at",  # of an account opened without saying when
        "fills.applied_at",
        "audit_log.application",
        "audit_log.position",
        "event_log.position",
        "schema_revisions.applied_at",
    }
)

#: A row for each transaction: an interrupted run has others, and more of them.
TABLES_NOT_COMPARED = frozenset({"commit_markers"})

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
Cells = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class EndState:
    """Rows by table, each row its columns as text, in an order that depends on what they say alone."""

    tables: Mapping[str, Sequence[Cells]]

    def digest(self, table: str) -> str:
        """SHA-256 over the rows of *table*."""
        return hashlib.sha256(json.dumps(self.tables[table]).encode()).hexdigest()

    def row_counts(self) -> Mapping[str, int]:
        """How many rows each table holds."""
        return {table: len(rows) for table, rows in self.tables.items()}

    def first_difference(self, other: "EndState") -> str | None:
        """The first table, row and column in which *other* differs; None where the two are equal."""
        for table in sorted({*self.tables, *other.tables}):
            mine, others = list(self.tables.get(table, ())), list(other.tables.get(table, ()))
            if mine == others:
                continue
            for number, (row, other_row) in enumerate(zip(mine, others, strict=False), 1):
                for column in row:
                    if row[column] != other_row.get(column):
                        return (
                            f"{table}, row {number}, {column}: {row[column]!r} and {other_row.get(column)!r}"
                        )
            return f"{table}: {len(mine)} and {len(others)} rows"
        return None


async def end_state(session: AsyncSession) -> EndState:
    """What the whole database of *session* says, table by table, taken from the models' metadata.

    A generated id reads `orders#17`: the seventeenth order when orders are sorted by everything else they
    say, so that whatever refers to it can be compared too, inside of JSON and text as well.
    """
    tables = [table for name, table in Base.metadata.tables.items() if name not in TABLES_NOT_COMPARED]
    stored = {table.name: await _rows(session, table) for table in tables}
    aliases: dict[str, str] = {}
    for name, rows in stored.items():
        with_ids = sorted((_without_ids(row), row["id"]) for row in rows if row.get("id") is not None)
        aliases |= {str(key): f"{name}#{rank}" for rank, (_, key) in enumerate(with_ids, 1)}

    def named(text: str | None) -> str | None:
        return text and _UUID.sub(lambda match: aliases.get(match[0], match[0]), text)

    return EndState(
        {
            name: sorted(
                ({column: named(text) for column, text in row.items()} for row in rows), key=_sort_key
            )
            for name, rows in stored.items()
        }
    )


async def _rows(session: AsyncSession, table: Table) -> Sequence[Cells]:
    columns = [column for column in table.columns if _compared(column)]
    if not columns:
        return [{}] * len((await session.execute(select(table))).all())
    result = await session.execute(select(*columns))
    return [{column.name: _text(value) for column, value in zip(columns, row, strict=True)} for row in result]


def _compared(column: Column[Any]) -> bool:
    return column.name not in NOT_COMPARED and f"{column.table.name}.{column.name}" not in NOT_COMPARED


def _without_ids(row: Cells) -> Sequence[str]:
    return [_UUID.sub("", text or "") for text in row.values()]


def _sort_key(row: Cells) -> list[tuple[bool, str]]:
    return [(text is None, text or "") for text in row.values()]


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case Decimal():
            return str(canonical(value))
        case datetime() | date():
            return value.isoformat()
        case dict() | list():
            return json.dumps(_without_recording_times(value), sort_keys=True)
        case _:
            return str(value)


def _without_recording_times(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: _without_recording_times(item) for key, item in value.items() if key not in NOT_COMPARED
            }
        case list():
            return [_without_recording_times(item) for item in value]
        case _:
            return value
