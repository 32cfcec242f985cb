"""How repairs are stored: in transactions of their own, or in one that is undone."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar

from sqlalchemy import text

from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists

T = TypeVar("T")
Work = Callable[[UnitOfWork], Awaitable[T]]

_DEFERRED_NOW = text("SET CONSTRAINTS ALL IMMEDIATE")


class Store(Protocol):
    """Where the work of a reconciliation is done."""

    async def do(self, work: Work[T]) -> T:
        """Do *work*, which is idempotent, wholly or not at all."""
        ...


class Transactions:
    """Each work in a transaction of its own, again where others were in the way or a connection was lost."""

    def __init__(self, database: Database, actor: str | None) -> None:
        self._database = database
        self._actor = actor

    async def do(self, work: Work[T]) -> T:
        """Raises what *work* raises."""
        # AlreadyExists: another order was being given the same exchange_order_id; it has it by now.
        with suppress(AlreadyExists):
            return await self._database.retrying(work, actor=self._actor)
        return await self._database.retrying(work, actor=self._actor)


class _Rehearsal:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def do(self, work: Work[T]) -> T:
        async with self._uow.session.begin_nested():
            return await work(self._uow)


@asynccontextmanager
async def rehearsal(database: Database) -> AsyncIterator[Store]:
    """All work in one transaction that is undone; each work sees the one before it, nobody else sees any."""
    with suppress(_Undo):
        async with database.transaction() as uow:
            await uow.session.execute(_DEFERRED_NOW)
            yield _Rehearsal(uow)
            raise _Undo


class _Undo(Exception):
    """Ends a transaction that is not to be kept."""
