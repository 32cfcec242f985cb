"""From SQLSTATE to the errors of gal_friday.errors, once per engine.

The errors of SQLAlchemy and asyncpg stay reachable as `__cause__`, without the rows and values they quote.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
from sqlalchemy import Connection, Dialect, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import EmulatedDBAPIException, PendingRollbackError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.orm.exc import FlushError, StaleDataError
from sqlalchemy.pool import ConnectionPoolEntry

from gal_friday.dal.error_facts import (
    NOTHING_SENT,
    WITHHELD_TABLES,
    Sent,
    facts_of_argument,
    facts_of_server_error,
    sent_by_sqlalchemy,
)
from gal_friday.errors import (
    AlreadyExists,
    AppendOnlyViolated,
    ConfigurationError,
    ConnectionLost,
    ConnectionRejected,
    ConstraintViolated,
    DatabaseError,
    DatabaseUnavailable,
    DiskFull,
    IllegalTransition,
    InvalidReference,
    InvalidValue,
    LeaseLost,
    LockTimeout,
    PermissionDenied,
    PersistenceError,
    ReadOnly,
    StaleWrite,
    StatementTimeout,
    TooManyConnections,
    TradingHalted,
    TransactionConflict,
)

#: Whole codes first, then classes (the first two characters).
ERRORS_BY_SQLSTATE: dict[str, type[PersistenceError]] = {
    "23001": InvalidReference,
    "23503": InvalidReference,
    "23505": AlreadyExists,
    "25006": ReadOnly,
    "25P03": ConnectionLost,  # idle in transaction for too long
    "40001": TransactionConflict,
    "40P01": TransactionConflict,
    "42501": PermissionDenied,
    "53100": DiskFull,
    "53300": TooManyConnections,
    "55P03": LockTimeout,
    "57014": StatementTimeout,
    "57P01": ConnectionLost,
    "57P02": ConnectionLost,
    "57P03": ConnectionLost,
    "57P05": ConnectionLost,  # idle for too long
    "TR001": IllegalTransition,  # raised by guard_order
    "TR002": AppendOnlyViolated,  # raised by refuse_change
    "TR003": ConstraintViolated,  # raised by refuse_truncate
    "TR004": LeaseLost,  # raised by require_lease
    "TR005": TradingHalted,  # raised by require_no_halt
    "08": ConnectionLost,
    "22": InvalidValue,
    "23": ConstraintViolated,
}

# At the door of the server the same conditions mean something else.
_CONNECT_ERRORS: dict[str, type[DatabaseUnavailable]] = {
    "3D000": ConnectionRejected,
    "42501": ConnectionRejected,
    "53300": TooManyConnections,
    "28": ConnectionRejected,
}

#: What asyncpg raises, beside OSError and TimeoutError.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

#: Where a connection's `info` says that its transaction can no longer be committed.
_VOID = "gal_friday.void"
_VOID_EXPLANATION = "an earlier error voided this transaction; start a new one, or use a savepoint"

_STALE = re.compile(r"on table '(?P<table>\w+)' expected to \w+ (?P<expected>\d+) row\(s\); (?P<matched>\d+)")


def install_error_translation(engine: AsyncEngine) -> None:
    """Make every error of *engine*, connecting included, one of gal_friday.errors. Call once per engine."""
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "handle_error", _on_error)
    for undone in ("begin", "rollback", "rollback_savepoint"):
        event.listen(engine.sync_engine, undone, _forget_void)


def refuse_void_session(state: ORMExecuteState) -> None:
    """For SQLAlchemy's "do_orm_execute": a session whose flush failed says so in an error of ours."""
    if not state.session.is_active:
        raise DatabaseError(_VOID_EXPLANATION)


def refuse_void_transaction(connection: AsyncConnection) -> None:
    """Raise DatabaseError where the server has aborted the transaction: to be called before COMMIT.

    PostgreSQL answers COMMIT of an aborted transaction with ROLLBACK, and asyncpg lets that pass.
    """
    if connection.sync_connection is not None and connection.sync_connection.info.get(_VOID):
        raise DatabaseError(_VOID_EXPLANATION)


@contextmanager
def translate_driver_errors(
    sent: Sent, connection: Any, info: dict[str, Any] | None = None
) -> Iterator[None]:
    """Turn what asyncpg raises for what is *sent* over *connection* into errors of gal_friday.errors.

    *info* is that of SQLAlchemy's connection whose transaction it is part of.
    """
    try:
        yield
    except PersistenceError:
        raise
    except Exception as error:
        failure = translated_driver_error(error, sent, connection=connection, info=info)
        if failure is None:
            raise
        raise failure from error


@contextmanager
def voiding(info: dict[str, Any]) -> Iterator[None]:
    """A write in the transaction of the connection whose *info* is given: void where the write fails."""
    try:
        yield
    except BaseException:
        info[_VOID] = True
        raise


def refuse_void(session: Session, info: Mapping[str, Any]) -> None:
    """Raise DatabaseError where the transaction of *session*, its connection's *info* given, is void."""
    if info.get(_VOID) or not session.is_active:
        raise DatabaseError(_VOID_EXPLANATION)


def translated_server_error(error: asyncpg.PostgresError, sent: Sent = NOTHING_SENT) -> PersistenceError:
    """What an error of the server means; for statements executed on asyncpg directly."""
    facts = facts_of_server_error(error, sent)
    if facts["table"] in WITHHELD_TABLES:
        _withhold(error)
        return _error_class(error)("values of this table are not repeated", **facts)
    if error.sqlstate in {"23502", "23514"}:
        error.detail = None  # the whole failing row, printed with every traceback
    return _error_class(error)(str(error.args[0]), **facts)


def translated_driver_error(
    error: Exception, sent: Sent, *, connection: Any, info: dict[str, Any] | None
) -> PersistenceError | None:
    """What it means that asyncpg raised *error* for what was *sent*; None where it is no matter of its.

    *info* is that of SQLAlchemy's connection whose transaction the statement was part of.
    """
    if isinstance(error, asyncpg.PostgresError) and info is not None and not connection.is_closed():
        info[_VOID] = True
    if isinstance(error, TimeoutError):
        return ConnectionLost("no answer from the server in time")
    if isinstance(error, OSError) or (isinstance(error, DRIVER_ERRORS) and connection.is_closed()):
        return ConnectionLost(str(error), sqlstate=getattr(error, "sqlstate", None))
    return _statement_failure(error, sent)


def connection_failure(error: Exception, **target: object) -> PersistenceError:
    """What it means that no connection could be opened to *target* (host, port, database, user)."""
    if isinstance(error, asyncpg.PostgresError):
        code = error.sqlstate or ""
        kind = _CONNECT_ERRORS.get(code) or _CONNECT_ERRORS.get(code[:2], DatabaseUnavailable)
        return kind(str(error.args[0]), **target, sqlstate=code or None)
    if isinstance(error, asyncpg.ClientConfigurationError):
        return ConfigurationError(str(error.args[0]), **target)
    if isinstance(error, TimeoutError):
        return DatabaseUnavailable("no answer within the connect timeout", **target)
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectionRejected(error.verify_message, **target)
    return DatabaseUnavailable(str(error), **target)


@contextmanager
def translate_orm_errors() -> Iterator[None]:
    """Turn what the ORM itself raises while flushing into errors of gal_friday.errors."""
    try:
        yield
    except (StaleDataError, FlushError, PendingRollbackError) as error:
        raise translated_orm_error(error) from error


def translated_orm_error(error: StaleDataError | FlushError | PendingRollbackError) -> PersistenceError:
    """StaleWrite, with the table, for StaleDataError; the nearest there is for the others."""
    if isinstance(error, PendingRollbackError):
        return DatabaseError(_VOID_EXPLANATION)
    match = _STALE.search(str(error))
    if match:
        return StaleWrite(
            table=match["table"], rows_expected=int(match["expected"]), rows_found=int(match["matched"])
        )
    return StaleWrite(str(error)) if isinstance(error, StaleDataError) else InvalidValue(str(error))


def _connect(
    dialect: Dialect, _record: ConnectionPoolEntry, arguments: Any, parameters: dict[str, Any]
) -> DBAPIConnection:
    target = {name: parameters.get(name) for name in ("host", "port", "database", "user")}
    try:
        return dialect.connect(*arguments, **parameters)
    except EmulatedDBAPIException as error:
        raise connection_failure(error.driver_exception, **target) from error
    except OSError as error:  # TimeoutError is one
        raise connection_failure(error, **target) from error


def _forget_void(connection: Connection, *_: object) -> None:
    if not connection.invalidated:
        connection.info.pop(_VOID, None)


def _on_error(context: ExceptionContext) -> PersistenceError | None:
    error = context.original_exception
    if isinstance(error, EmulatedDBAPIException):
        error = error.driver_exception
    if isinstance(error, asyncpg.PostgresError) and context.connection and not context.connection.invalidated:
        context.connection.info[_VOID] = True
    if context.is_pre_ping or not isinstance(error, Exception) or isinstance(error, SQLAlchemyError):
        return None  # the pool's own business, a cancellation, a mistake in using SQLAlchemy
    if context.connection is None:
        return connection_failure(error)
    failure = _connection_loss(error, context) or _statement_failure(error, sent_by_sqlalchemy(context))
    if failure is not None and failure.facts.get("table") in WITHHELD_TABLES:
        _withhold(context.original_exception)
    return failure


def _connection_loss(error: Exception, context: ExceptionContext) -> PersistenceError | None:
    """ConnectionLost when nothing more will come over this connection, which the pool then drops."""
    if isinstance(error, TimeoutError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # the others may be fine
        return ConnectionLost("no answer from the server in time")
    if isinstance(error, OSError) or context.is_disconnect:
        context.is_disconnect = True
        return ConnectionLost(str(error), sqlstate=getattr(error, "sqlstate", None))
    return None


def _statement_failure(error: Exception, sent: Sent) -> PersistenceError | None:
    if isinstance(error, InvalidValue):
        return located(error, sent)
    if _is_argument_refused_by_driver(error):
        facts = facts_of_argument(sent, message=str(error))
        if facts["table"] in WITHHELD_TABLES:
            _withhold(error)
        return InvalidValue(str(error), **facts)
    if isinstance(error, asyncpg.PostgresError):
        return translated_server_error(error, sent)
    if isinstance(error, DRIVER_ERRORS):
        return DatabaseError(str(error))
    return None


def _is_argument_refused_by_driver(error: Exception) -> bool:
    if isinstance(error, asyncpg.DataError):
        return error.severity is None  # the server's errors of this class have one
    return isinstance(error, UnicodeError | OverflowError)


def located(error: InvalidValue, sent: Sent) -> InvalidValue:
    """The refusal of a column type, with the column it was raised for."""
    facts = facts_of_argument(sent, value=error.argument)
    if facts["table"] in WITHHELD_TABLES:
        error.facts.pop("value", None)
    return InvalidValue(error.explanation, **{**facts, **error.facts})


def _error_class(error: asyncpg.PostgresError) -> type[PersistenceError]:
    code = error.sqlstate or ""
    return ERRORS_BY_SQLSTATE.get(code) or ERRORS_BY_SQLSTATE.get(code[:2], DatabaseError)


def _withhold(error: BaseException | None) -> None:
    """Remove the text of an error that quotes values, and of those it was raised from."""
    while error is not None:
        error.args = ("withheld",)
        if isinstance(error, asyncpg.PostgresError):
            error.detail = None
        error = error.__cause__ or error.__context__
