"""Saving a row whose reader has seen one version of it: one statement that stores it or leaves all alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, inspect, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import Update

from gal_friday.dal.criteria import checked_key
from gal_friday.dal.detached import column_values
from gal_friday.dal.models import PortfolioPosition, PortfolioState, PyramidingState
from gal_friday.dal.write_notices import TOLD_BY
from gal_friday.errors import CommitUnknown, InvalidValue, StaleWrite

Row = TypeVar("Row", PortfolioPosition, PortfolioState, PyramidingState)

#: Filled by the server, and never from what is saved.
SERVER_COLUMNS = frozenset({"created_at", "updated_at", "row_version"})


@dataclass(frozen=True, slots=True)
class Image(Generic[Row]):
    """What *entity* held when it was given to be saved, and the version of the row its caller has seen.

    *ledger* names columns that follow from other tables: they can be read and given back, not changed.
    """

    entity: Row
    values: dict[str, Any]
    key: tuple[Any, ...]
    expected: int | None
    ledger: Sequence[str] = ()

    @property
    def model(self) -> type[Row]:
        return type(self.entity)


def image_of(entity: Row, *, account_id: str, ledger: Sequence[str] = ()) -> Image[Row]:
    """*entity* as it is to be saved in this account. Raises InvalidValue for one of another account."""
    state = inspect(entity)
    values = {"account_id": account_id, **column_values(entity)}
    if state.session is not None:
        raise InvalidValue("it belongs to another unit of work", entity=repr(entity))
    if values["account_id"] != account_id:
        raise InvalidValue("a row of another account", account_id=account_id, entity=repr(entity))
    for relationship in state.mapper.relationships:
        if state.attrs[relationship.key].history.has_changes():
            raise InvalidValue(
                "give the key, not the entity it leads to", entity=repr(entity), attribute=relationship.key
            )
    key = tuple(values.get(column.name) for column in state.mapper.primary_key)
    checked_key(type(entity), key)
    expected = values.get("row_version")
    return Image(entity, values, key, expected, ledger)


async def save_image(
    session: AsyncSession,
    image: Image[Row],
    *,
    expected: int | None,
    overwrite: bool,
    unknown: CommitUnknown | None,
    told_by: object,
) -> Row:
    """The row as stored; *expected* is the version it must have, None that there must be none.

    With *overwrite* whatever is there gives way. Where *unknown* is the lost answer to an earlier try, a row
    that is as that try would have left it is taken for stored. Raises StaleWrite, or *unknown* where the row
    has been changed since and nobody can tell.
    """
    if overwrite:
        statement: Insert | Update = _overwrite(image)
    else:
        statement = _insert(image) if expected is None else _update(image, expected)
    stored = await session.scalars(
        statement.returning(image.model),
        execution_options={"populate_existing": True, "synchronize_session": False, TOLD_BY: told_by},
    )
    return stored.one_or_none() or await _settle(session, image, expected, unknown)


def _insert(image: Image[Row]) -> Insert:
    model, values = image.model, _sent(image)
    for name in image.ledger:
        if values.setdefault(name, 0) != 0:
            raise _kept_by_the_ledger(image, name)
    return insert(model).values(values).on_conflict_do_nothing(index_elements=inspect(model).primary_key)


def _update(image: Image[Row], expected: int) -> Update:
    # An upsert would bring back a row that someone removed meanwhile.
    model = image.model
    kept = {*_key_names(image), *image.ledger}
    changes = {name: value for name, value in _sent(image).items() if name not in kept}
    if not changes:
        raise InvalidValue("there is nothing to save in it", entity=repr(image.entity))
    return (
        update(model)
        .where(_is_row(image), model.row_version == expected, *_as_given(image, image.ledger))
        .values(changes)
    )


def _overwrite(image: Image[Row]) -> Insert:
    model, values = image.model, _sent(image)
    statement = insert(model).values(values)
    changes = {name: statement.excluded[name] for name in values if name not in _key_names(image)}
    return statement.on_conflict_do_update(index_elements=inspect(model).primary_key, set_=changes)


async def _settle(
    session: AsyncSession, image: Image[Row], expected: int | None, unknown: CommitUnknown | None
) -> Row:
    model = image.model
    row = await session.get(model, image.key, populate_existing=True)
    found = None if row is None else row.row_version
    if image.ledger and row is not None and found == expected:
        raise _kept_by_the_ledger(image, *image.ledger)
    if unknown is not None and row is not None:
        next_version = (expected or 0) + 1
        as_sent = select(model.row_version).where(_is_row(image), *_as_given(image, _sent(image)))
        if found == next_version and await session.scalar(as_sent) == next_version:
            return row
        if row.row_version > next_version:
            raise unknown
    raise StaleWrite(table=model.__tablename__, key=image.key, expected=expected, found=found)


def _sent(image: Image[Row]) -> dict[str, Any]:
    return {name: value for name, value in image.values.items() if name not in SERVER_COLUMNS}


def _key_names(image: Image[Row]) -> set[str]:
    return {column.name for column in inspect(image.model).primary_key}


def _is_row(image: Image[Row]) -> ColumnElement[bool]:
    columns = inspect(image.model).primary_key
    return and_(*(column == value for column, value in zip(columns, image.key, strict=True)))


def _as_given(image: Image[Row], names: Iterable[str]) -> Iterator[ColumnElement[bool]]:
    for name in names:
        if name in image.values:
            yield getattr(image.model, name).is_not_distinct_from(image.values[name])


def _kept_by_the_ledger(image: Image[Row], *names: str) -> InvalidValue:
    return InvalidValue(
        "fills and cash flows keep it; book a cash flow",
        table=image.model.__tablename__,
        columns=names,
        key=image.key,
    )
