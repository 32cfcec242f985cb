"""What is known of a failed statement: table, constraint, column and the values concerned."""

import json
import re
from collections.abc import Mapping, Sequence
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


def facts_of_server_error(error: Any, context: ExceptionContext | None = None) -> dict[str, object]:
    """Facts of an asyncpg.PostgresError; *context* adds the values the statement was given."""
    facts: dict[str, object] = {
        "table": error.table_name or (_table_name(context) if context else None),
        "constraint": error.constraint_name,
        "column": error.column_name,
    }
    if error.sqlstate in {"23505", "23503", "23001"} and error.detail:
        facts["key"] = _key(error.detail)
    elif error.sqlstate[:2] == "23" and context and facts["table"] not in WITHHELD_TABLES:
        facts.update(_offending_values(context, facts))
    elif error.sqlstate[:2] == OWN_SQLSTATES and error.detail:
        facts.update(_own_facts(error.detail))
    facts["sqlstate"] = error.sqlstate
    facts["statement"] = _kind(context)
    return facts


def facts_of_argument(
    context: ExceptionContext, *, value: object = None, message: str = ""
) -> dict[str, object]:
    """Facts of a *value* that could not be sent, or of the argument whose number *message* names."""
    facts: dict[str, object] = {"table": _table_name(context), "statement": _kind(context)}
    if value is not None:
        names = [name for row in _rows(context) for name, given in row.items() if given is value]
        facts["column"] = names[0] if names else None
    elif number := _ARGUMENT_NUMBER.search(message):
        compiled = getattr(context.execution_context, "compiled", None)
        names = getattr(compiled, "positiontup", None) or []
        position = int(number[1]) - 1
        facts["column"] = names[position] if position < len(names) else None
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


def _offending_values(context: ExceptionContext, facts: Mapping[str, object]) -> dict[str, object]:
    rows = _rows(context)
    table = _written_table(context)
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


def _rows(context: ExceptionContext) -> Sequence[Mapping[Any, object]]:
    """The parameters of each row, by name."""
    compiled_parameters = getattr(context.execution_context, "compiled_parameters", None)
    rows: Any = compiled_parameters or context.parameters or []
    rows = [rows] if isinstance(rows, Mapping) else rows
    return [row for row in rows if isinstance(row, Mapping)]


def _written_table(context: ExceptionContext) -> Table | None:
    compiled = getattr(context.execution_context, "compiled", None)
    table = getattr(getattr(compiled, "statement", None), "table", None)
    return table if isinstance(table, Table) else None


def _table_name(context: ExceptionContext) -> str | None:
    if (table := _written_table(context)) is not None:
        return table.name
    match = _WRITTEN_TABLE.match(context.statement or "")
    return match[1] if match else None


def _kind(context: ExceptionContext | None) -> str | None:
    words = (context.statement or "").split(None, 1) if context else []
    return words[0].upper() if words else None
