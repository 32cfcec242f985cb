"""What an InfluxDB answers to the Flux texts we have: annotated CSV."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gal_friday.dal.influx.flux import LAST, POINTS
from tests.influx.grammar import Value

Row = dict[str, Any]
_TYPES = {float: "double", int: "long", bool: "boolean", str: "string"}


class Unknown(Exception):
    """A Flux text nobody here understands."""


def answer(flux: str, extern: Mapping[str, Any], rows: Callable[[str], Iterable[Row]]) -> str:
    """The answer to *flux* with the options of *extern*, from the *rows* of the bucket it names."""
    if flux not in (POINTS, LAST):
        raise Unknown(flux)
    options = {
        statement["assignment"]["id"]["name"]: statement["assignment"]["init"] for statement in extern["body"]
    }
    start, stop = (int(options[name]["value"]) for name in ("startNs", "stopNs"))
    matches = _function(options["matches"])
    tables: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows(options["bucketName"]["value"]):
        if start <= row["_time"] < stop and matches(row):
            tables[tuple(sorted((k, v) for k, v in row.items() if k not in ("_time", "_value")))].append(row)
    for found in tables.values():
        found.sort(key=lambda row: row["_time"])
        if flux == LAST:
            del found[:-1]
    return _annotated(tables.values())


def _function(tree: Mapping[str, Any]) -> Callable[[Row], bool]:
    (parameter,) = tree["params"]

    def value_of(node: Mapping[str, Any], row: Row) -> Any:
        match node["type"]:
            case "LogicalExpression":
                both = (value_of(node["left"], row), value_of(node["right"], row))
                return all(both) if node["operator"] == "and" else any(both)
            case "BinaryExpression":
                assert node["operator"] == "=="
                return value_of(node["left"], row) == value_of(node["right"], row)
            case "MemberExpression":
                assert node["object"]["name"] == parameter["key"]["name"]
                return row.get(node["property"]["value"])
            case "StringLiteral":
                return node["value"]
        raise Unknown(node["type"])

    return lambda row: bool(value_of(tree["body"], row))


def _annotated(tables: Iterable[list[Row]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    number = 0
    for rows in tables:
        if not rows:
            continue
        columns = sorted(rows[0])
        types = [_TYPES[type(rows[0][column])] for column in columns]
        writer.writerow(["#datatype", "string", "long", *types])
        groups = ["false" if column in ("_time", "_value") else "true" for column in columns]
        writer.writerow(["#group", "false", "false", *groups])
        writer.writerow(["#default", "_result", "", *[""] * len(columns)])
        writer.writerow(["", "result", "table", *columns])
        for row in rows:
            writer.writerow(["", "", number, *(_text(row[column]) for column in columns)])
        writer.writerow([])
        number += 1
    return out.getvalue()


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.replace("\n", "\r\n") if isinstance(value, str) else repr(value)
