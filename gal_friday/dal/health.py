"""Whether a server answers, and how quickly."""

import asyncio
import time
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncEngine

from gal_friday.dal.retry_policy import Work
from gal_friday.dal.retrying import retry
from gal_friday.errors import ConnectionLost, PersistenceError

HEALTH_QUERY = text("SELECT current_setting('server_version'), pg_is_in_recovery()")


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The answer to one question put to the server, or why there was none."""

    ok: bool
    latency_seconds: float
    server_version: str | None = None
    in_recovery: bool | None = None
    error: str | None = None


async def checked_health(engine: AsyncEngine, *, timeout_seconds: float) -> HealthReport:
    """Ask the server something simple; a database that does not answer is reported, not raised."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout_seconds):
            # A second time after ConnectionLost: the server may be back and only the connection stale.
            version, in_recovery = await retry(
                lambda: _ask_for_health(engine),
                work=Work.READ,
                timeout_seconds=timeout_seconds,
                attempts=2,
            )
    except TimeoutError:
        return HealthReport(False, time.monotonic() - started, error=f"no answer in {timeout_seconds:g} s")
    except PersistenceError as error:
        return HealthReport(False, time.monotonic() - started, error=str(error))
    return HealthReport(True, time.monotonic() - started, version, in_recovery)


async def connect_first(engine: AsyncEngine) -> None:
    """The connection on which SQLAlchemy asks what kind of server this is, and is surprised if it breaks."""
    try:
        await _ask_for_health(engine)
    except (ResourceClosedError, NotImplementedError) as error:
        raise ConnectionLost("it broke while the server was being looked at") from error


async def _ask_for_health(engine: AsyncEngine) -> tuple[str, bool]:
    async with engine.connect() as connection:
        version, in_recovery = (await connection.execute(HEALTH_QUERY)).one()
    return version, in_recovery
