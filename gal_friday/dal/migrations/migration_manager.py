"""MigrationManager: brings a database's schema to the revision this code was written for."""

import logging
import textwrap
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.compatibility import check_served
from gal_friday.dal.migrations.connections import (
    FAILED_STATEMENT,
    asking_connection,
    exclusive_connection,
    migration_engine,
    run_retrying,
    translated_driver_errors,
)
from gal_friday.dal.migrations.revision_files import NotPlain, read_revisions
from gal_friday.dal.migrations.revisions import (
    WHEEL_DIRECTORY,
    Revision,
    RevisionHistory,
    default_script_location,
    version_directories,
)
from gal_friday.dal.migrations.schema_state import current_revision
from gal_friday.dal.retry_policy import Work
from gal_friday.dal.retrying import retry
from gal_friday.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    MigrationFailed,
    PersistenceError,
    SchemaOutdated,
    SchemaTooNew,
)

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)

T = TypeVar("T")
#: Revisions to apply or undo, each with the one the schema is at afterwards.
Steps = list[tuple[str, str | None]]
#: Made on an asyncpg connection, from how the schema stands.
Plan = Callable[[Any, RevisionHistory], Awaitable[tuple[str | None, Steps]]]


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a migration did; a revision of None is the empty database."""

    from_revision: str | None
    to_revision: str | None
    #: Applied, or undone by a rollback, in this order.
    revisions: tuple[str, ...]
    #: Altogether, and of those while another process migrated.
    seconds: float
    waited_seconds: float


class MigrationManager:
    """The schema of the database at *url*: its revision, and the ways to change it.

    Any number of processes may call it at the same time: one migrates, the others wait and find the work
    done. *url* must not lead through PgBouncer. Every method may raise DatabaseUnavailable (those called at
    boot after `retry_timeout_seconds`); those that change something raise MigrationLockTimeout when another
    process migrates for longer than `migration_wait_seconds`, and MigrationFailed.

    *script_location* and *version_locations* are for revisions other than the package's own.
    """

    def __init__(
        self,
        url: URL,
        settings: DatabaseSettings,
        *,
        script_location: Path | None = None,
        version_locations: Sequence[Path] = (),
    ) -> None:
        self._url = url
        self._settings = settings
        self._script_location = script_location or default_script_location()
        self._version_locations = tuple(version_locations)

    async def run_migrations(self, revision: str = "head") -> MigrationReport:
        """Apply what is pending up to *revision*: an id, the start of one, "head", or a number like "+1".

        Each revision is a transaction: a failing one leaves the schema as the revision before it made it. A
        database already migrated by newer code is left alone; SchemaTooNew if that code no longer serves
        this version.
        """
        return await self._migrate("upgrade", partial(_upgrades, target=revision))

    async def rollback(self, to: str) -> MigrationReport:
        """Undo the revisions after *to*: an id, the start of one, "base", or a number like "-1".

        What only the undone revisions had a place for is lost.
        """
        return await self._migrate("downgrade", partial(_downgrades, target=to))

    async def stamp_db(self, revision: str = "head") -> None:
        """Record *revision* as the database's without running anything; for a schema made otherwise."""
        history = self._history()
        async with exclusive_connection(self._url, self._settings) as (connection, lock):
            current = await _ask(connection, current_revision)
            target = history.resolve(revision) or "base"
            purge = current not in history
            await lock.while_held(self._run(connection, "stamp", target, purge=purge))

    async def generate_revision(self, message: str, autogenerate: bool = True) -> Path:
        """Write the file of a new revision; with *autogenerate* from what `check` finds.

        Raises SchemaOutdated if the database compared with has pending revisions, ConfigurationError where
        the package is installed from a wheel: what is written into it would be gone with the next version.
        """
        if self._script_location.name == WHEEL_DIRECTORY and not self._version_locations:
            raise ConfigurationError(
                "revisions are written in a checkout", directory=str(self._script_location)
            )
        history = self._history()
        options: dict[str, Any] = {
            "message": message,
            "autogenerate": autogenerate,
            "rev_id": history.next_id(message),
            "version_path": self._version_locations[-1] if self._version_locations else None,
        }
        if not autogenerate:
            return _path(_alembic_command("revision")(self._config(), **options))
        async with exclusive_connection(self._url, self._settings) as (connection, _):
            await _ask(connection, _check_up_to_date, history)
            return _path(await self._run(connection, "revision", **options))

    async def current(self) -> str | None:
        """The database's revision; None if it has none."""
        async with asking_connection(self._url, self._settings) as connection:
            return await current_revision(connection)

    async def history(self) -> list[Revision]:
        """Every revision of this installation, oldest first; with a newer database none counts as applied."""
        history = self._history()
        current = await self.current()
        return history.listed(current if current in history else None)

    async def pending(self) -> list[Revision]:
        """The revisions not applied yet, in the order of application; none if the database is newer."""
        history = self._history()
        current = await self.current()
        return [each for each in history.listed(current) if not each.is_applied] if current in history else []

    async def check(self) -> list[str]:
        """How the database differs from the models, one phrase for each difference; empty if nowhere."""
        from gal_friday.dal.migrations.drift import differences  # noqa: PLC0415 -- see _alembic_command

        async with migration_engine(self._url, self._settings).connect() as connection:
            return await connection.run_sync(differences)

    async def check_compatibility(self) -> None:
        """Return if this code can work with the schema as it stands; say so in the log if that is newer.

        Raises SchemaOutdated or SchemaTooNew.
        """
        await self._ask_at_boot(_check_up_to_date, self._history())

    async def _migrate(self, step: str, plan: Plan) -> MigrationReport:
        start = time.monotonic()
        history = self._history()
        before, steps = await self._ask_at_boot(plan, history)
        after, waited_seconds = before, 0.0
        if steps:  # at almost every boot there are none, and nobody needs the lock for that
            async with exclusive_connection(self._url, self._settings) as (connection, lock):
                waited_seconds = lock.waited_seconds
                before, steps = await _ask(connection, plan, history)
                after = await lock.while_held(self._take(steps, step, connection, before))
        return MigrationReport(
            from_revision=before,
            to_revision=after,
            revisions=tuple(revision for revision, _ in steps),
            seconds=time.monotonic() - start,
            waited_seconds=waited_seconds,
        )

    async def _take(
        self, steps: Steps, step: str, connection: AsyncConnection, current: str | None
    ) -> str | None:
        for number, (revision, destination) in enumerate(steps, 1):
            progress = {"revision": revision, "number": number, "of": len(steps)}
            log.info("migrating", extra=progress)
            start = time.monotonic()
            try:
                await self._run(connection, step, destination or "base")
            except DatabaseUnavailable:
                raise
            except Exception as error:
                raise _failure(error, connection, revision=revision, schema_stays_at=current) from error
            log.info("migrated", extra=progress | {"seconds": round(time.monotonic() - start, 3)})
            current = destination
        return current

    async def _run(self, connection: AsyncConnection, command: str, *args: Any, **options: Any) -> Any:
        run = _alembic_command(command)
        return await run_retrying(
            connection,
            lambda handed: run(self._config(handed), *args, **options),
            timeout_seconds=self._settings.migration_wait_seconds,
        )

    async def _ask_at_boot(self, question: Callable[..., Awaitable[T]], *arguments: object) -> T:
        async def attempt() -> T:
            async with asking_connection(self._url, self._settings) as connection:
                return await question(connection, *arguments)

        # Program and server may have been started at the same moment.
        timeout_seconds = self._settings.retry_timeout_seconds
        return await retry(attempt, work=Work.BEGIN, timeout_seconds=timeout_seconds)

    def _history(self) -> RevisionHistory:
        try:
            return RevisionHistory(
                read_revisions(version_directories(self._script_location, self._version_locations))
            )
        except NotPlain:
            from gal_friday.dal.migrations.alembic_configuration import (  # noqa: PLC0415 -- see _alembic_command
                revisions_by_alembic,
            )

            return RevisionHistory(revisions_by_alembic(self._config()))

    def _config(self, connection: Connection | None = None) -> "Config":
        from gal_friday.dal.migrations.alembic_configuration import (  # noqa: PLC0415 -- see _alembic_command
            alembic_config,
        )

        config = alembic_config(self._script_location, self._version_locations)
        config.attributes["connection"] = connection
        config.attributes["role_prefix"] = self._settings.role_prefix
        return config


def _alembic_command(name: str) -> Callable[..., Any]:
    from alembic import command  # noqa: PLC0415 -- importing it takes longer than a boot, which rarely needs it

    run: Callable[..., Any] = getattr(command, name)
    return run


async def _ask(connection: AsyncConnection, question: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """Put a question for an asyncpg connection to the one below *connection*."""
    driver = (await connection.get_raw_connection()).driver_connection
    with translated_driver_errors():
        return await question(driver, *arguments)


async def _upgrades(connection: Any, history: RevisionHistory, *, target: str) -> tuple[str | None, Steps]:
    current = await current_revision(connection)
    if current not in history:
        await check_served(connection, history, current)
        return current, []
    return current, [(revision, revision) for revision in history.upgrades(current, target)]


async def _downgrades(connection: Any, history: RevisionHistory, *, target: str) -> tuple[str | None, Steps]:
    current = await current_revision(connection)
    if current not in history:
        raise SchemaTooNew("only the code that has this revision can undo it", database_revision=current)
    return current, [(revision, history.before(revision)) for revision in history.downgrades(current, target)]


async def _check_up_to_date(connection: Any, history: RevisionHistory) -> None:
    current = await current_revision(connection)
    if current not in history:
        await check_served(connection, history, current)
    elif pending := history.upgrades(current, "head"):
        raise SchemaOutdated(database_revision=current, pending=pending)


def _failure(error: Exception, connection: AsyncConnection, **facts: object) -> MigrationFailed:
    if not isinstance(error, PersistenceError):
        return MigrationFailed(f"{type(error).__name__}: {error}", **facts)
    statement = textwrap.shorten(connection.info.get(FAILED_STATEMENT) or "", 200, placeholder=" …")
    return MigrationFailed(error.explanation, **{**error.facts, **facts, "statement": statement or None})


def _path(script: Any) -> Path:
    return Path(script.path)
