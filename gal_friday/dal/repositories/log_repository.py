"""System logs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gal_friday.dal.base import BaseRepository, Page, one_statement
from gal_friday.dal.criteria import given, recent, within
from gal_friday.dal.models.enums import Severity
from gal_friday.dal.models.system import Log
from gal_friday.errors import InvalidFilter

_ASCENDING = tuple(Severity)


class LogRepository(BaseRepository[Log]):
    model = Log

    @one_statement
    async def search(
        self,
        *,
        min_level: Severity = Severity.DEBUG,
        source_module: str | None = None,
        category: str | None = None,
        text: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        after: Sequence[Any] | None = None,
        limit: int = 100,
    ) -> Page[Log]:
        """Entries of *min_level* and above that fit all that is given, newest first.

        *text* is looked for anywhere in the message, in any case and as it is: `%` is no wildcard. Times are
        from *start* up to, not including, *end*; *after* is the `next` of the page before. Raises
        InvalidFilter.
        """
        if min_level not in _ASCENDING:
            raise InvalidFilter("no level", min_level=min_level, levels=list(map(str, _ASCENDING)))
        return await self.page(
            Log.log_level.in_(_ASCENDING[_ASCENDING.index(min_level) :]),
            *given((Log.source_module, source_module), (Log.category, category)),
            *([] if text is None else [Log.message.icontains(text, autoescape=True)]),
            *within(Log.log_timestamp, start, end),
            order_by=Log.log_timestamp.desc(),
            after=after,
            limit=limit,
        )

    @one_statement
    async def get_recent_errors(self, hours: int = 24, *, limit: int = 100) -> Sequence[Log]:
        """The last *limit* errors logged within *hours* by the server's clock, newest first."""
        return await self.find_all(
            Log.log_level.in_((Severity.ERROR, Severity.CRITICAL)),
            recent(Log.log_timestamp, hours),
            order_by=Log.log_timestamp.desc(),
            limit=limit,
        )
