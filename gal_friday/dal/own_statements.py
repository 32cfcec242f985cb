"""Statements that are transactions of their own: one round trip each, without a session.

A connection that breaks before the answer leaves open what became of the statement. Each can be sent again
without harm, by the id its row was given here, its row_version or the state it changes from; so it is, and
what is found then tells.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm.attributes import instance_state

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.hot_path.loading import collection_made_rarer
from gal_friday.dal.hot_path.rows import Rows, Values
from gal_friday.dal.hot_path.statements import (
    VERSION_READ,
    Record,
    Statement,
    as_changed,
    check_one,
    insert_of,
    of_query,
    select_by_key,
    update_arguments,
    update_of,
)
from gal_friday.dal.models import Base
from gal_friday.dal.retry_policy import Work, is_retried
from gal_friday.errors import (
    AlreadyExists,
    CommitUnknown,
    ConnectionLost,
    DatabaseUnavailable,
    PersistenceError,
    StaleWrite,
)

M = TypeVar("M", bound=Base)
T = TypeVar("T")

Attempt = Callable[[], Awaitable[list[Record]]]


class OnItsOwn:
    """Each statement a transaction, on whichever connection is free; entities belong to no session."""

    def __init__(self, pool: DatabaseConnectionPool) -> None:
        self._pool = pool

    async def get(self, rows: Rows[M], key: tuple[Any, ...]) -> list[M] | None:
        return rows.entities(await self._read(select_by_key(rows), dict(zip(rows.key, key, strict=True))))

    async def select(self, rows: Rows[M], query: Select[M]) -> list[M] | None:
        if (compiled := of_query(query, rows)) is None:
            return None
        with collection_made_rarer():
            records = await self._read(*compiled)
        return rows.entities(records)

    async def values(self, query: Select[Any]) -> list[Record] | None:
        compiled = of_query(query)
        return None if compiled is None else await self._read(*compiled)

    async def add(self, rows: Rows[M], entity: M) -> bool:
        values = rows.to_insert(entity)
        if values is None or not rows.is_identified:
            return False  # of a key that others may use, too, nobody could say whose row it is
        statement = insert_of(rows, frozenset(values))

        async def again() -> list[Record]:
            if stored := await self._read(select_by_key(rows), values):
                return stored  # looked for first: rules that have changed since might refuse it now
            try:
                return await self._write(rows, statement, values)
            except AlreadyExists as error:
                if error.facts["constraint"] != rows.table.primary_key.name:
                    raise
                return await self._read(select_by_key(rows), values)

        records = await self._settled(rows, statement, values, again)
        rows.inserted(entity, values, records)
        return True

    async def update(self, rows: Rows[M], entity: M) -> bool:
        changes = None if instance_state(entity).session_id is not None else rows.to_update(entity)
        if not changes or rows.version is None:
            return False
        statement = update_of(rows, frozenset(changes))
        kept = {name: value for name, value in entity.__dict__.items() if name in rows.columns}
        values = {**kept, **update_arguments(rows, entity, changes)}
        left = frozenset(kept).difference(rows.filled_on_update).union(changes)
        made = as_changed(rows, left, is_versioned=True)
        again = partial(self._again, rows, statement, values, made, values[VERSION_READ])
        records = await self._settled(rows, statement, values, again)
        check_one(rows, records)
        rows.updated(entity, records[0], None)
        return True

    async def change(self, rows: Rows[M], statement: Statement, values: Values) -> M | None:
        names = frozenset(rows.columns).intersection(values).difference(rows.key)
        again = partial(self._again, rows, statement, values, as_changed(rows, names), None)
        records = await self._settled(rows, statement, values, again)
        return rows.entity(records[0]) if records else None

    async def _read(self, statement: Statement, values: Values) -> list[Record]:
        try:
            return await self._pool.fetch(statement, values)
        except DatabaseUnavailable as loss:  # the server may be back, and only the connections stale
            if not is_retried(loss, Work.STATEMENT):
                raise
            return await self._pool.retry(lambda: self._pool.fetch(statement, values), work=Work.STATEMENT)

    async def _write(self, rows: Rows[Any], statement: Statement, values: Values) -> list[Record]:
        try:
            return await self._pool.fetch(statement, values, intends=True)
        finally:
            for watcher in list(self._pool.watchers):
                await watcher.rows_written(frozenset({rows.table.name}))

    async def _settled(
        self, rows: Rows[Any], statement: Statement, values: Values, again: Attempt
    ) -> list[Record]:
        send = partial(self._write, rows, statement, values)
        key = tuple([values[name] for name in rows.key])
        return await settled(self._pool, send, again, table=rows.table.name, key=key)

    async def _again(
        self, rows: Rows[Any], statement: Statement, values: Values, made: Statement, version: int | None
    ) -> list[Record]:
        """What an UPDATE gives that may have been carried out: then there is what *made* asks for.

        *version* is the one it was to change.
        """
        if records := await self._read(made, values):
            return records
        found = await self._read(select_by_key(rows), values)
        if not found or version is None or (now := _version(rows, found)) == version:
            if records := await self._write(rows, statement, values):
                return records
            if not found or version is not None:
                return []
        # Every change raises the version by one: where others made but one, this one was not made.
        elif now == version + 1:
            return []
        key = tuple([values[name] for name in rows.key])
        raise CommitUnknown("others changed the row, too", table=rows.table.name, key=key)


async def settled(
    pool: DatabaseConnectionPool,
    send: Callable[[], Awaitable[T]],
    again: Callable[[], Awaitable[T]],
    *,
    table: str,
    key: tuple[Any, ...],
) -> T:
    """What *send* gives, a statement on its own; where its answer is lost, what *again* gives.

    *again* looks what became of it, and sends it once more if nothing did; StaleWrite and CommitUnknown of
    its are what it has found out. Tried for `retry_timeout_seconds`; where it was sent, and nothing could be
    found out, CommitUnknown is raised.
    """
    may_be_done = False

    async def once_more() -> T:
        nonlocal may_be_done
        try:
            return await (again() if may_be_done else send())
        except ConnectionLost:
            may_be_done = True
            raise

    try:
        return await send()
    except DatabaseUnavailable as loss:
        if not is_retried(loss, Work.STATEMENT):
            raise
        may_be_done = isinstance(loss, ConnectionLost)
    try:
        return await pool.retry(once_more, work=Work.STATEMENT)
    except (StaleWrite, CommitUnknown):
        raise
    except PersistenceError as error:
        if not may_be_done:
            raise
        raise CommitUnknown("of a statement", table=table, key=key) from error


def _version(rows: Rows[Any], found: list[Record]) -> int:
    assert rows.version is not None
    version: int = found[0][rows.columns[rows.version].name]
    return version
