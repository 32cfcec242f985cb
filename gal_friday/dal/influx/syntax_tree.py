"""Parameters of a Flux query as Flux's syntax tree, beside its text: there is nothing to escape.

https://github.com/influxdata/flux/blob/master/docs/SPEC.md
"""

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Any

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.names import escaped_field_key, escaped_measurement, escaped_tag_key

Tree = dict[str, Any]


def parameters(**values: int | str | Tree) -> Tree:
    """A file of options, one for each of *values*: whole numbers, texts, or trees as of `matching`."""
    options = [
        {
            "type": "OptionStatement",
            "assignment": {"type": "VariableAssignment", "id": _name(name), "init": _literal(value)},
        }
        for name, value in values.items()
    ]
    return {"type": "File", "imports": [], "body": options}


def matching(measurement: str, tags: Mapping[str, str], fields: Collection[str] | None = None) -> Tree:
    """The function that is true of rows of *measurement* whose tags contain *tags*, and of *fields* only.

    Raises InvalidValue for names no point has.
    """
    escaped_measurement(measurement)
    conditions = [_equals("_measurement", measurement)]
    for key, value in tags.items():
        escaped_tag_key(key)
        conditions.append(_equals(key, value))
    if fields is not None:
        if not fields:
            raise InvalidValue("name one field at least, or None for all of them")
        for field in fields:
            escaped_field_key(field)
        conditions.append(_joined("or", [_equals("_field", field) for field in fields]))
    row = {"type": "Property", "key": _name("r"), "value": None}
    return {"type": "FunctionExpression", "params": [row], "body": _joined("and", conditions)}


def _joined(operator: str, conditions: Sequence[Tree]) -> Tree:
    return reduce(
        lambda left, right: {
            "type": "LogicalExpression",
            "operator": operator,
            "left": left,
            "right": right,
        },
        conditions,
    )


def _equals(column: str, value: str) -> Tree:
    member = {"type": "MemberExpression", "object": _name("r"), "property": _literal(column)}
    return {"type": "BinaryExpression", "operator": "==", "left": member, "right": _literal(value)}


def _name(name: str) -> Tree:
    return {"type": "Identifier", "name": name}


def _literal(value: int | str | Tree) -> Tree:
    match value:
        case str():
            return {"type": "StringLiteral", "value": value}
        case int():
            return {"type": "IntegerLiteral", "value": str(value)}
        case _:
            return value
