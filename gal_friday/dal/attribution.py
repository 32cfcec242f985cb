"""How a change came about: what triggers read when they put it on record.

They are parameters of the server, `gal_friday.<name>`, that end with the transaction.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.error_translation import translate_orm_errors
from gal_friday.dal.models.enums import ReportSource
from gal_friday.dal.models.types import Json, UtcDateTime, dumps

_EXCHANGE = text("""
    SELECT coalesce(current_setting(name, true), '') AS previous, set_config(name, value, true)
    FROM unnest(CAST(:names AS text[]), CAST(:values AS text[])) AS setting (name, value)
""")


@asynccontextmanager
async def recorded_as(
    session: AsyncSession,
    *,
    source: ReportSource | None = None,
    reason: str | None = None,
    at: datetime | None = None,
    raw_report: dict[str, Any] | None = None,
) -> AsyncIterator[None]:
    """A block whose changes go on record with what is given; the rest stays as it was.

    An exception in it leaves the transaction, or the savepoint around it, to be rolled back.
    """
    dialect = session.get_bind().dialect
    at = UtcDateTime().process_bind_param(at, dialect)
    raw_report = Json().process_bind_param(raw_report, dialect)
    settings = {
        "gal_friday.source": source and ReportSource(source).value,
        "gal_friday.reason": reason,
        "gal_friday.occurred_at": at and at.isoformat(),
        "gal_friday.raw_report": None if raw_report is None else dumps(raw_report),
    }
    names = [name for name, value in settings.items() if value is not None]
    with translate_orm_errors():
        await session.flush()
        rows = await session.execute(
            _EXCHANGE, {"names": names, "values": [settings[name] for name in names]}
        )
        previous = [row.previous for row in rows]
        yield
        await session.flush()
        await session.execute(_EXCHANGE, {"names": names, "values": previous})
