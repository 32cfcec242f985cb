"""Where statements of the hot path run: a repository is given the one or the other."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol, TypeVar
from weakref import ref

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.attributes import instance_state

from gal_friday.dal.error_facts import Sent
from gal_friday.dal.error_translation import (
    refuse_void,
    translate_driver_errors,
    translate_orm_errors,
    voiding,
)
from gal_friday.dal.hot_path.loading import collection_made_rarer
from gal_friday.dal.hot_path.rows import Rows, Values
from gal_friday.dal.hot_path.statements import (
    KEYS,
    Record,
    Statement,
    asking,
    check_one,
    fetch,
    filled_of_many,
    insert_of,
    insert_of_several,
    of_query,
    select_by_key,
    update_arguments,
    update_of,
    with_values,
)
from gal_friday.dal.models import Base
from gal_friday.dal.write_notices import note_write
from gal_friday.errors import DatabaseError

M = TypeVar("M", bound=Base)

#: In the `info` of a session that takes entities from here; what is to be told of each new one.
TELL_OF_NEW = "gal_friday.tell_of_new"


_DRIVEN = "gal_friday.driven"
_ANYTHING = "SELECT"


@dataclass(frozen=True, slots=True)
class Driven:
    """The driver's connection of a session's transaction or savepoint, and the `info` of SQLAlchemy's."""

    #: Not kept by this: it leads to its session, which keeps this.
    transaction: "ref[SessionTransaction]"
    driver: asyncpg.Connection
    info: dict[str, Any]


def drive(session: AsyncSession, connection: AsyncConnection) -> Driven:
    """Keep at hand, for what runs in the transaction of *session*, its *connection*."""
    assert connection.sync_connection is not None
    sync, below = session.sync_session, connection.sync_connection
    innermost = _innermost(sync)
    assert innermost is not None  # it has a connection
    driven = Driven(ref(innermost), below.connection.driver_connection, below.info)
    sync.info[_DRIVEN] = driven
    return driven


def _innermost(session: Session) -> SessionTransaction | None:
    """The savepoint *session* is in, which begins when its connection is asked for, or its transaction."""
    return session.get_nested_transaction() or session.get_transaction()


def has_changes(session: Session) -> bool:
    """Whether *session* holds anything that is still to be sent."""
    return bool(session.new or session.deleted or session.identity_map.check_modified())


class Place(Protocol):
    """What a repository has done on the hot path.

    Each method answers None, or False, before anything is sent, where SQLAlchemy has to see to it.
    """

    async def get(self, rows: Rows[M], key: tuple[Any, ...]) -> list[M] | None:
        """The row with this key, or none."""
        ...

    async def add(self, rows: Rows[M], entity: M) -> bool:
        """Store a new row; what the server fills in is read back."""
        ...

    async def update(self, rows: Rows[M], entity: M) -> bool:
        """Store what was changed on an entity. Raises StaleWrite."""
        ...

    async def change(self, rows: Rows[M], statement: Statement, values: Values) -> M | None:
        """The row *statement* has changed, or None where it changed none."""
        ...

    async def select(self, rows: Rows[M], query: Select[M]) -> list[M] | None:
        """The rows of *query* as entities."""
        ...

    async def values(self, query: Select[Any]) -> list[Record] | None:
        """The rows of *query* as they are."""
        ...


class InSession:
    """In the transaction of a session, on its connection; entities are the session's."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._sync: Session = session.sync_session
        self._tell_of_new: Callable[[Session, Base], None] | None = self._sync.info.get(TELL_OF_NEW)
        self._info: dict[str, Any] = {}

    async def get(self, rows: Rows[M], key: tuple[Any, ...]) -> list[M] | None:
        if self._tell_of_new is None:
            return None
        if (held := self._sync.identity_map.get(rows.identity(key))) is not None:
            if instance_state(held).expired_attributes or held in self._sync.deleted:
                return None  # the session knows what of it is to be loaded anew
            return [held]
        records = await self.read(select_by_key(rows), dict(zip(rows.key, key, strict=True)))
        return self._adopted(rows, records)

    async def add(self, rows: Rows[M], entity: M) -> bool:
        if self._tell_of_new is None or self._sync.in_nested_transaction():
            return False
        values = rows.to_insert(entity)
        if values is None:
            return False
        records = await self.write(insert_of(rows, frozenset(values)), values)
        self._tell_of_new(self._sync, entity)
        rows.inserted(entity, values, records)
        self._adopt(entity)
        return True

    async def update(self, rows: Rows[M], entity: M) -> bool:
        sync = self._sync
        if self._tell_of_new is None or sync.in_nested_transaction():
            return False
        if sync.new or sync.deleted or any(other is not entity for other in sync.dirty):
            return False
        held_by = instance_state(entity).session_id
        if held_by is not None and held_by != sync.hash_key:
            return False
        if held_by is None and rows.identity_of(entity) in sync.identity_map:
            return False
        changes = rows.to_update(entity)
        if not changes:
            return False
        statement, values = update_of(rows, frozenset(changes)), update_arguments(rows, entity, changes)
        connection = await self._connection()
        with voiding(self._info):
            records = await fetch(connection, statement, values, info=self._info)
            check_one(rows, records)
        note_write(sync, rows.table.name)
        rows.updated(entity, records[0], sync)
        sync.add(entity)
        return True

    async def change(self, rows: Rows[M], statement: Statement, values: Values) -> M | None:
        if self._tell_of_new is None or self._sync.in_nested_transaction():
            return None
        if rows.identity(tuple([values[name] for name in rows.key])) in self._sync.identity_map:
            return None
        adopted = self._adopted(rows, await self.write(statement, values))
        return adopted[0] if adopted else None

    async def select(self, rows: Rows[M], query: Select[M]) -> list[M] | None:
        if self._tell_of_new is None or (compiled := of_query(query, rows)) is None:
            return None
        with collection_made_rarer():
            records = await self.read(*compiled)
        return self._adopted(rows, records)

    async def values(self, query: Select[Any]) -> list[Record] | None:
        if self._tell_of_new is None or (compiled := of_query(query)) is None:
            return None
        return await self.read(*compiled)

    @property
    def is_ours(self) -> bool:
        """Whether the session takes entities from here."""
        return self._tell_of_new is not None

    @property
    def takes_new(self) -> bool:
        """Whether it takes new ones: in a savepoint it has to know by itself which are."""
        return self.is_ours and not self._sync.in_nested_transaction()

    async def add_several(self, rows: Rows[M], entities: Sequence[M], values: Sequence[Values]) -> None:
        """Store new *entities* with these *values*, of the same attributes, in one statement."""
        statement = insert_of_several(rows, frozenset(values[0]), len(values))
        numbered = {
            f"{name}_{number}": value
            for number, of_one in enumerate(values)
            for name, value in of_one.items()
        }
        self._take_in(rows, entities, values, await self.write(statement, numbered))

    async def read_back(self, rows: Rows[M], entities: Sequence[M], values: Sequence[Values]) -> None:
        """Make new *entities*, copied with these *values*, the session's, with what the server filled in."""
        (key,) = rows.key
        statement = filled_of_many(rows, frozenset(values[0]))
        records = await self.read(statement, {KEYS: [of_one[key] for of_one in values]})
        self._take_in(rows, entities, values, records)

    def _take_in(
        self, rows: Rows[M], entities: Sequence[M], values: Sequence[Values], records: list[Record]
    ) -> None:
        assert self._tell_of_new is not None
        (key,) = rows.key
        found = {record[rows.columns[key].name]: record for record in records}
        for entity, of_one in zip(entities, values, strict=True):
            self._tell_of_new(self._sync, entity)
            rows.inserted(entity, of_one, [found[of_one[key]]])
            self._adopt(entity)

    @asynccontextmanager
    async def writing(self, sent: Sent) -> AsyncIterator[asyncpg.Connection]:
        """The connection, for what is *sent* of a block that writes; its errors are those of a statement."""
        connection = await self._flushed()
        if sent.table is not None:
            note_write(self._sync, sent.table.name)
        with translate_driver_errors(sent, connection, self._info), voiding(self._info):
            yield connection

    async def read(self, statement: Statement, values: Values) -> list[Record]:
        """The records of a statement that only reads."""
        return await fetch(await self._flushed(), statement, values, info=self._info)

    async def copy_out(
        self, statement: Statement, values: Values, take: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Hand over the rows of a query as COPY writes them in CSV, some whole ones at a time."""
        connection, arguments = await self._flushed(), statement.arguments(values)
        with translate_driver_errors(statement.sent(values), connection, self._info):
            await connection.copy_from_query(statement.text, *arguments, output=take, format="csv")

    async def batches(self, rows: Rows[M], query: Select[M], *, size: int) -> AsyncGenerator[list[M]]:
        """The rows of *query*, *size* at a time, as entities of no session."""
        statement, values = with_values(asking(query, rows))
        connection, arguments = await self._flushed(), statement.arguments(values)
        begun, sent = self._sync.get_transaction(), statement.sent(values)
        with translate_driver_errors(sent, connection, self._info):
            prepared = await connection.prepare(statement.text, name="")  # nothing stays behind PgBouncer
            cursor = await prepared.cursor(*arguments)
        while True:
            if begun is None or self._sync.get_transaction() is not begun:
                raise DatabaseError("the transaction of this stream is over")
            with translate_driver_errors(sent, connection, self._info):
                records = await cursor.fetch(size)
            if not records:
                return
            yield rows.entities(records)

    async def write(self, statement: Statement, values: Values) -> list[Record]:
        """The records of a statement that writes."""
        if statement.table is not None:
            note_write(self._sync, statement.table.name)
        connection = await self._flushed()
        with voiding(self._info):
            return await fetch(connection, statement, values, info=self._info)

    async def _flushed(self) -> asyncpg.Connection:
        """The connection, with nothing left in the session that is still to be sent."""
        connection = await self._connection()  # first: what a void transaction holds is not sent once more
        if has_changes(self._sync):
            with translate_orm_errors():
                await self._session.flush()
        return connection

    async def _connection(self) -> asyncpg.Connection:
        refuse_void(self._sync, {})  # with a session that is void nothing can be asked for
        driven: Driven | None = self._sync.info.get(_DRIVEN)
        innermost = _innermost(self._sync)
        if driven is None or innermost is None or driven.transaction() is not innermost:
            driven = drive(self._session, await self._session.connection())
        self._info = driven.info
        refuse_void(self._sync, driven.info)
        if not driven.driver.is_in_transaction():
            # SQLAlchemy sends BEGIN with its own first statement; without it each would be a transaction.
            await (await self._session.connection()).exec_driver_sql(_ANYTHING)
        return driven.driver

    def _adopted(self, rows: Rows[M], records: list[Record]) -> list[M] | None:
        """The session's entities of these rows: those it has, else some that become its own.

        None where it has one that is to be loaded anew: it knows what of it.
        """
        entities, held_by_key = rows.entities(records), self._sync.identity_map
        held = map(held_by_key.get, map(rows.identity_of, entities)) if len(held_by_key) else repeat(None)
        pairs = list(zip(entities, held, strict=False))
        if any(known is not None and instance_state(known).expired_attributes for _, known in pairs):
            return None
        for entity, known in pairs:
            if known is None:
                self._adopt(entity)
        return [entity if known is None else known for entity, known in pairs]

    def _adopt(self, entity: Base) -> None:
        """Make an entity the session's that it has none of with the same key; quicker than to add it."""
        state = instance_state(entity)
        state.session_id = self._sync.hash_key
        self._sync.identity_map.add(state)
