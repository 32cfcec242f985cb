"""One run of all the upkeep there is, by one process at a time."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import URL

from gal_friday.config import DatabaseSettings, Settings, UpkeepSettings
from gal_friday.database import Database
from gal_friday.upkeep.catalog import Partition, look_at
from gal_friday.upkeep.connecting import as_owner, be_alone
from gal_friday.upkeep.hypertables import to_compress
from gal_friday.upkeep.moving import rows_waiting
from gal_friday.upkeep.partitions import missing_partitions
from gal_friday.upkeep.policies import Policy, policies
from gal_friday.upkeep.retention import past_retention
from gal_friday.upkeep.run import Run, UpkeepReport
from gal_friday.upkeep.steps import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class TableStatus:
    """How a partitioned table stands."""

    table: str
    policy: Policy
    partitions: tuple[Partition, ...]
    rows_in_default: int
    #: Partitions to be made, and those whose time is over.
    missing: tuple[str, ...]
    past_retention: tuple[str, ...]
    #: Whether TimescaleDB has taken it over: its partitions are chunks, and some are to be compressed.
    is_hypertable: bool
    to_compress: tuple[str, ...]


class Upkeep:
    """The upkeep of the database at *url*, for a login that owns its tables or is a member of who does.

    *url* must not lead through PgBouncer. Every method may raise DatabaseUnavailable, PermissionDenied,
    SchemaOutdated where the tables are not there, and ConfigurationError.
    """

    def __init__(self, url: URL, database: DatabaseSettings, settings: UpkeepSettings) -> None:
        self._url = url
        self._database = database
        self._settings = settings
        self._policies = policies(settings)

    async def run(
        self,
        *,
        now: datetime | None = None,
        dry_run: bool = False,
        keep_detached: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> UpkeepReport:
        """Make partitions, move what waits in the defaults, down-sample, and let go what is past retention.

        Each step is a transaction that is begun again, for up to *patience_seconds*, while others hold its
        locks; what it does not get by then is in `left`. A run broken off is taken up by the next one.
        Raises UpkeepInProgress while another process does it.
        """
        now = now or datetime.now(UTC)
        async with as_owner(self._url, self._database) as connection:
            await be_alone(connection)
            run = Run(connection, self._settings, now, keep_detached, patience_seconds)
            for name, policy in self._policies.items():
                await (run.plan if dry_run else run.do)(name, policy)
            if not dry_run:
                await run.finish()
            return run.report

    async def status(self, *, now: datetime | None = None) -> list[TableStatus]:
        """How each partitioned table stands; counts the rows of the default partitions."""
        now = now or datetime.now(UTC)
        async with as_owner(self._url, self._database) as connection:
            return [
                TableStatus(
                    name,
                    policy,
                    table.partitions,
                    await rows_waiting(connection, table),
                    tuple(each.name for each in await missing_partitions(connection, table, policy, now=now)),
                    tuple(each.name for each in past_retention(table, policy, now=now)),
                    table.is_hypertable,
                    tuple(each.name for each in to_compress(table, now=now)),
                )
                for name, policy in self._policies.items()
                if (table := await look_at(connection, name)) is not None
            ]


async def run_upkeep(
    database: Database,
    settings: Settings | None = None,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    keep_detached: bool = False,
) -> UpkeepReport:
    """`Upkeep.run` for an open *database*: by `database.migration_url` of *settings*, else as it is open."""
    settings = settings or Settings.load()
    url = settings.database.sqlalchemy_migration_url() or database.pool.engine.url
    upkeep = Upkeep(url, settings.database, settings.upkeep)
    return await upkeep.run(now=now, dry_run=dry_run, keep_detached=keep_detached)
