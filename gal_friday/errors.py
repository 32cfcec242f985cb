"""Everything that can go wrong, by name.

Each error's message is the first line of its class's docstring followed by the facts it was raised with;
the facts are attributes too (`error.facts["constraint"]`). No fact is ever a secret.
"""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID


class PersistenceError(Exception):
    """State could not be stored or recovered."""

    #: What a person may run or change next; printed by the command line.
    hint: ClassVar[str] = ""

    def __init__(self, explanation: str = "", **facts: object) -> None:
        self.explanation = explanation
        self.facts = facts
        super().__init__(explanation, facts)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own way of being copied would hand the facts over as a second explanation.
        return _again, (type(self), self.explanation, self.facts)

    def __str__(self) -> str:
        summary = (type(self).__doc__ or type(self).__name__).partition("\n")[0]
        details = ", ".join(f"{name}={value!r}" for name, value in self.facts.items() if value is not None)
        message = f"{summary.rstrip('.')}: {self.explanation}" if self.explanation else summary
        return f"{message} ({details})" if details else message


def _again(kind: type[PersistenceError], explanation: str, facts: dict[str, Any]) -> PersistenceError:
    return kind(explanation, **facts)


# --- what the caller asked for -------------------------------------------------------------------------


class NotFound(PersistenceError):
    """No such row."""


class Ambiguous(PersistenceError):
    """More than one row fits; narrow the question."""


class AlreadyExists(PersistenceError):
    """A row with this key is already stored."""


class InvalidReference(PersistenceError):
    """A row refers to one that does not exist, or is still referred to."""


class ConstraintViolated(PersistenceError):
    """The database refused a row that breaks a rule of its table."""


class AppendOnlyViolated(ConstraintViolated):
    """Rows of this table are added, never changed or removed."""


class InvalidValue(PersistenceError):
    """A value cannot be stored exactly as it is."""

    #: The argument it was found in, by which its column is found; never printed, it may hold secrets besides.
    argument: object = None

    def __init__(self, explanation: str = "", **facts: object) -> None:
        super().__init__(explanation, **facts)
        self.argument = facts.get("value")


class PointsRefused(PersistenceError):
    """The time-series store refused some points; the others are stored.

    The facts are how many, and the line and the reason of the first of them.
    """

    #: Each of them, as a line of line protocol, and why it was refused.
    refused: Sequence[tuple[str, str]]

    def __init__(
        self, explanation: str = "", *, refused: Sequence[tuple[str, str]] = (), **facts: object
    ) -> None:
        super().__init__(explanation, **facts)
        self.refused = tuple(refused)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.explanation, {**self.facts, "refused": self.refused})


class MissingRate(PersistenceError):
    """An amount cannot be given in another currency without a rate."""

    hint = "give the rate: units of the currency wanted for one unit of the other"


class InvalidFilter(PersistenceError):
    """A filter, ordering or page cursor does not fit the table asked."""


class IllegalTransition(PersistenceError):
    """Orders, signals, trades and positions move forward only."""


class BooksDiffer(PersistenceError):
    """What is stored is not what fills and cash flows lead to."""

    hint = "gal-friday verify names every difference"


class TradingHalted(PersistenceError):
    """The account or the strategy is halted: nothing that adds risk may be intended."""

    hint = "gal-friday halts tells what is halted; gal-friday resume --reason …, once the cause is gone"


class RecoveryRefused(PersistenceError):
    """After this recovery nothing may be traded: what was restored does not hold together."""

    hint = "gal-friday recover --dry-run names what was found; gal-friday recover --override NAME --reason …"


class StopLoosened(PersistenceError):
    """A stop moves one way: towards the price, never away from it."""

    hint = "name who means it: loosened_by=…"


class AccountMismatch(PersistenceError):
    """Paper and live are separate accounts, each at its own exchange."""


class NotTrading(PersistenceError):
    """The engine does not trade: it was not started, it is being stopped, or recovery did not allow it."""

    hint = "gal-friday recover --dry-run shows what stands in the way"


# --- what others did meanwhile -------------------------------------------------------------------------


class StaleWrite(PersistenceError):
    """Someone else saved this row first."""

    hint = "reload the row and apply the change again, or use Database.retrying"


class TransactionConflict(PersistenceError):
    """Deadlock or serialization failure: the server ended this transaction, it can be repeated."""


class LockTimeout(PersistenceError):
    """A lock was not granted in time."""

    hint = "SELECT * FROM pg_stat_activity WHERE state <> 'idle' shows who holds what up"


class LeaseHeld(PersistenceError):
    """Another process acts for this account."""

    hint = "stop that process, or wait until its lease has expired"


class LeaseLost(PersistenceError):
    """Only the process that holds the account's lease may intend anything in it."""

    hint = "gal-friday recover --dry-run tells how the account stands; take the lease with hold_lease"


# --- the server ----------------------------------------------------------------------------------------


class DatabaseUnavailable(PersistenceError):
    """The database cannot be reached."""

    hint = "gal-friday db url shows where it is looked for"


class ConnectionLost(DatabaseUnavailable):
    """The connection to the database broke; the transaction in progress is void."""


class CommitUnknown(DatabaseUnavailable):
    """The answer to COMMIT was lost, and no server could be asked; the transaction may or may not be stored.

    Once a server answers again, `Database.was_committed(error.marker)` tells which. A statement on its own
    has no marker: look for the row by the error's `key`.
    """

    hint = "once the server is back ask Database.was_committed(error.marker) before doing it again"

    @property
    def marker(self) -> UUID | None:
        """What the transaction is known by; None where it could not be marked."""
        marker = self.facts.get("marker")
        return marker if isinstance(marker, UUID) else None


class ConnectionRejected(DatabaseUnavailable):
    """The server is there but refuses this login, database or certificate; trying again changes nothing."""


class TooManyConnections(DatabaseUnavailable):
    """The server has no connection to spare."""


class PoolTimeout(PersistenceError):
    """Every connection of the pool stayed in use for the whole acquire timeout."""

    hint = "raise GAL_FRIDAY_DATABASE__POOL_SIZE, or hold transactions for less time"


class StatementTimeout(PersistenceError):
    """A statement ran longer than the statement timeout and was cancelled."""


class DiskFull(PersistenceError):
    """The server has no disk space left; nothing of this transaction was stored."""

    hint = "make room on the server's disk; facts wait meanwhile, gal-friday journal status"


class PermissionDenied(PersistenceError):
    """The login role may not do this."""

    hint = "gal-friday db roles check names every privilege too much or too little"


class DatabaseError(PersistenceError):
    """The database refused a statement."""


class ReadOnly(DatabaseError):
    """This transaction, or the server as a whole, takes no changes."""

    hint = "connect to the primary; a standby takes changes once it has been promoted"


# --- the time-series server ----------------------------------------------------------------------------


class TimeSeriesUnavailable(PersistenceError):
    """The time-series server cannot be reached, or takes nothing now."""

    hint = "points wait on disk meanwhile: gal-friday spool status"


class TokenRefused(PersistenceError):
    """The time-series server does not know this token, or it may not do this."""

    hint = "GAL_FRIDAY_INFLUXDB__TOKEN: one that may read and write the bucket"


class BucketMissing(PersistenceError):
    """The time-series server has no such bucket, or organization."""

    hint = "TimeSeriesDB.ensure_bucket makes it; GAL_FRIDAY_INFLUXDB__BUCKET and __ORG name it"


class TimeSeriesError(PersistenceError):
    """The time-series server refused a request."""


# --- the log on disk ------------------------------------------------------------------------------------


class LogInUse(PersistenceError):
    """Another process owns this log."""

    hint = "gal-friday journal status names the process"


class LogFull(PersistenceError):
    """The log on disk may not grow any further; nothing was added to it."""

    hint = "gal-friday journal status"


class LogUnwritable(PersistenceError):
    """The log on disk could not be written, or read; what was to be added is not claimed to be in it."""

    hint = "make room or choose another place: GAL_FRIDAY_JOURNAL__DIRECTORY"


class LogCorrupted(PersistenceError):
    """The log on disk is not as it was written."""

    hint = "gal-friday journal export prints what can be read; restore the file, or move its directory away"


class NotYetStored(PersistenceError):
    """The fact is safe in the journal, and the database does not have it yet."""

    hint = "await db.journal.drain() returns once it has"


# --- the exchange --------------------------------------------------------------------------------------


class OrderInDoubt(PersistenceError):
    """The exchange was asked, and what came of it is not known here."""

    hint = "gal-friday reconcile asks the exchange for it by its client_order_id; only then send it again"


class ExchangeUnavailable(PersistenceError):
    """The exchange did not answer."""

    hint = "the same command again: nothing was stored"


class NotUnderstood(PersistenceError):
    """The exchange said something that cannot be understood."""


# --- the schema ----------------------------------------------------------------------------------------


class MigrationFailed(PersistenceError):
    """A revision could not be applied; the schema is as it was before it."""


class MigrationLockTimeout(PersistenceError):
    """Another process kept migrating for longer than this one may wait."""


class SchemaOutdated(PersistenceError):
    """The database has pending revisions."""

    hint = "gal-friday db upgrade"


class SchemaTooNew(PersistenceError):
    """The database was migrated by newer code that no longer serves this version."""

    hint = "install the version named, or a newer one"


class UpkeepInProgress(PersistenceError):
    """Another process does the upkeep of this database."""

    hint = "gal-friday upkeep status tells how the tables stand; once that process is done, run it again"


class ExtensionUnavailable(PersistenceError):
    """The server does not offer what an extension would have to bring."""

    hint = "docs/timescaledb.md tells what the server needs; without it, everything works as it does now"


# --- at the edges --------------------------------------------------------------------------------------


class ConfigurationError(PersistenceError):
    """A setting is malformed."""

    hint = "every setting, its default and its unit: .env.example"


class EmbeddedServerError(PersistenceError):
    """The embedded PostgreSQL server cannot be used."""


class UnreadableFile(PersistenceError):
    """A file is not what it was taken for."""
