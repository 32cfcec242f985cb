"""Saving a row whose reader has seen one version of it: one statement that stores it or leaves all alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    ScalarResult,
    Update,
    UpdateBase,
    bindparam,
    inspect,
    literal_column,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeDecorator

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.criteria import checked_key
from gal_friday.dal.detached import column_values
from gal_friday.dal.hot_path.rows import Rows, rows_of
from gal_friday.dal.hot_path.statements import Statement, select_by_key, statement_of
from gal_friday.dal.models import Base, PortfolioPosition, PortfolioState, PyramidingState
from gal_friday.dal.models.types import DIALECT
from gal_friday.dal.own_statements import settled
from gal_friday.dal.write_notices import TOLD_BY
from gal_friday.errors import (
    CommitUnknown,
    InvalidValue,
    PersistenceError,
    StaleWrite,
)
from gal_friday.money import ZERO

Row = TypeVar("Row", PortfolioPosition, PortfolioState, PyramidingState)

#: Filled by the server, and never from what is saved.
SERVER_COLUMNS = frozenset({"created_at", "updated_at", "row_version"})

#: Of each table, what the database makes of other rows: it can be read and given back, not changed.
LEDGER_COLUMNS: Mapping[str, tuple[str, ...]] = {PortfolioState.__tablename__: ("closed_equity",)}

#: Where there is nothing to change: the trigger raises the version.
_TOUCHED: Mapping[str, ColumnElement[Any]] = {"updated_at": literal_column("now()")}


@dataclass(frozen=True, slots=True)
class Image(Generic[Row]):
    """What *entity* held when it was given to be saved, and the version of the row its caller has seen."""

    entity: Row
    values: dict[str, Any]
    key: tuple[Any, ...]
    expected: int | None
    #: The columns to be stored.
    names: tuple[str, ...]

    @property
    def model(self) -> type[Row]:
        return type(self.entity)

    def binds(self, expected: int | None) -> dict[str, Any]:
        return {**{_bind(name): self.values[name] for name in self.names}, "expected": expected}

    def is_of(self, row: Row) -> bool:
        """Whether *row* is stored as it was to be."""
        stored = column_values(row)
        for name, column in rows_of(self.model).columns.items():
            assert isinstance(column.type, TypeDecorator)
            if (
                name in self.names
                and column.type.process_bind_param(self.values[name], DIALECT) != stored[name]
            ):
                return False
        return True

    @property
    def ledger(self) -> tuple[str, ...]:
        return LEDGER_COLUMNS.get(self.model.__tablename__, ())


def image_of(entity: Row, *, account_id: str) -> Image[Row]:
    """*entity* as it is to be saved in this account. Raises InvalidValue for what is not to be saved so."""
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
    ledger = LEDGER_COLUMNS.get(entity.__tablename__, ())
    is_of_the_ledger = expected is None and any(values.setdefault(name, ZERO) != ZERO for name in ledger)
    image = Image(entity, values, key, expected, tuple(sorted(values.keys() - SERVER_COLUMNS)))
    if is_of_the_ledger:
        raise _kept_by_the_ledger(image)
    return image


async def save_image(
    session: AsyncSession,
    image: Image[Row],
    *,
    expected: int | None,
    overwrite: bool,
    told_by: object,
) -> Row:
    """The row as stored; *expected* is the version it must have, None that there must be none.

    With *overwrite* whatever is there gives way. Raises StaleWrite.
    """
    is_new = expected is None
    statement = _in_session(image.model, image.names, image.ledger, overwrite=overwrite, is_new=is_new)
    binds = image.binds(expected)
    stored: ScalarResult[Row] = await session.scalars(
        statement,
        binds,
        execution_options={"populate_existing": True, "synchronize_session": False, TOLD_BY: told_by},
    )
    row = stored.one_or_none()
    if row is None:
        raise _refusal(image, expected, await session.get(image.model, image.key, populate_existing=True))
    return row


async def save_alone(pool: DatabaseConnectionPool, image: Image[Row]) -> Row:
    """The row as stored by a statement that is a transaction of its own. Raises as `save_image` does.

    Where its answer is lost, what is stored tells what became of it, and it is sent again if nothing did.
    Raises CommitUnknown where no server could be asked, or others have changed the row more than once.
    """
    rows: Rows[Row] = rows_of(image.model)
    expected = image.expected
    statement = _alone(image.model, image.names, image.ledger, is_new=expected is None)

    async def stored() -> Row | None:
        found = await pool.fetch(select_by_key(rows), dict(zip(rows.key, image.key, strict=True)))
        return rows.entity(found[0]) if found else None

    async def send() -> Row:
        if records := await pool.fetch(statement, image.binds(expected), intends=True):
            return rows.entity(records[0])
        raise _refusal(image, expected, await stored())

    async def again() -> Row:
        row = await stored()
        version = None if row is None else row.row_version
        if version == expected:
            return await send()
        # Every change raises the version by one: the next one is this one, or somebody else's instead of it.
        if row is not None and version == (expected or 0) + 1 and image.is_of(row):
            return row
        if row is not None and row.row_version > (expected or 0) + 1:
            raise CommitUnknown("others changed the row, too", table=rows.table.name, key=image.key)
        raise _refusal(image, expected, row)

    return await settled(pool, send, again, table=rows.table.name, key=image.key)


@cache  # to build a statement takes longer than to execute it
def _in_session(
    model: type[Base], names: tuple[str, ...], ledger: tuple[str, ...], *, overwrite: bool, is_new: bool
) -> UpdateBase:
    return _statement(model, names, ledger, overwrite=overwrite, is_new=is_new).returning(model)


@cache
def _alone(model: type[Base], names: tuple[str, ...], ledger: tuple[str, ...], *, is_new: bool) -> Statement:
    statement = _statement(model, names, ledger, overwrite=False, is_new=is_new)
    return statement_of(statement.returning(*rows_of(model).asked.values()))


def _statement(
    model: type[Base], names: tuple[str, ...], ledger: tuple[str, ...], *, overwrite: bool, is_new: bool
) -> Insert | Update:
    if is_new or overwrite:
        return _insert(model, names, overwrite=overwrite)
    return _update(model, names, ledger)


def _insert(model: type[Base], names: tuple[str, ...], *, overwrite: bool) -> Insert:
    statement = insert(model).values({name: bindparam(_bind(name)) for name in names})
    key = _key_of(model)
    if not overwrite:
        return statement.on_conflict_do_nothing(index_elements=key)
    changes = {name: statement.excluded[name] for name in names if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changes or _TOUCHED)


def _update(model: type[Base], names: tuple[str, ...], ledger: tuple[str, ...]) -> Update:
    # Not an upsert: that would bring back a row someone removed meanwhile.
    key = _key_of(model)
    changes: dict[str, ColumnElement[Any]] = {
        name: bindparam(_bind(name)) for name in names if name not in {*key, *ledger}
    }
    columns = model.__table__.c
    return (
        update(model)
        .where(*(columns[name] == bindparam(_bind(name)) for name in names if name in {*key, *ledger}))
        .where(columns.row_version == bindparam("expected"))
        .values(changes or _TOUCHED)
    )


def _refusal(image: Image[Row], expected: int | None, row: Row | None) -> PersistenceError:
    """Why *image* was not stored, *row* being what is."""
    found = None if row is None else row.row_version
    if image.ledger and row is not None and found == expected:
        return _kept_by_the_ledger(image)
    return StaleWrite(table=image.model.__tablename__, key=image.key, expected=expected, found=found)


def _key_of(model: type[Base]) -> list[str]:
    return [column.name for column in inspect(model).primary_key]


def _bind(name: str) -> str:
    return f"given_{name}"  # a bind named like a column would be SQLAlchemy's own


def _kept_by_the_ledger(image: Image[Row]) -> InvalidValue:
    return InvalidValue(
        "fills and cash flows keep it; book a cash flow",
        table=image.model.__tablename__,
        columns=image.ledger,
        key=image.key,
    )
