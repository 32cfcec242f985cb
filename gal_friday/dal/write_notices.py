"""Which tables a transaction wrote to, for those who keep copies of their rows.

Noticed are flushed entities, INSERT, UPDATE and DELETE as SQLAlchemy statements, and text that is no SELECT;
not what goes to the connection directly or is done by a function of the server.
"""

from typing import Any, Protocol

from sqlalchemy import Delete, Insert, TextClause, Update, event, inspect
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, UOWTransaction

EVERY_TABLE = "*"

#: Execution option of a statement whose sender tells its own copies; the others are told as ever.
TOLD_BY = "gal_friday_told_by"

_WRITTEN = "gal_friday.written"
_UNDONE = "gal_friday.undone"


class Watcher(Protocol):
    """Who keeps copies of rows."""

    async def rows_written(self, tables: frozenset[str]) -> None:
        """A transaction that wrote to *tables*, or to EVERY_TABLE, has ended, perhaps with a commit."""
        ...


def install_write_notices(session_class: type[Session]) -> None:
    """Make sessions of this class notice what is written through them. Call once per class."""
    event.listen(session_class, "after_flush", _note_flush)
    event.listen(session_class, "do_orm_execute", _note_statement)
    event.listen(session_class, "after_soft_rollback", _note_undone)


def note_write(session: Session, table: str, *, told_by: object = None) -> None:
    """Say of *session* that its transaction writes to *table*, or to EVERY_TABLE."""
    session.info.setdefault(_WRITTEN, set()).add((table, told_by))


def tables_written(session: Session, *, watcher: object) -> frozenset[str]:
    """What was written through *session* that *watcher* has not told itself."""
    written: set[tuple[str, object]] = session.info.get(_WRITTEN, set())
    return frozenset(table for table, told_by in written if told_by is not watcher)


def was_undone(session: Session, within: SessionTransaction | None) -> bool:
    """Whether the savepoint *within*, or one around it, was rolled back."""
    undone: set[SessionTransaction] = session.info.get(_UNDONE, set())
    while within is not None:
        if within in undone:
            return True
        within = within.parent
    return False


def _note_flush(session: Session, _context: UOWTransaction) -> None:
    for entities in (session.new, session.dirty, session.deleted):
        for entity in entities:
            note_write(session, inspect(type(entity)).local_table.name)


def _note_statement(state: ORMExecuteState) -> None:
    statement: Any = state.statement
    if isinstance(statement, Insert | Update | Delete):
        table = getattr(statement.table, "name", EVERY_TABLE)
        note_write(state.session, table, told_by=state.execution_options.get(TOLD_BY))
    elif isinstance(statement, TextClause) and statement.text.lstrip()[:6].upper() != "SELECT":
        note_write(state.session, EVERY_TABLE)


def _note_undone(session: Session, transaction: SessionTransaction) -> None:
    session.info.setdefault(_UNDONE, set()).add(transaction)
