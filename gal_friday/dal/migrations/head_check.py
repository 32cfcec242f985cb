"""Whether the configured database is at the head, told in little more than a driver takes to connect.

For what asks often or waits for the answer: scripts that start containers, probes. Only a yes is given here;
settings that take more reading, a schema that stands elsewhere and errors are left to the full check, which
imports ten times as much and says what is the matter.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]  # it has no type hints

from gal_friday.dal.migrations.revision_files import NotPlain, read_revisions
from gal_friday.dal.migrations.revisions import default_script_location, version_directories
from gal_friday.dal.migrations.schema_state import current_revision
from gal_friday.errors import MigrationFailed

_PREFIX = "GAL_FRIDAY_DATABASE"
_DRIVERS = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
TIMEOUT_SECONDS = 10.0

#: Settings of the database that do not change how a connection for one question is opened.
INDIFFERENT = frozenset(
    {
        "POOL_SIZE",
        "MAX_OVERFLOW",
        "ACQUIRE_TIMEOUT_SECONDS",
        "STATEMENT_TIMEOUT_SECONDS",
        "IDLE_IN_TRANSACTION_TIMEOUT_SECONDS",
        "RECYCLE_SECONDS",
        "RETRY_TIMEOUT_SECONDS",
        "APPLICATION_NAME",
        "MIGRATE_ON_OPEN",
        "MIGRATION_WAIT_SECONDS",
        "ROLE_PREFIX",
    }
)


def head_if_there() -> str | None:
    """The newest revision of this installation, if the configured database surely stands at it."""
    url = _plain_url()
    if url is None:
        return None
    try:
        revisions = read_revisions(version_directories(default_script_location()))
        current = asyncio.run(_ask(url))
    except (
        OSError,  # TimeoutError is one
        ValueError,  # of a URL that only looked plain
        NotPlain,
        MigrationFailed,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ):
        return None
    return current if revisions and current == revisions[-1].id else None


async def _ask(url: str) -> str | None:
    # What the URL does not say is as in the settings' defaults, not as in libpq's environment.
    ssl = None if "sslmode=" in url else "prefer"
    connection = await asyncpg.connect(url, ssl=ssl, timeout=TIMEOUT_SECONDS, command_timeout=TIMEOUT_SECONDS)
    try:
        return await current_revision(connection)
    finally:
        await connection.close(timeout=TIMEOUT_SECONDS)


def _plain_url() -> str | None:
    """Where to ask, if nothing but a URL of the usual form says so."""
    given = {name.removeprefix(f"{_PREFIX}__"): value for name, value in _settings()}
    url = given.pop("MIGRATION_URL", "") or given.pop("URL", "")
    given.pop("URL", None)
    if given.keys() - INDIFFERENT:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in _DRIVERS or not parts.path.strip("/") or parts.fragment:
        return None
    return parts._replace(scheme="postgresql").geturl()


def _settings() -> Iterator[tuple[str, str]]:
    """The database's settings in `.env` and the environment, later ones winning."""
    if Path(".env").exists():
        from dotenv import dotenv_values  # noqa: PLC0415 -- where there is no such file nothing else needs it

        yield from _ours({name: value or "" for name, value in dotenv_values(".env").items()})
    yield from _ours(os.environ)


def _ours(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environment.items():
        if name.upper().startswith(_PREFIX):
            yield name.upper(), value
