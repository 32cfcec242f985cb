"""Base, the naming of constraints, and the columns most tables share.

Conventions: an annotation says the column's type (`Mapped[Decimal]` is Money, `Mapped[datetime]` is UTC …);
`__init_subclass__` adds what follows from a type: the CHECK of a closed set and of a JSON kind.
"""

import sys
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnClause,
    Connection,
    FetchedValue,
    ForeignKey,
    MetaData,
    Table,
    event,
    func,
    inspect,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, Mapper, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator

from gal_friday.dal.models import enums
from gal_friday.dal.models.instance_states import StateOnDemand
from gal_friday.dal.models.types import (
    CalendarDate,
    ClosedSet,
    Cost,
    Flag,
    Identifier,
    Json,
    LongNumber,
    Money,
    PlainText,
    Ratio,
    TextArray,
    UtcDateTime,
    WholeNumber,
)
from gal_friday.errors import InvalidValue

if sys.version_info >= (3, 14):
    from uuid import uuid7 as new_id
else:
    from uuid_utils.compat import uuid7 as new_id

__all__ = [
    "Base",
    "Identified",
    "Recorded",
    "Mutable",
    "AppendOnly",
    "AccountKeyed",
    "AccountScoped",
    "DEFAULT_ACCOUNT_ID",
    "JsonAny",
    "JsonArray",
    "JsonObject",
    "LongInt",
    "Proportion",
    "ExactCost",
    "Str20",
    "Str32",
    "Str64",
    "Str100",
    "Str128",
    "new_id",
]

DEFAULT_ACCOUNT_ID = "default"

ExactCost = Annotated[Decimal, "cost"]
Proportion = Annotated[Decimal, "ratio"]
LongInt = Annotated[int, 64]
Str20 = Annotated[str, 20]
Str32 = Annotated[str, 32]
Str64 = Annotated[str, 64]
Str100 = Annotated[str, 100]
Str128 = Annotated[str, 128]
JsonObject = Annotated[dict[str, Any], "object"]
JsonArray = Annotated[list[Any], "array"]
JsonAny = Annotated[Any, "any"]

CLOSED_SETS: tuple[type[StrEnum], ...] = tuple(
    value
    for value in vars(enums).values()
    if isinstance(value, type) and issubclass(value, StrEnum) and value is not StrEnum
)


class Base(DeclarativeBase):
    """What every table shares; its metadata is what migrations are compared with."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 -- SQLAlchemy's declared form
        Decimal: Money(),
        ExactCost: Cost(),
        Proportion: Ratio(),
        datetime: UtcDateTime(),
        date: CalendarDate(),
        str: PlainText(),
        Str20: PlainText(20),
        Str32: PlainText(32),
        Str64: PlainText(64),
        Str100: PlainText(100),
        Str128: PlainText(128),
        bool: Flag(),
        int: WholeNumber(),
        LongInt: LongNumber(),
        UUID: Identifier(),
        list[str]: TextArray(),
        JsonObject: Json("object"),
        JsonArray: Json("array"),
        JsonAny: Json("any"),
        **{closed_set: ClosedSet(closed_set) for closed_set in CLOSED_SETS},
    }

    _sa_instance_state = StateOnDemand()

    def __init__(self, **values: Any) -> None:
        """An entity that is not stored yet. Raises TypeError for names that are none of its attributes."""
        if values.keys() <= _columns_of(type(self)):
            self.__dict__.update(values)  # nothing has to be known of what a new entity was before
        else:
            self.registry.constructor(self, **values)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(table := cls.__dict__.get("__table__"), Table):
            _declare_checks_of_types(table)
            table.info["append_only"] = issubclass(cls, AppendOnly)

    def __repr__(self) -> str:
        # Keys only: rows may hold what a log must not.
        key = ", ".join(
            f"{column.name}={self.__dict__.get(column.name)!r}" for column in self.__mapper__.primary_key
        )
        return f"<{type(self).__name__} {key}>"


@cache
def _columns_of(model: type[Base]) -> frozenset[str]:
    """The attributes that are columns, and nobody wants to be told of when they are set."""
    columns = inspect(model).column_attrs
    return frozenset(column.key for column in columns if not getattr(model, column.key).dispatch.set)


class Recorded:
    """A row that knows when it was stored."""

    created_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), sort_order=90, comment="When the row was stored, by the server's clock"
    )


class Identified(Recorded):
    """A row with an id of its own: UUIDv7, made here, known before the row is stored."""

    id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-90, comment="UUIDv7 made by the client")

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id())
        super().__init__(**values)


class Mutable:
    """A row that may change: the loser of a race to change it gets StaleWrite.

    Both columns are raised by a trigger, so that raw SQL counts too; the ORM reads them back.
    """

    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(),
        server_onupdate=FetchedValue(),
        sort_order=91,
        comment="When the row last changed, by the server's clock",
    )
    row_version: Mapped[int] = mapped_column(
        server_default=text("1"),
        server_onupdate=FetchedValue(),
        sort_order=92,
        comment="Raised by every change; a writer names the version it read",
    )

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 -- a class-level directive
        return {"version_id_col": cls.row_version, "version_id_generator": False, "eager_defaults": True}


class AppendOnly:
    """A row that is its own record: a trigger refuses whatever would change or remove it."""


def _account(*, primary_key: bool = False) -> MappedColumn[str]:
    return mapped_column(
        ForeignKey("accounts.account_id", ondelete="RESTRICT"),
        primary_key=primary_key,
        default=DEFAULT_ACCOUNT_ID,
        sort_order=-80,
        comment="Account the row belongs to",
    )


class AccountScoped:
    """A row that belongs to one account, so that two bots in one database never see each other's."""

    account_id: Mapped[Str64] = _account()


class AccountKeyed(AccountScoped):
    """A row that is one account's by its key."""

    account_id: Mapped[Str64] = _account(primary_key=True)


@event.listens_for(Base, "before_insert", propagate=True)
def _check_key(mapper: Mapper[Any], connection: Connection, entity: Base) -> None:
    """Refuse a key its column cannot keep: the identity map would choke on it before the column sees it."""
    for column in mapper.primary_key:
        attribute = mapper.get_property_by_column(column).key
        value = entity.__dict__.get(attribute)
        place = {"table": entity.__tablename__, "column": column.name}
        if value is None:
            if column.default is None and column.server_default is None and column.identity is None:
                raise InvalidValue("a key is never empty", **place)
            continue
        assert isinstance(column.type, TypeDecorator)
        try:
            column.type.process_bind_param(value, connection.dialect)
        except InvalidValue as error:
            raise InvalidValue(error.explanation, **{**error.facts, **place}) from None


def _declare_checks_of_types(table: Table) -> None:
    for declared in table.columns:
        # By name only: every copy of an expression over the column itself would join the table's constraints.
        value = ColumnClause[Any](declared.name, declared.type)
        if isinstance(declared.type, ClosedSet):
            table.append_constraint(CheckConstraint(value.in_(list(declared.type.enum)), name=declared.name))
        elif isinstance(declared.type, Json) and declared.type.kind != "any":
            kind = declared.type.kind
            table.append_constraint(
                CheckConstraint(func.jsonb_typeof(value) == kind, name=f"{declared.name}_is_{kind}")
            )
