"""Many rows at once, by COPY as new rows, or in one text a column where some may be there already."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnClause,
    ColumnElement,
    Table,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from gal_friday.dal.error_facts import Sent
from gal_friday.dal.hot_path.place import InSession
from gal_friday.dal.hot_path.statements import Statement, statement_of
from gal_friday.dal.hot_path.texts import texts_of
from gal_friday.errors import InvalidValue

T = TypeVar("T")

#: When an upsert began, by the server's clock; no row of before has just this moment.
MOMENT = "moment"
NOW = statement_of(select(func.clock_timestamp().label(MOMENT)))

#: Between the values of a column that travels as one text, and in place of one that is not there.
SEPARATOR, NOTHING = "\x1f", "\x1e"

_SEPARATOR: ColumnClause[str] = literal_column("chr(31)", Text)
_NOTHING: ColumnClause[str] = literal_column("chr(30)", Text)

#: Values of some rows, a sequence for each column.
Batch = Sequence[Sequence[Any]]

#: Rows made ready while the server takes those before: as many as the socket takes at once.
ROWS_OF_A_BATCH = 2_000
#: Batches of one COPY, which has to end within `statement_timeout_seconds`.
BATCHES_OF_A_STATEMENT = 25


def batches(rows: Iterable[Sequence[Any]]) -> Iterator[Batch]:
    """*rows* column by column, some at a time."""
    remaining, first = iter(rows), 0
    while some := list(islice(remaining, ROWS_OF_A_BATCH)):
        try:
            yield list(zip(*some, strict=True))
        except ValueError:
            uneven = next(row for row, values in enumerate(some) if len(values) != len(some[0]))
            raise InvalidValue("a row has a value for each column", row=first + uneven) from None
        first += len(some)


async def copy_in(
    place: InSession, table: Table, columns: Sequence[Column[Any]], given: Iterable[Batch]
) -> int:
    """Copy the values of *columns* into *table*; gives back how many rows.

    Raises as an INSERT of the rows would, InvalidValue with the row's number.
    """
    remaining, copied = iter(given), 0
    async with place.writing(Sent(f"COPY {table.name}", table)) as driver:
        while (first := next(remaining, None)) is not None:
            lines = _Lines(columns, chain([first], islice(remaining, BATCHES_OF_A_STATEMENT - 1)), copied)
            await driver.copy_to_table(
                table.name,
                source=lines.encoded(),
                columns=[column.name for column in columns],
                format="text",
            )
            copied = lines.rows
    return copied


@dataclass(slots=True)
class _Lines:
    columns: Sequence[Column[Any]]
    given: Iterable[Batch]
    #: How many there are, those of statements before included.
    rows: int

    async def encoded(self) -> AsyncIterator[bytes]:
        for batch in self.given:
            texts = [
                texts_of(column, values, first_row=self.rows)
                for column, values in zip(self.columns, batch, strict=True)
            ]
            self.rows += len(texts[0])
            lines: Iterable[Any] = zip(*texts, strict=True)
            yield ("\n".join(map("\t".join, lines)) + "\n").encode()


async def upsert_in(
    place: InSession,
    table: Table,
    columns: Sequence[Column[Any]],
    given: Iterable[Batch],
    *,
    defaults: Mapping[str, Any],
    conflict: Callable[[Insert], Insert],
) -> tuple[int, int]:
    """Store the values of *columns*, and in each row *defaults*; how many rows are new, how many changed.

    *conflict* says what becomes of rows that are there. A column travels as one text; while the server stores
    some rows the next ones are made ready.
    """
    inserted = changed = 0
    now = (await place.read(NOW, {}))[0] if _is_partitioned(table) else {}
    statements: dict[frozenset[str], Statement] = {}
    ready = (_as_texts(columns, batch) for batch in given)
    values = next(ready, None)
    while values is not None:
        arrays = frozenset(name for name, value in values.items() if not isinstance(value, str))
        if arrays not in statements:
            statements[arrays] = _upsert_of(table, columns, tuple(defaults), conflict, arrays)
        async with _under_way(place.write(statements[arrays], {**values, **defaults, **now})) as storing:
            values = next(ready, None)
        (counts,) = storing.result()
        inserted, changed = inserted + counts["inserted"], changed + counts["changed"]
    return inserted, changed


@asynccontextmanager
async def _under_way(work: Coroutine[Any, Any, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """*work* goes on while the block computes, and has ended when the block has. Raises what either does."""
    task = asyncio.create_task(work)
    try:
        await asyncio.sleep(0)  # it gets as far as waiting for the server
        yield task
    except BaseException as interruption:
        if isinstance(interruption, asyncio.CancelledError):
            task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            interruption.add_note(f"meanwhile: {error}")
        raise
    await task


def _as_texts(columns: Sequence[Column[Any]], batch: Batch) -> dict[str, str | Sequence[str | None]]:
    """The values of *batch*, a text a column where that is clear."""
    return {
        column.name: _as_one_text(texts_of(column, of_column, first_row=None, is_escaped=False))
        for column, of_column in zip(columns, batch, strict=True)
    }


def _upsert_of(
    table: Table,
    columns: Sequence[Column[Any]],
    defaults: Sequence[str],
    conflict: Callable[[Insert], Insert],
    arrays: frozenset[str],
) -> Statement:
    """An upsert of rows whose columns are one text each, or *arrays* of texts."""
    names = [column.name for column in columns]
    texts = func.unnest(
        *(
            bindparam(name, type_=ARRAY(Text))
            if name in arrays
            else func.string_to_array(bindparam(name, type_=Text), _SEPARATOR, _NOTHING)
            for name in names
        )
    )
    given = texts.table_valued(*names).render_derived()
    same = [bindparam(name, type_=table.c[name].type) for name in defaults]
    values: list[ColumnElement[Any]] = [cast(given.c[column.name], column.type) for column in columns]
    # A row is new if xmax is 0; a partitioned table has none, and there the moment tells.
    if _is_partitioned(table):
        moment = bindparam(MOMENT, type_=table.c.created_at.type)
        into = insert(table).from_select([*names, *defaults, "created_at"], select(*values, *same, moment))
        is_new: ColumnElement[bool] = table.c.created_at == moment
    else:
        into = insert(table).from_select([*names, *defaults], select(*values, *same))
        is_new = literal_column("xmax = 0", Boolean)
    stored = conflict(into).returning(is_new.label("is_new")).cte()
    statement = select(
        func.count().filter(stored.c.is_new).label("inserted"),
        func.count().filter(~stored.c.is_new).label("changed"),
    ).select_from(stored)
    return replace(statement_of(statement), table=table)


def _is_partitioned(table: Table) -> bool:
    return bool(table.dialect_options["postgresql"]["partition_by"])


def _as_one_text(texts: Sequence[str | None]) -> str | Sequence[str | None]:
    """*texts* in one, which is many times quicker to send; as they are where that could be misread."""
    marked = [NOTHING if text is None else text for text in texts]
    joined = SEPARATOR.join(marked)
    is_clear = joined.count(SEPARATOR) == len(texts) - 1 and joined.count(NOTHING) == texts.count(None)
    # An empty text would be no row at all where there is but one.
    return joined if is_clear and joined else texts
