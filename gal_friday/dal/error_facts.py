"""What is known of a failed statement: table, constraint, column and the values concerned."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.schema import CheckConstraint, Constraint

# Tables that may hold credentials: an error names the place and repeats no value.
WITHHELD_TABLES = frozenset({"system_config", "configurations"})

#: First characters of what our own server functions raise; their DETAIL is the facts as a JSON object.
OWN_SQLSTATES = "TR"

_KEY_DETAIL = re.compile(r"\((?P<columns>.*?)\)=\((?P<values>.*)\)", re.DOTALL)
_WRITTEN_TABLE = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+\"?(\w+)", re.IGNORECASE)
_ARGUMENT_NUMBER = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement as it went to the server."""

    text: str
    #: The table it writes to, where that is known.
    table: Table | None = None
    #: What was given for each row, by name.
    rows: Sequence[Mapping[Any, object]] = ()
    #: Names of the arguments $1, $2 …
    positions: Sequence[str] = ()

    @property
    def kind(self) -> str | None:
        words = self.text.split(None, 1)
        return words[0].upper() if words else None

    @property
    def table_name(self) -> str | None:
        if self.table is not None:
            return self.table.name
        match = _WRITTEN_TABLE.match(self.text)
        return match[1] if match else None


NOTHING_SENT = Sent("")


def sent_by_sqlalchemy(context: ExceptionContext) -> Sent:
    """What SQLAlchemy had sent when it failed."""
    execution = context.execution_context
    compiled = getattr(execution, "compiled", None)
    table = getattr(getattr(compiled, "statement", None), "table", None)
    rows: Any = getattr(execution, "compiled_parameters", None) or context.parameters or []
    rows = [rows] if isinstance(rows, Mapping) else rows
    return Sent(
        text=context.statement or "",
        table=table if isinstance(table, Table) else None,
        rows=[row for row in rows if isinstance(row, Mapping)],
        positions=getattr(compiled, "positiontup", None) or (),
    )


def facts_of_server_error(error: Any, sent: Sent) -> dict[str, object]:
    """Facts of an asyncpg.PostgresError, with the values the statement was given."""
    facts: dict[str, object] = {
        "table": error.table_name or sent.table_name,
        "constraint": error.constraint_name,
        "column": error.column_name,
    }
    if error.sqlstate in {"23505", "23503", "23001"} and error.detail:
        facts["key"] = _key(error.detail)
    elif error.sqlstate[:2] == "23" and facts["table"] not in WITHHELD_TABLES:
        facts.update(_offending_values(sent, facts))
    elif error.sqlstate[:2] == OWN_SQLSTATES and error.detail:
        facts.update(_own_facts(error.detail))
    facts["sqlstate"] = error.sqlstate
    facts["statement"] = sent.kind
    return facts


def facts_of_argument(sent: Sent, *, value: object = None, message: str = "") -> dict[str, object]:
    """Facts of a *value* that could not be sent, or of the argument whose number *message* names."""
    facts: dict[str, object] = {"table": sent.table_name, "statement": sent.kind}
    if value is not None:
        names = [name for row in sent.rows for name, given in row.items() if given is value]
        facts["column"] = names[0] if names else None
    elif number := _ARGUMENT_NUMBER.search(message):
        position = int(number[1]) - 1
        facts["column"] = sent.positions[position] if position < len(sent.positions) else None
    return facts


def _own_facts(detail: str) -> dict[str, object]:
    facts: dict[str, object] = json.loads(detail)
    return {name: UUID(str(value)) if name == "order" else value for name, value in facts.items()}


def _key(detail: str) -> object:
    """Columns and values, as text, out of `Key (a, b)=(1, 2) already exists.` in any language."""
    match = _KEY_DETAIL.search(detail)
    if match is None:
        return None
    columns, values = match["columns"].split(", "), match["values"].split(", ")
    if len(columns) != len(values):  # a comma inside a value: which one is anybody's guess
        return {match["columns"]: match["values"]}
    return dict(zip(columns, values, strict=True))


def _offending_values(sent: Sent, facts: Mapping[str, object]) -> dict[str, object]:
    rows, table = sent.rows, sent.table
    if table is None or len(rows) != 1:
        return {}  # of several rows sent at once the server does not say which one it refused
    if facts["column"]:
        names = [facts["column"]] if table.name == facts["table"] else []
    else:
        names = _checked_columns(table, facts["constraint"])
    values = {name: rows[0][name] for name in names if name in rows[0]}
    if len(names) == 1 and values:
        return {"column": names[0], "value": values[names[0]]}
    return {"value": values or None}


def _checked_columns(table: Table, name: object) -> list[Any]:
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint) and _name(constraint) == name:
            words = set(re.findall(r"\w+", str(constraint.sqltext)))
            return [column.name for column in table.columns if column.name in words]
    return []


def _name(constraint: Constraint) -> str | None:
    return None if constraint.name is None else str(constraint.name)
