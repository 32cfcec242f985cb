"""BaseRepository: what every table can be asked, over a session it is given."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, ScalarResult, Select, Update, exists, func, inspect, select
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.session import JoinTransactionMode

from gal_friday.dal.criteria import (
    Criterion,
    Ordering,
    beyond,
    checked,
    checked_key,
    checked_limit,
    direction,
    in_order,
    ordering,
)
from gal_friday.dal.error_translation import translate_orm_errors
from gal_friday.dal.hot_path.bulk import add_entities, add_rows, upsert_rowset
from gal_friday.dal.hot_path.frames import FrameKind, frame_of
from gal_friday.dal.hot_path.place import InSession, Place
from gal_friday.dal.hot_path.rows import is_changed, rows_of
from gal_friday.dal.models import Base
from gal_friday.dal.upserts import Rowset, given_values, latest_of, rowsets_of, upsert
from gal_friday.dal.write_notices import note_write
from gal_friday.errors import Ambiguous, InvalidFilter, InvalidValue, NotFound

M = TypeVar("M", bound=Base)
Method = TypeVar("Method", bound=Callable[..., Any])


class NeedsTransaction(Exception):
    """What was asked for takes a session."""


def one_statement(method: Method) -> Method:
    """Say of a repository's *method* that it sends one statement: on its own it needs no transaction.

    Where it does need one after all it raises NeedsTransaction before it has stored anything.
    """
    vars(method)["is_one_statement"] = True
    return method


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some rows in order, and the cursor that asks for the ones after them (None: there are none)."""

    items: Sequence[M]
    next: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class UpsertCounts:
    """What an upsert did: rows that were new, rows that changed, rows that were left as they are."""

    inserted: int
    updated: int
    unchanged: int


class BaseRepository(Generic[M]):
    """Rows of one table, as entities, in the transaction of the session given.

    A filter is a column expression (`Order.status == OrderStatus.NEW`), an ordering is a column
    (`Order.created_at.desc()`). Every method raises InvalidFilter for expressions that do not fit the table,
    InvalidValue for values it cannot store exactly, and what else in `gal_friday.errors` the database has
    cause for.
    """

    model: type[M]

    def __init__(self, session: AsyncSession | Place) -> None:
        """*session*, or where each statement is a transaction: what takes more raises NeedsTransaction."""
        self._own_session = session if isinstance(session, AsyncSession) else None
        self._place: Place = InSession(session) if isinstance(session, AsyncSession) else session

    @property
    def _session(self) -> AsyncSession:
        if self._own_session is None:
            raise NeedsTransaction
        return self._own_session

    @one_statement
    async def add(self, entity: M) -> M:
        """Store a new row; columns the server fills are read back.

        Raises AlreadyExists, InvalidReference or ConstraintViolated with the constraint and the value.
        """
        if not await self._place.add(rows_of(self.model), entity):
            self._session.add(entity)
            try:
                await self._flush()
            except BaseException:
                if entity in self._session.new:  # in a void transaction it would be stored by a later one
                    self._session.expunge(entity)
                raise
        await self._written()
        return entity

    async def add_many(self, entities: Iterable[M]) -> Sequence[M]:
        """Store new rows, all or none. Raises as `add` does."""
        stored = list(entities)
        if not await add_entities(self._session, rows_of(self.model), stored):
            self._session.add_all(stored)
            await self._flush()
        await self._written()
        return stored

    async def add_rows(self, columns: Sequence[Ordering], rows: Iterable[Sequence[Any]]) -> int:
        """Store new rows given as the values of *columns*, all or none, and say how many there were.

        Far quicker than entities, and nothing is read back. A column not named gets its default, the id a new
        one. Raises as `add` does; InvalidValue with the number of the row, from 0.
        """
        mapping = rows_of(self.model)
        named = [mapping.columns[direction(self.model, item).attribute] for item in columns]
        count = await add_rows(self._session, mapping, named, rows)
        await self._written()
        return count

    @one_statement
    async def get(self, key: Any) -> M | None:
        """The row with this primary key (a tuple where it has several columns), or None."""
        parts = checked_key(self.model, key)
        found = await self._place.get(rows_of(self.model), parts)
        if found is None:
            return await self._session.get(self.model, parts if len(parts) > 1 else parts[0])
        return found[0] if found else None

    @one_statement
    async def one(self, key: Any) -> M:
        """The row with this primary key. Raises NotFound."""
        entity = await self.get(key)
        if entity is None:
            raise NotFound(table=self.model.__tablename__, key=key)
        return entity

    @one_statement
    async def update(self, entity: M) -> M:
        """Store what was changed on *entity*, in this session or outside of any.

        Raises StaleWrite when its row was changed by someone else since it was read.
        """
        state = inspect(entity)
        if state.transient:
            raise InvalidValue("never stored; use add", entity=repr(entity))
        if await self._place.update(rows_of(self.model), entity):
            return entity
        if state.detached:
            assert state.key is not None  # it was stored
            if state.key in self._session.sync_session.identity_map:
                await self._store_apart(entity)
                return entity
            self._session.add(entity)
        await self._flush()
        return entity

    async def delete(self, entity: M) -> None:
        """Remove a row. Raises InvalidReference while others refer to it, StaleWrite if it changed."""
        if inspect(entity).key is None:
            raise InvalidValue("never stored", entity=repr(entity))
        await self._session.delete(entity)
        await self._flush()

    @one_statement
    async def find_all(
        self,
        *criteria: Criterion,
        order_by: Ordering | Sequence[Ordering] | None = None,
        limit: int | None = None,
    ) -> Sequence[M]:
        """Rows that meet all *criteria*, ordered by *order_by* and then by primary key."""
        statement = self._select(*criteria, order_by=order_by)
        if limit is not None:
            statement = statement.limit(checked_limit(limit))
        return await self._selected(statement)

    @one_statement
    async def find_one_by(self, *criteria: Criterion) -> M | None:
        """The one row that meets all *criteria*, or None. Raises Ambiguous when there are more."""
        found = await self.find_all(*criteria, limit=2)
        if len(found) > 1:
            raise Ambiguous(table=self.model.__tablename__, first=repr(found[0]), second=repr(found[1]))
        return found[0] if found else None

    @one_statement
    async def count(self, *criteria: Criterion) -> int:
        """How many rows meet all *criteria*; reads them all, so never for a page."""
        statement = select(func.count()).select_from(self.model).where(*checked(self.model, criteria))
        return int(await self._value(statement))

    @one_statement
    async def exists(self, *criteria: Criterion) -> bool:
        """Whether any row meets all *criteria*."""
        inner = select(self.model).where(*checked(self.model, criteria))
        return bool(await self._value(select(exists(inner))))

    @one_statement
    async def page(
        self,
        *criteria: Criterion,
        order_by: Ordering | Sequence[Ordering] | None = None,
        after: Sequence[Any] | None = None,
        limit: int = 50,
    ) -> Page[M]:
        """At most *limit* rows after the cursor *after*, which is the `next` of the page before.

        A keyset, not an offset: page 10,000 costs what page one costs, and rows that arrive meanwhile neither
        repeat nor hide others. Raises InvalidFilter for a nullable ordering, mixed directions or a cursor of
        another ordering.
        """
        if checked_limit(limit) < 1:
            raise InvalidFilter("a page has at least one row", limit=limit)
        directions = ordering(self.model, order_by)
        nullable = [item.attribute for item in directions if getattr(item.column, "nullable", False)]
        if nullable:
            raise InvalidFilter("a page is ordered by columns that are never empty", columns=nullable)
        statement = in_order(self.model, directions).where(*checked(self.model, criteria)).limit(limit + 1)
        if after is not None:
            statement = statement.where(beyond(directions, after))
        rows = await self._selected(statement)
        if len(rows) <= limit:
            return Page(rows, None)
        return Page(rows[:limit], tuple(getattr(rows[limit - 1], item.attribute) for item in directions))

    async def stream(
        self,
        *criteria: Criterion,
        order_by: Ordering | Sequence[Ordering] | None = None,
        batch_size: int = 1_000,
    ) -> AsyncGenerator[M]:
        """The same rows as `find_all`, fetched *batch_size* at a time: memory stays flat.

        They belong to no session, and are not those this unit of work already holds. What is changed on one
        before the next is asked for is stored, or raises StaleWrite and leaves the transaction as it was.
        Raises InvalidFilter for a list of tuples.
        """
        if checked_limit(batch_size) < 1:
            raise InvalidFilter("a batch has at least one row", batch_size=batch_size)
        query, rows = self._select(*criteria, order_by=order_by), rows_of(self.model)
        async with aclosing(InSession(self._session).batches(rows, query, size=batch_size)) as batches:
            async for batch in batches:
                for entity in batch:
                    yield entity
                    if is_changed(entity):
                        await self._store_apart(entity)

    async def _store_apart(self, entity: M) -> None:
        """Store what was changed on an entity that belongs to no session; it stays that way."""
        connection = await self._session.connection()
        # On the same transaction: the session itself may hold, and have changed, another entity of this row.
        # In a savepoint: what is refused here leaves the transaction as it was.
        mode: JoinTransactionMode = "create_savepoint"
        async with AsyncSession(connection, join_transaction_mode=mode, expire_on_commit=False) as apart:
            apart.add(entity)
            with translate_orm_errors():
                await apart.commit()
            apart.expunge(entity)
        note_write(self._session.sync_session, rows_of(self.model).table.name)

    async def frame(
        self,
        *criteria: Criterion,
        columns: Sequence[Ordering] | None = None,
        order_by: Ordering | Sequence[Ordering] | None = None,
        limit: int | None = None,
        kind: FrameKind = "polars",
        exact: bool = True,
    ) -> Any:
        """The same rows as `find_all` as columns: a polars.DataFrame, a pyarrow.Table, a pandas.DataFrame, or
        a dict of NumPy arrays.

        *columns* default to all. Times are microseconds in UTC. Decimals stay what they are, as Arrow's
        decimals, or with *exact* off are floats, which takes a fraction of the time and of the memory. Ids,
        members of closed sets and JSON are text; so are costs in polars, whose decimals have 38 digits.
        Raises ConfigurationError where the libraries of the extras `frames` and `pandas` are not installed.
        """
        statement = self._select(*criteria, order_by=order_by)
        if limit is not None:
            statement = statement.limit(checked_limit(limit))
        mapping = rows_of(self.model)
        names = list(mapping.columns)
        if columns is not None:
            names = [direction(self.model, item).attribute for item in columns]
        named = {name: mapping.columns[name] for name in names}
        return await frame_of(InSession(self._session), statement, named, kind=kind, exact=exact)

    async def upsert_many(
        self,
        entities: Iterable[M],
        *,
        conflict: Sequence[Ordering] | None = None,
        update: Sequence[Ordering] | None = None,
    ) -> UpsertCounts:
        """Store rows, or bring those already there up to date; rows already as given are not touched.

        *conflict* names the columns of the unique key (default: the primary key), *update* those to overwrite
        (default: every other column given; of an append-only table none, a row that is there stays as it is).
        Of rows with the same key in one call the last one counts.
        """
        return await self._upsert_many(entities, conflict=conflict, update=update)

    async def _upsert_many(
        self,
        entities: Iterable[M],
        *,
        conflict: Sequence[Ordering] | None = None,
        update: Sequence[Ordering] | None = None,
        may_replace: Callable[[Insert], ColumnElement[bool]] | None = None,
    ) -> UpsertCounts:
        """As `upsert_many`; a row that is there is left alone unless *may_replace* holds of old and new."""
        rowsets = rowsets_of(rows_of(self.model).table, self._key_of(conflict), entities)
        return await self._upsert(rowsets, conflict=conflict, update=update, may_replace=may_replace)

    async def upsert_rows(
        self,
        columns: Sequence[Ordering],
        rows: Iterable[Sequence[Any]],
        *,
        conflict: Sequence[Ordering] | None = None,
        update: Sequence[Ordering] | None = None,
    ) -> UpsertCounts:
        """As `upsert_many`, for rows given as the values of *columns*, the key's among them."""
        names = tuple([direction(self.model, item).column.name for item in columns])
        key = self._key_of(conflict)
        if not set(key) <= set(names):
            raise InvalidFilter("the columns of the key have to be among them", key=key, columns=names)
        rowset = Rowset(names, latest_of(names, key, rows))
        return await self._upsert([rowset], conflict=conflict, update=update)

    async def _upsert(
        self,
        rowsets: Sequence[Rowset],
        *,
        conflict: Sequence[Ordering] | None = None,
        update: Sequence[Ordering] | None = None,
        may_replace: Callable[[Insert], ColumnElement[bool]] | None = None,
    ) -> UpsertCounts:
        mapping, key = rows_of(self.model), self._key_of(conflict)
        overwrite = None if update is None else [direction(self.model, item).column.name for item in update]
        inserted = updated = total = 0
        for rowset in rowsets:
            is_kept = mapping.table.info["append_only"]
            kept = rowset.columns if is_kept else (*key, "id", "created_at", "row_version")
            default = [name for name in rowset.columns if name not in kept]
            overwritten = default if overwrite is None else overwrite
            on_conflict = partial(upsert, key=key, overwrite=overwritten, may_replace=may_replace)
            new, changed = await upsert_rowset(
                self._session, mapping, rowset, key=key, overwritten=overwritten, conflict=on_conflict
            )
            inserted, updated, total = inserted + new, updated + changed, total + len(rowset.rows)
        return UpsertCounts(inserted, updated, total - inserted - updated)

    def _key_of(self, conflict: Sequence[Ordering] | None) -> list[str]:
        items = inspect(self.model).primary_key if conflict is None else conflict
        return [direction(self.model, item).column.name for item in items]

    async def _add_once(
        self, entity: M, key: Sequence[Ordering] | None = None, *, where: ColumnElement[bool] | None = None
    ) -> M | None:
        """Store *entity* and give it back as stored, or None where a row with its *key* is there already.

        Without *key* that is any unique key of the table; *where* is the condition of an index over some
        rows only. One statement: of several transactions that try at once, the first to commit has the row.
        """
        names = None if key is None else [direction(self.model, item).column.name for item in key]
        statement = insert(self.model).values(given_values(entity))
        once = statement.on_conflict_do_nothing(index_elements=names, index_where=where)
        return (await self._stored(once)).one_or_none()

    async def _stored(self, statement: Insert | Update) -> ScalarResult[M]:
        """Run *statement* and give back the rows it stored, loaded anew into this session's entities."""
        return await self._session.scalars(
            statement.returning(self.model),
            execution_options={"populate_existing": True, "synchronize_session": False},
        )

    async def _selected(self, query: Select[M]) -> Sequence[M]:
        """The entities of a query over this table alone."""
        found = await self._place.select(rows_of(self.model), query)
        return (await self._session.scalars(query)).all() if found is None else found

    async def _value(self, query: Select[Any]) -> Any:
        """The one value of the one row of *query*."""
        records = await self._place.values(query)
        if records is None:
            return (await self._session.scalars(query)).one()
        (value,) = records[0].values()
        return value

    def _select(
        self, *criteria: Criterion, order_by: Ordering | Sequence[Ordering] | None = None
    ) -> Select[M]:
        directions = ordering(self.model, order_by)
        return in_order(self.model, directions).where(*checked(self.model, criteria))

    async def _flush(self) -> None:
        with translate_orm_errors():
            await self._session.flush()

    async def _written(self) -> None:
        """Called after new rows were stored; for what the server makes of them."""
