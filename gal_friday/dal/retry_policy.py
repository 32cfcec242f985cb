"""What is tried again after which error: one table for every kind of work."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from gal_friday import errors
from gal_friday.errors import PersistenceError


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait between two tries: a random time, up to *first* seconds and later up to *longest*."""

    first: float = 0.05
    longest: float = 1.0


class Work(Enum):
    """A kind of work, and what makes it fit to be tried again."""

    BEGIN = "opening a connection or a transaction, in which nothing has been done yet"
    READ = "a question, asked anew in a transaction of its own"
    STATEMENT = "a statement that has its own key, so that a repetition changes nothing"
    SAVE = "a transaction that names the version it changes, which its caller has read"
    UNIT_OF_WORK = "a transaction that reads what it changes, done from the start"
    SETTLEMENT = "asking what became of a commit that was not answered"
    MIGRATION = "a step of a migration, undone as a whole while others hold the locks it needs"
    UPKEEP = "a step of upkeep, undone as a whole while others hold the locks it needs or wait for its own"

    @property
    def pace(self) -> Pace:
        """The waits between its tries; other transactions need time between two steps of a migration."""
        return Pace(first=1.0, longest=5.0) if self is Work.MIGRATION else Pace()


_NEVER: frozenset[Work] = frozenset()
_LOST = frozenset({Work.READ, Work.STATEMENT, Work.SAVE, Work.UNIT_OF_WORK})
_AWAY = frozenset({Work.BEGIN, Work.STATEMENT, Work.SETTLEMENT})

#: For each error the kinds of work that are tried again after it.
RETRIED: Mapping[type[PersistenceError], frozenset[Work]] = MappingProxyType(
    {
        # What the caller asked for: the answer would be the same.
        PersistenceError: _NEVER,
        errors.NotFound: _NEVER,
        errors.Ambiguous: _NEVER,
        errors.AlreadyExists: _NEVER,
        errors.InvalidReference: _NEVER,
        errors.ConstraintViolated: _NEVER,
        errors.AppendOnlyViolated: _NEVER,
        errors.InvalidValue: _NEVER,
        errors.PointsRefused: _NEVER,
        errors.MissingRate: _NEVER,
        errors.InvalidFilter: _NEVER,
        errors.IllegalTransition: _NEVER,
        errors.BooksDiffer: _NEVER,
        errors.TradingHalted: _NEVER,
        errors.RecoveryRefused: _NEVER,
        errors.NotTrading: _NEVER,
        errors.AccountMismatch: _NEVER,
        errors.StopLoosened: _NEVER,
        # What others did meanwhile: the next try starts from there.
        errors.StaleWrite: frozenset({Work.UNIT_OF_WORK}),
        errors.TransactionConflict: _LOST | {Work.SETTLEMENT, Work.MIGRATION, Work.UPKEEP},
        errors.LockTimeout: frozenset({Work.SETTLEMENT, Work.MIGRATION, Work.UPKEEP}),
        errors.LeaseHeld: _NEVER,
        errors.LeaseLost: _NEVER,
        # The server. What waited its time out is reported: waiting again would hide what holds it up.
        errors.DatabaseUnavailable: _AWAY,
        errors.ConnectionLost: _AWAY | _LOST,
        errors.CommitUnknown: _NEVER,
        errors.ConnectionRejected: _NEVER,
        errors.TooManyConnections: _AWAY,
        errors.PoolTimeout: frozenset({Work.SETTLEMENT}),
        errors.StatementTimeout: frozenset({Work.SETTLEMENT}),
        errors.DiskFull: frozenset({Work.SETTLEMENT}),
        errors.PermissionDenied: _NEVER,
        errors.ReadOnly: frozenset({Work.SETTLEMENT}),
        errors.DatabaseError: _NEVER,
        # The time-series server: what it stores is known by its key, so that a repetition changes nothing.
        errors.TimeSeriesUnavailable: frozenset({Work.READ, Work.STATEMENT}),
        errors.TokenRefused: _NEVER,
        errors.BucketMissing: _NEVER,
        errors.TimeSeriesError: _NEVER,
        # The log on disk, the exchange, the schema and the edges.
        errors.LogInUse: _NEVER,
        errors.LogFull: _NEVER,
        errors.LogUnwritable: _NEVER,
        errors.LogCorrupted: _NEVER,
        errors.NotYetStored: _NEVER,
        errors.OrderInDoubt: _NEVER,
        errors.ExchangeUnavailable: _NEVER,
        errors.NotUnderstood: _NEVER,
        errors.MigrationFailed: _NEVER,
        errors.MigrationLockTimeout: _NEVER,
        errors.SchemaOutdated: _NEVER,
        errors.SchemaTooNew: _NEVER,
        errors.UpkeepInProgress: _NEVER,
        errors.ExtensionUnavailable: _NEVER,
        errors.ConfigurationError: _NEVER,
        errors.EmbeddedServerError: _NEVER,
        errors.UnreadableFile: _NEVER,
    }
)


def is_retried(error: BaseException, work: Work) -> bool:
    """Whether *work* is tried again after *error*; an error of somebody else's making never is.

    A class that is not in the table counts as the one it derives from.
    """
    return isinstance(error, PersistenceError) and work in next(
        RETRIED[kind] for kind in type(error).__mro__ if kind in RETRIED
    )
