"""What SQLAlchemy keeps of each entity, made for those read beside it when it first asks."""

from functools import cache
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.orm.base import DEFAULT_STATE_ATTR


class StateOnDemand:
    """The state of an entity that has values but none yet: that of one loaded by a session since closed.

    Most entities that are read are only looked at. Their states would take longer to make, and the collector
    longer to go through, than the entities.
    """

    def __get__(self, entity: object, owner: Any) -> Any:
        values = None if entity is None else entity.__dict__
        if not values:  # SQLAlchemy asks a class, or an entity it is constructing, whether there is one
            raise AttributeError(DEFAULT_STATE_ATTR)
        mapper, key = _identity_of(owner)
        state: InstanceState[Any] = InstanceState(entity, mapper.class_manager)
        state.key = (mapper.class_, tuple([values[name] for name in key]), None)
        values[DEFAULT_STATE_ATTR] = state
        return state


@cache
def _identity_of(model: Any) -> tuple[Mapper[Any], tuple[str, ...]]:
    mapper: Mapper[Any] = inspect(model)
    return mapper, tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
