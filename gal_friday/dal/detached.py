"""Entities that belong to no session: copies that share nothing with the original, and saved ones."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar, cast

from sqlalchemy import inspect
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import instance_state

from gal_friday.dal.models import Base
from gal_friday.dal.models.types import Json, TextArray

M = TypeVar("M", bound=Base)

_MISSING = object()


def column_values(entity: Base) -> dict[str, Any]:
    """The values of *entity*'s columns that are set or loaded, by attribute; no later change reaches them."""
    columns, _ = _attributes(type(entity))
    return _apart(type(entity), {name: value for name, value in entity.__dict__.items() if name in columns})


def detached_entity(model: type[M], values: Mapping[str, Any]) -> M:
    """The entity of *model* with these column values, as if it had been read and its session closed."""
    columns, _ = _attributes(model)
    if values.keys() < columns:  # those that are missing are told of as not loaded
        partial = cast("M", inspect(model).class_manager.new_instance())
        partial.__dict__.update(_apart(model, dict(values)))
        make_transient_to_detached(partial)
        return partial
    entity = model.__new__(model)
    entity.__dict__ = _apart(model, dict(values))  # what SQLAlchemy keeps of it is made when it asks
    return entity


def detached_copy(entity: M) -> M:
    """*entity*'s row as an entity of its own."""
    return detached_entity(type(entity), column_values(entity))


def bring_up_to_date(entity: Base, sent: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Make *entity* what it would be if it had been read back after *sent* of it was stored as *stored*.

    What was changed on it since it was sent stays, as a change that is not stored yet.
    """
    kept, state = entity.__dict__, instance_state(entity)
    changed = {name: kept[name] for name in stored if name in kept and kept[name] != sent.get(name, _MISSING)}
    kept.update(stored)
    state._commit(kept, stored)  # noqa: SLF001 -- the public way to say so goes through each attribute
    if state.transient:
        make_transient_to_detached(entity)
    for name, value in changed.items():
        setattr(entity, name, value)


def _apart(model: type[Base], values: dict[str, Any]) -> dict[str, Any]:
    """*values* themselves, what can change in place replaced by copies."""
    _, containers = _attributes(model)
    for name in containers:
        if name in values:
            values[name] = deepcopy(values[name])
    return values


@cache
def _attributes(model: type[Base]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The attributes that are columns, and those of them whose values can change in place."""
    columns = {attribute.key: attribute.columns[0] for attribute in inspect(model).column_attrs}
    containers = (name for name, column in columns.items() if isinstance(column.type, Json | TextArray))
    return frozenset(columns), tuple(containers)
