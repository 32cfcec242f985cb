"""Many rows of a model at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Column
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.hot_path.copying import Batch, batches, copy_in, upsert_in
from gal_friday.dal.hot_path.place import InSession
from gal_friday.dal.hot_path.rows import Rows
from gal_friday.dal.hot_path.texts import can_be_copied
from gal_friday.dal.models import Base
from gal_friday.dal.models.models_base import new_id
from gal_friday.dal.upserts import Rowset, was_inserted
from gal_friday.errors import InvalidFilter

M = TypeVar("M", bound=Base)

#: Up to so many rows go in one INSERT.
SEVERAL = 16
#: From so many rows on COPY is worth reading back what the server has filled in.
WORTH_A_COPY = 200
#: From so many rows on arrays are worth being made.
WORTH_ARRAYS = 500


async def add_rows(
    session: AsyncSession, rows: Rows[Any], named: Sequence[Column[Any]], given: Iterable[Sequence[Any]]
) -> int:
    """Store new rows given as the values of the columns *named*, the others at their defaults; how many."""
    names = {rows.attributes[column.name] for column in named}
    defaults = {name: value for name, value in rows.defaults.items() if name not in names}
    makes_ids = rows.is_identified and "id" not in names
    columns = [*named, *(rows.columns[name] for name in [*defaults, *(["id"] if makes_ids else [])])]
    unknown = [column.name for column in columns if not (rows.is_plain and can_be_copied(column))]
    if unknown:
        raise InvalidFilter("rows with these columns are stored by add_many", columns=unknown)

    def completed() -> Iterator[Batch]:
        for batch in batches(given):
            ids = [[new_id() for _ in batch[0]]] if makes_ids else []
            yield [*batch, *([value] * len(batch[0]) for value in defaults.values()), *ids]

    return await copy_in(InSession(session), rows.table, columns, completed())


async def add_entities(session: AsyncSession, rows: Rows[M], entities: Sequence[M]) -> bool:
    """Store new *entities* and read back what the server fills in; False where SQLAlchemy has to see to it.

    Few go in one INSERT, many by COPY.
    """
    place = InSession(session)
    if not entities or not place.takes_new or len(rows.key) > 1:
        return False
    values = [given for entity in entities if (given := rows.to_insert(entity)) is not None]
    names = tuple(values[0]) if values else ()
    if len(values) < len(entities) or any(given.keys() != values[0].keys() for given in values):
        return False
    if len(set(map(id, entities))) < len(entities):
        return False
    if len(entities) <= SEVERAL:
        await place.add_several(rows, entities, values)
        return True
    columns = [rows.columns[name] for name in names]
    if len(entities) < WORTH_A_COPY or not can_be_copied(*columns):
        return False
    await copy_in(place, rows.table, columns, batches(map(itemgetter(*names), values)))
    await place.read_back(rows, entities, values)
    return True


async def upsert_rowset(
    session: AsyncSession,
    rows: Rows[Any],
    rowset: Rowset,
    *,
    key: Sequence[str],
    overwritten: Sequence[str],
    conflict: Callable[[Insert], Insert],
) -> tuple[int, int]:
    """Store rows, *conflict* saying what becomes of those that are there; how many are new, and changed."""
    table, place = rows.table, InSession(session)
    columns = [rows.columns[rows.attributes[name]] for name in rowset.columns]
    in_order = rowset.sorted_by(key) if len(rowset.rows) >= WORTH_ARRAYS and place.is_ours else None
    # Where all rows of a partitioned table are told apart by it, it is not to be overwritten.
    has_moment = "created_at" in table.c and "created_at" not in {*rowset.columns, *overwritten}
    if in_order is not None and has_moment and rows.is_plain and can_be_copied(*columns):
        missing = {rows.columns[name].name: value for name, value in rows.defaults.items()}
        defaults = {name: value for name, value in missing.items() if name not in rowset.columns}
        return await upsert_in(place, table, columns, batches(in_order), defaults=defaults, conflict=conflict)
    returning = conflict(insert(table)).returning(was_inserted(table, key))
    flags = (await session.scalars(returning, rowset.in_order(table, key))).all()
    return sum(flags), len(flags) - sum(flags)
