"""Many rows at once, by COPY: as new rows, or through a stage into rows that may be there already."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from sqlalchemy import Column, MetaData, Table, and_, func, select
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.schema import CreateTable

from gal_friday.dal.error_facts import Sent
from gal_friday.dal.hot_path.place import InSession
from gal_friday.dal.hot_path.texts import texts_of

#: Values of some rows, a sequence for each column.
Batch = Sequence[Sequence[Any]]

#: Rows made ready while the server takes those before.
ROWS_OF_A_BATCH = 5_000
#: Batches of one COPY, which has to end within `statement_timeout_seconds`.
BATCHES_OF_A_STATEMENT = 10
_STAGED = MetaData()


def batches(rows: Iterable[Sequence[Any]]) -> Iterator[Batch]:
    """*rows* column by column, some at a time."""
    remaining = iter(rows)
    while some := list(islice(remaining, ROWS_OF_A_BATCH)):
        yield list(zip(*some, strict=True))


async def copy_in(
    place: InSession,
    table: Table,
    columns: Sequence[Column[Any]],
    given: Iterable[Batch],
    *,
    stage: Table | None = None,
) -> int:
    """Copy the values of *columns* into *table*, or into its *stage*; gives back how many rows.

    Raises as an INSERT of the rows would, InvalidValue with the row's number.
    """
    remaining, copied = iter(given), 0
    async with place.writing(Sent(f"COPY {table.name}", table)) as driver:
        while (first := next(remaining, None)) is not None:
            lines = _Lines(columns, chain([first], islice(remaining, BATCHES_OF_A_STATEMENT - 1)), copied)
            await driver.copy_to_table(
                (table if stage is None else stage).name,
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
            yield ("\n".join(map("\t".join, zip(*texts, strict=True))) + "\n").encode()


async def upsert_in(
    session: AsyncSession,
    table: Table,
    columns: Sequence[Column[Any]],
    given: Iterable[Batch],
    *,
    key: Sequence[str],
    conflict: Callable[[Insert], Insert],
) -> tuple[int, int]:
    """Store the values of *columns*; how many rows are new, and how many were changed.

    *conflict* says what becomes of rows that are there, by *key*. They are stored in the order of their keys,
    so that whoever stores the same rows locks them in the same order.
    """
    stage = _stage_of(table)
    await _clear(session, stage)
    total = await copy_in(InSession(session), table, columns, given, stage=stage)
    names = [column.name for column in columns]
    staged = select(*(stage.c[name] for name in names)).order_by(*(stage.c[name] for name in key))
    stored = conflict(insert(table).from_select(names, staged)).returning(table.c[key[0]]).cte("stored")
    same = and_(*(stage.c[name] == table.c[name] for name in key))
    # A statement sees the table as it was before itself.
    known = select(func.count()).select_from(stage.join(table, same)).scalar_subquery()
    done = select(func.count()).select_from(stored).scalar_subquery()
    were_there, written = (await session.execute(select(known, done))).one()
    inserted = total - were_there
    return inserted, written - inserted


def _stage_of(table: Table) -> Table:
    """The temporary table that rows for *table* are copied to: its columns, without any of its rules."""
    name = f"stage_of_{table.name}"
    if name not in _STAGED.tables:
        columns = [Column(column.name, column.type) for column in table.columns]
        Table(name, _STAGED, *columns, prefixes=["TEMPORARY"], postgresql_on_commit="DELETE ROWS")
    return _STAGED.tables[name]


async def _clear(session: AsyncSession, stage: Table) -> None:
    """Make *stage* an empty table of this connection."""
    if await session.scalar(select(func.to_regclass(f"pg_temp.{stage.name}"))) is None:
        await session.execute(CreateTable(stage))
    else:
        await session.execute(stage.delete())
