"""UnitOfWork: every repository over one session, in one transaction."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any, get_type_hints

from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.attribution import recorded_as
from gal_friday.dal.error_translation import refuse_void_transaction, translate_orm_errors
from gal_friday.dal.hot_path.place import has_changes
from gal_friday.dal.models.enums import ReportSource
from gal_friday.dal.repositories import Repositories


@cache
def repository_classes() -> dict[str, type[Any]]:
    """The class of each repository by the name of its attribute."""
    return get_type_hints(Repositories)


class UnitOfWork(Repositories):
    """What one transaction can do: each repository is an attribute, all on the same session.

    Made by `DatabaseConnectionPool.transaction`, which commits on a clean exit and rolls back on any
    exception. After a database error nothing more can be done in it, except around a `savepoint`.
    """

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    def __getattr__(self, name: str) -> Any:
        # Reached once per name: most units of work touch a few of the repositories.
        if name not in repository_classes():
            raise AttributeError(f"{type(self).__name__!r} has no repository {name!r}")
        repository = repository_classes()[name](self.session)
        setattr(self, name, repository)
        return repository

    async def flush(self) -> None:
        """Send pending changes of entities now. Raises what the database says of them."""
        if has_changes(self.session.sync_session):
            with translate_orm_errors():
                await self.session.flush()

    def recorded_as(
        self, *, source: ReportSource | None = None, reason: str | None = None, at: datetime | None = None
    ) -> AbstractAsyncContextManager[None]:
        """A block whose changes of orders go into their history with *source*, *reason* and time *at*.

        What is not given stays as it was: the transaction's source, no reason, each change's own time.
        """
        return recorded_as(self.session, source=source, reason=reason, at=at)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A block that can fail on its own: an exception undoes the block, and the transaction goes on.

        The exception is raised on; catch it around the block.
        """
        with translate_orm_errors():
            # Undone, it would take away the mark of an error that only this side knows of.
            refuse_void_transaction(await self.session.connection())
            async with self.session.begin_nested():
                yield
