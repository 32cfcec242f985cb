"""The two ways a row can take, and what of their results is compared."""

import os
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from sqlalchemy import Column, Table, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.error_facts import WITHHELD_TABLES
from gal_friday.dal.models import Base
from gal_friday.dal.models.types import TransactionId, UtcDateTime
from gal_friday.dal.own_statements import OnItsOwn
from gal_friday.dal.session import UnitOfWorkSession
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import PersistenceError

T = TypeVar("T")
M = TypeVar("M", bound=Base)

#: For each model and question; more of them find rarer values.
EXAMPLES = int(os.environ.get("GAL_FRIDAY_TEST_CONTRACT_EXAMPLES", "4"))
#: Real servers take their time, and examples are independent of the database they share.
examples = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES)

MODELS: list[type[Base]] = sorted(
    (mapper.class_ for mapper in Base.registry.mappers), key=lambda model: model.__name__
)


class PoolOfTheORM(DatabaseConnectionPool):
    """A pool whose sessions are SQLAlchemy's business alone, and where every call is a transaction."""

    @property
    def sessionmaker(self) -> async_sessionmaker[AsyncSession]:
        return async_sessionmaker(
            self.engine,
            expire_on_commit=False,
            close_resets_only=False,
            sync_session_class=UnitOfWorkSession,
        )

    @property
    def runs_single_statements(self) -> bool:
        return False


class Both:
    """Two databases with the same rows in them, written by the one way and by the other.

    *valid* are the values of a row of each model, the rows it refers to being there.
    """

    def __init__(self, hot: Database, orm: Database, valid: Mapping[type[Base], Mapping[str, Any]]) -> None:
        self.hot = hot
        self.orm = orm
        self.valid = valid

    @property
    def each(self) -> tuple[Database, Database]:
        return self.hot, self.orm


def rows_in(model: type[M], uow: UnitOfWork) -> BaseRepository[M]:
    """The repository of a model, whether it has one of its own or not."""
    return _repository(model)(uow.session)


def rows_outside(model: type[M], database: Database) -> BaseRepository[M]:
    """The same where each statement is a transaction."""
    return _repository(model)(OnItsOwn(database.pool))


def _repository(model: type[M]) -> type[BaseRepository[M]]:
    return type(f"RowsOf{model.__name__}", (BaseRepository,), {"model": model})


def attributes_of(model: type[Base]) -> dict[str, "Column[Any]"]:
    found = {}
    for attribute in inspect(model).column_attrs:
        column = attribute.columns[0]
        assert isinstance(column, Column)
        found[attribute.key] = column
    return found


def settable(model: type[Base]) -> dict[str, "Column[Any]"]:
    """The columns a row may be given values of."""
    return {name: column for name, column in attributes_of(model).items() if column.computed is None}


@dataclass(frozen=True, slots=True)
class Refused:
    """An error, by what callers tell errors apart by."""

    kind: type[PersistenceError]
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: PersistenceError) -> "Refused":
        facts = {name: error.facts.get(name) for name in ("table", "constraint", "column", "value", "key")}
        return cls(type(error), {name: repr(fact) for name, fact in facts.items() if fact is not None})


async def result_of(work: Awaitable[T]) -> T | Refused:
    """What *work* gives, or how it is refused."""
    try:
        return await work
    except PersistenceError as error:
        return Refused.of(error)


def assert_same(hot: object, orm: object) -> None:
    """The same results; of two refusals the hot path's says all that the ORM's does."""
    if isinstance(hot, Refused) and isinstance(orm, Refused):
        assert hot.kind is orm.kind, (hot, orm)
        expected = {name: fact for name, fact in orm.facts.items() if name != "value" or not is_withheld(orm)}
        assert {name: hot.facts.get(name) for name in expected} == expected, (hot, orm)
    elif isinstance(hot, dict) and isinstance(orm, dict):
        differing = [name for name in {*hot, *orm} if hot.get(name, ...) != orm.get(name, ...)]
        assert not differing, [(name, hot.get(name), orm.get(name)) for name in differing]
    else:
        assert hot == orm, (hot, orm)


def is_withheld(refused: Refused) -> bool:
    """Whether no value of the table may be repeated, though the ORM repeats those of keys."""
    return refused.facts.get("table") in {repr(name) for name in WITHHELD_TABLES}


async def stored_row(session: AsyncSession, entity: Base, *, given: Mapping[str, Any]) -> dict[str, Any]:
    """The row of *entity* as it is in the database, without what differs from one transaction to another."""
    mapper = inspect(type(entity))
    table = mapper.local_table
    assert isinstance(table, Table)
    key = [
        column == entity.__dict__[mapper.get_property_by_column(column).key] for column in mapper.primary_key
    ]
    connection = await session.connection()
    row = (await connection.execute(select(table).where(*key))).mappings().one()
    names = {column.name: name for name, column in attributes_of(type(entity)).items()}
    values = {
        column: repr(value)
        for column, value in row.items()
        if column != "updated_at"  # whatever it is set to, the server's clock has the last word
        and (given.get(names[column]) is not None or not is_of_the_moment(table.c[column]))
    }
    # A trigger may have its own mind; the entity knows of it in both ways or in neither.
    held = {column: getattr(entity, name) for column, name in names.items()}
    return values | {f"{column} is known": _same_value(held[column], value) for column, value in row.items()}


def _same_value(held: Any, stored: Any) -> bool:
    """JSON in an entity is as it was given, and its decimals and times are text once stored."""
    return held == stored or isinstance(stored, dict | list)


def is_of_the_moment(column: "Column[Any]") -> bool:
    """Whether the server fills it in with something no other transaction would get."""
    if column.identity is not None:
        return True
    if column.server_default is None:
        return column.name == "id"  # made by the client
    return isinstance(column.type, UtcDateTime | TransactionId)


def state_of(entity: Base, *, session: AsyncSession | None) -> dict[str, Any]:
    """All that can be asked of an entity, its values aside."""
    state = inspect(entity)
    values = {name: getattr(entity, name) for name in attributes_of(type(entity))}
    assert state.session is (None if session is None else session.sync_session)
    assert not state.modified
    assert state.key is not None
    expected = tuple(
        values[inspect(type(entity)).get_property_by_column(c).key] for c in state.mapper.primary_key
    )
    assert state.key == (type(entity), expected, None)
    return {
        "is of": (state.transient, state.pending, state.persistent, state.detached),
        "expired": sorted(state.expired_attributes),
        "there": sorted(name for name, value in values.items() if value is not None),
        **{f"type of {name}": type(value).__name__ for name, value in values.items()},
        **{f"history of {name}": _history(entity, name) for name in values},
    }


def _history(entity: Base, name: str) -> tuple[int, ...]:
    """How many values a column of the entity has added, unchanged and deleted."""
    history = inspect(entity).attrs[name].history
    return tuple(len(part or ()) for part in history)
