"""The session of a unit of work: after a failure it leaves entities as they were given to it."""

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, make_transient

from gal_friday.dal.error_translation import refuse_void_session
from gal_friday.dal.models import Base
from gal_friday.dal.write_notices import install_write_notices


class UnitOfWorkSession(Session):
    """Where a failed flush has left nothing to go on with, says so in an error of ours.

    What was new in a transaction that failed is new again: SQLAlchemy would take it for stored, and adding it
    once more would store nothing, without a word.
    """

    def give_back_new(self) -> None:
        """Make every entity that became part of this session new again, with the values it was given with."""
        for entity in list(_given(self)):
            if inspect(entity).key is not None:
                make_transient(entity)
                _restore(self, entity)

    def let_go_of_deleted(self) -> None:
        """Detach what this session has deleted, as a commit that was answered does."""
        for entity in list(_deleted(self)):
            if inspect(entity).session is self:
                self.expunge(entity)


def _deleted(session: Session) -> WeakSet[Base]:
    deleted: WeakSet[Base] = session.info.setdefault("deleted", WeakSet())
    return deleted


def _note_deleted(session: Session, entity: Base) -> None:
    _deleted(session).add(entity)


def _given(session: Session) -> WeakKeyDictionary[Base, dict[str, Any]]:
    """The entities made new in *session*, each with the values it was given with."""
    given: WeakKeyDictionary[Base, dict[str, Any]] = session.info.setdefault("given", WeakKeyDictionary())
    return given


def remember_given(session: Session, entity: Base) -> None:
    """Keep the values of an *entity* that becomes new in *session*, for it to be given back with them."""
    names = inspect(type(entity)).column_attrs.keys()
    _given(session)[entity] = {name: entity.__dict__[name] for name in names if name in entity.__dict__}


def _restore(session: Session, entity: Base) -> None:
    given = _given(session)[entity]
    for name in inspect(type(entity)).column_attrs.keys() - given.keys():
        entity.__dict__.pop(name, None)
    entity.__dict__.update(given)


event.listen(UnitOfWorkSession, "do_orm_execute", refuse_void_session)
event.listen(UnitOfWorkSession, "transient_to_pending", remember_given)
event.listen(UnitOfWorkSession, "persistent_to_deleted", _note_deleted)
event.listen(UnitOfWorkSession, "persistent_to_transient", _restore)  # a savepoint rolled back
install_write_notices(UnitOfWorkSession)
