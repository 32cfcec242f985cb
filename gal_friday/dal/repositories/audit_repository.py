"""The audit record: who changed what, when, from what, to what."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from gal_friday.dal.base import BaseRepository, Page, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.history import AuditEntry


class AuditRepository(BaseRepository[AuditEntry]):
    """Read only: entries are written by triggers."""

    model = AuditEntry

    @one_statement
    async def search(
        self,
        *,
        table: str | None = None,
        key: str | UUID | Sequence[str] | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: Sequence[Any] | None = None,
        limit: int = 100,
    ) -> Page[AuditEntry]:
        """Changes that fit all that is given, oldest first.

        *key* is the row's primary key, in the key's order where it has several columns. Times are when the
        transaction began, from *since* up to, not including, *until*; *after* is the `next` of the page
        before. Raises InvalidFilter.
        """
        return await self.page(
            *given(
                (AuditEntry.table_name, table),
                (AuditEntry.row_key, None if key is None else row_key(key)),
                (AuditEntry.actor, actor),
            ),
            *within(AuditEntry.recorded_at, since, until),
            order_by=AuditEntry.recorded_at,
            after=after,
            limit=limit,
        )


def row_key(key: str | UUID | Sequence[str]) -> str:
    """*key* as the trigger writes it."""
    if isinstance(key, str | UUID):
        return str(key)
    return json.dumps([str(part) for part in key], ensure_ascii=False)
