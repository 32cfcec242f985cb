"""docs/indexes.md: every index that was asked for is there, or a wider one is."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Index, PrimaryKeyConstraint, Table, UniqueConstraint

from gal_friday.dal.models import Base

PAGE = Path(__file__).parents[2] / "docs" / "indexes.md"
ROW = re.compile(
    r"\| (?P<document>\d{3}) \| (?P<asked>.+?) "
    r"\| `(?P<table>\w+)(?P<unique> UNIQUE)?(?: USING (?P<using>\w+))? \((?P<columns>.+?)\)"
    r"(?: WHERE (?P<condition>.+))?` \| `(?P<name>\w+)` \|"
)


@dataclass(frozen=True)
class Asked:
    """A row of the page: an index in our words, and the name of the one that does its work."""

    document: str
    asked: str
    table: str
    unique: bool
    using: str
    columns: tuple[str, ...]
    condition: str | None
    name: str


@dataclass(frozen=True)
class Present:
    """An index, or the constraint that brings it along."""

    table: str
    unique: bool
    using: str
    columns: tuple[str, ...]
    condition: str | None


def rows_of_the_page() -> Iterator[Asked]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not re.match(r"\| [0-9]", line):
            continue
        match = ROW.fullmatch(line)
        assert match, f"not a row of this table: {line}"
        values: dict[str, Any] = match.groupdict()
        values |= {
            "unique": values["unique"] is not None,
            "using": values["using"] or "btree",
            "columns": tuple(values["columns"].split(", ")),
        }
        yield Asked(**values)


def indexes_of(table: Table) -> Iterator[tuple[str, Present]]:
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            columns = tuple(column.name for column in constraint.columns)
            yield str(constraint.name), Present(table.name, True, "btree", columns, None)
    for index in table.indexes:
        options = index.dialect_options["postgresql"]
        condition = None if options["where"] is None else str(options["where"])
        using = options["using"] or "btree"
        yield str(index.name), Present(table.name, index.unique, using, columns_of(table, index), condition)


def columns_of(table: Table, index: Index) -> tuple[str, ...]:
    return tuple(str(expression).removeprefix(f"{table.name}.") for expression in index.expressions)


def plain(columns: tuple[str, ...]) -> list[str]:
    return [column.removesuffix(" DESC") for column in columns]


def runs_both_ways(columns: tuple[str, ...]) -> bool:
    """Whether an ordering by these columns needs an index made for its directions."""
    return columns[0].endswith(" DESC") and not all(column.endswith(" DESC") for column in columns)


ASKED = list(rows_of_the_page())
PRESENT = dict(pair for table in Base.metadata.sorted_tables for pair in indexes_of(table))


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: f"{asked.document}-{asked.asked}")
def test_an_index_asked_for_is_there_or_a_wider_one_is(asked: Asked) -> None:
    present = PRESENT[asked.name]
    assert present.table == asked.table
    assert present.using == asked.using
    assert present.condition in {None, asked.condition}
    assert present.unique or not asked.unique
    settled = present.condition or ""
    wanted = plain(asked.columns)
    unsettled = [column for column in wanted if not re.search(rf"\b{column}\b", settled)]
    columns = plain(present.columns)
    if asked.unique:
        assert columns == wanted
    else:
        assert columns[: len(wanted)] == wanted or columns[: len(unsettled)] == unsettled
    if runs_both_ways(asked.columns):
        assert present.columns == asked.columns


def test_the_page_has_every_document_and_each_index_once() -> None:
    assert Counter(row.document for row in ASKED) == {"000": 8, "001": 10, "002": 30, "003": 20}
    assert len({(row.document, row.asked) for row in ASKED}) == len(ASKED)
