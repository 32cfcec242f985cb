"""Commits that can be asked for: each leaves its marker, in the very message that says COMMIT.

Whether it is stored is decided by the marker's unique index: whoever asks stores the same marker as void. If
it is there already, the commit had been carried out; while the commit is being carried out, the server makes
the question wait; and once the void one is there, the message, however late it arrives, fails on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.errors import ConnectionLost, InvalidValue

#: The server parameter that holds a transaction's marker, set when it begins.
MARKER_SETTING = "gal_friday.commit_marker"

#: How asyncpg says it.
DRIVERS_COMMIT = "COMMIT;"

# One message. A transaction that wrote nothing has no id and leaves no marker; the INSERT is not even looked
# at then, so that it may be one of a reader, or on a standby.
MARK_AND_COMMIT = """\
DO $$
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        INSERT INTO commit_markers (id) VALUES (current_setting('gal_friday.commit_marker')::uuid);
    END IF;
END
$$;
COMMIT;"""

# For as long as the connection lasts.
NAME = """
    SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS setting (name, value)
"""

# A marker of 1970 is void: no commit's is.
_VOID = text("""
    INSERT INTO commit_markers (id, created_at) VALUES (:marker, to_timestamp(0))
    ON CONFLICT (id) DO NOTHING RETURNING false
""")
_STATE = text("SELECT created_at > to_timestamp(0) FROM commit_markers WHERE id = :marker")

#: For how long a commit can be asked for; markers are kept for twice as long, as clocks differ.
ANSWERABLE = timedelta(days=1)
KEPT = 2 * ANSWERABLE


@dataclass(slots=True)
class CommitMessage:
    """The one COMMIT of a transaction, and what is known of its fate."""

    marker: UUID
    #: Whether it left with its marker.
    was_sent: bool = False


class MarkingConnection(asyncpg.Connection):  # type: ignore[misc]  # a class without type hints
    """An asyncpg connection that can send the marker together with COMMIT."""

    #: The next COMMIT, where it is to be marked.
    next_commit: CommitMessage | None = None
    #: The leases named on this connection for statements outside of a transaction; None: nothing is named.
    leases_named: Mapping[str, int] | None = None

    async def name(self, settings: Mapping[str, str], leases: Mapping[str, int]) -> None:
        """Make *settings*, in which *leases* are named, hold for statements outside of a transaction."""
        await self.fetch(NAME, list(settings), list(settings.values()))
        self.names, self.leases_named = list(settings), dict(leases)

    async def unname(self) -> None:
        """Make the connection what it was before anything was named on it."""
        if self.leases_named is not None:
            await self.fetch(NAME, self.names, [""] * len(self.names))
            self.leases_named = None

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 -- asyncpg's signature
        commit, self.next_commit = self.next_commit, None
        if commit is not None and query == DRIVERS_COMMIT:
            commit.was_sent = True
            query = MARK_AND_COMMIT
        try:
            status: str = await super().execute(query, *args, timeout=timeout)
        except asyncpg.PostgresError:
            # Where the marker cannot be stored, as on a full disk, COMMIT is not come to: the transaction has
            # failed and is still open, which nobody expects after a COMMIT.
            if commit is not None and not self.is_closed() and self.is_in_transaction():
                await super().execute("ROLLBACK")
            raise
        return status


def to_be_marked(connection: AsyncConnection, marker: UUID) -> CommitMessage:
    """Make the next thing *connection* does a commit that leaves *marker*.

    Raises ConnectionLost where it is known to be broken: nothing can be committed over it.
    """
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    assert isinstance(driver, MarkingConnection)
    if driver.is_closed():
        raise ConnectionLost("found broken before COMMIT was sent")
    driver.next_commit = CommitMessage(marker)
    return driver.next_commit


async def settle(connection: AsyncConnection, marker: UUID) -> bool:
    """Whether the transaction of *marker* was committed; where not, it never will be. In autocommit mode.

    Waits for its end while it is being committed. Asked again, it says the same.
    """
    stored = await connection.scalar(_VOID, {"marker": marker})
    if stored is None:
        stored = (await connection.execute(_STATE, {"marker": marker})).scalar_one()
    return bool(stored)


def check_answerable(marker: UUID) -> None:
    """Raise InvalidValue for what is no marker, or one so old that it may have been pruned."""
    if marker.version != 7:
        raise InvalidValue("not the marker of a commit, which is a UUIDv7", name="marker", value=marker)
    if made_at(marker) < datetime.now(UTC) - ANSWERABLE:
        raise InvalidValue(
            "markers are not kept for that long", name="marker", value=marker, made_at=made_at(marker)
        )


def made_at(marker: UUID) -> datetime:
    """When a UUIDv7 was made, by the clock of who made it, to the millisecond."""
    return datetime.fromtimestamp((marker.int >> 80) / 1000, UTC)


def first_marker_of(moment: datetime) -> UUID:
    """The lowest UUIDv7 that can have been made at *moment*."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62))
