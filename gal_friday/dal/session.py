"""The session of a unit of work: after a failure it leaves entities as they were given to it."""

from weakref import WeakKeyDictionary

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
        """Make every entity that became part of this session new again, without what the server filled in."""
        for entity in list(_given(self)):
            if inspect(entity).key is not None:
                make_transient(entity)
                _drop_server_values(self, entity)


def _given(session: Session) -> WeakKeyDictionary[Base, frozenset[str]]:
    """The entities made new in *session*, each with the attributes it was given."""
    given: WeakKeyDictionary[Base, frozenset[str]] = session.info.setdefault("given", WeakKeyDictionary())
    return given


def _remember(session: Session, entity: Base) -> None:
    _given(session)[entity] = frozenset(entity.__dict__)


def _drop_server_values(session: Session, entity: Base) -> None:
    given = _given(session).get(entity, frozenset())
    for attribute in inspect(type(entity)).column_attrs:
        column = attribute.columns[0]
        is_servers = column.server_default is not None or column.computed is not None
        if is_servers and attribute.key not in given:
            entity.__dict__.pop(attribute.key, None)


event.listen(UnitOfWorkSession, "do_orm_execute", refuse_void_session)
event.listen(UnitOfWorkSession, "transient_to_pending", _remember)
event.listen(UnitOfWorkSession, "persistent_to_transient", _drop_server_values)  # a savepoint rolled back
install_write_notices(UnitOfWorkSession)
