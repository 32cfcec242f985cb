"""Whether the audit record tells of every row what the row says itself."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, Table, Text, and_, cast, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by, array

from gal_friday.dal.models import (
    AuditEntry,
    Base,
    Order,
    PortfolioPosition,
    PortfolioState,
    Position,
    PyramidingState,
    Signal,
    StrategyState,
    Trade,
)
from gal_friday.dal.models.auditing import NOISE, NOT_RECORDED
from gal_friday.dal.unit_of_work import UnitOfWork

AUDITED: tuple[type[Base], ...] = (
    *(Signal, Order, Position, Trade, PortfolioState, PortfolioPosition, PyramidingState, StrategyState),
)


async def audit_differences(uow: UnitOfWork, accounts: Iterable[str]) -> list[str]:
    """Rows of *accounts* that are not what their entries, laid over each other, come to."""
    names = list(accounts)
    return [
        f"audit_log of {model.__tablename__} {key}: {inserts} INSERT, {folded}; the row itself: {image}"
        for model in AUDITED
        for key, inserts, folded, image in await uow.session.execute(_unequal(_table(model), names))
    ]


def _table(model: type[Base]) -> Table:
    assert isinstance(model.__table__, Table)
    return model.__table__


def _unequal(table: Table, accounts: list[str]) -> Select[*tuple[Any, ...]]:
    image, folded = _images(table, accounts).subquery(), _folded(table, accounts).subquery()
    key = func.coalesce(image.c.row_key, folded.c.row_key)
    return (
        select(key, folded.c.inserts, folded.c.image.label("folded"), image.c.image.label("stored"))
        .select_from(image.outerjoin(folded, image.c.row_key == folded.c.row_key, full=True))
        .where(or_(folded.c.inserts.is_distinct_from(1), folded.c.image.is_distinct_from(image.c.image)))
    )


def _images(table: Table, accounts: list[str]) -> Select[*tuple[Any, ...]]:
    """The rows as they stand, in the record's form."""
    left_out = cast(array([*NOISE, *NOT_RECORDED.get(table.name, {})]), ARRAY(Text))
    row = cast(func.to_jsonb(table.table_valued()), JSONB).op("-")(left_out)
    each = func.jsonb_each(row).table_valued("key", "value", joins_implicitly=True)
    key = _row_key(table)
    return (
        select(
            key.label("row_key"),
            func.jsonb_object_agg(each.c.key, func.exact_value(each.c.value)).label("image"),
        )
        .select_from(table)
        .where(table.c.account_id.in_(accounts))
        .group_by(*table.primary_key.columns)
    )


def _folded(table: Table, accounts: list[str]) -> Select[*tuple[Any, ...]]:
    """The last value of every column on record."""
    each = func.jsonb_each(AuditEntry.after).table_valued("key", "value", joins_implicitly=True)
    is_insert = and_(AuditEntry.operation == "INSERT")
    latest = func.jsonb_object_agg(each.c.key, aggregate_order_by(each.c.value, AuditEntry.position))
    return (
        select(
            AuditEntry.row_key,
            func.count(AuditEntry.position.distinct()).filter(is_insert).label("inserts"),
            latest.label("image"),
        )
        .where(AuditEntry.table_name == table.name, AuditEntry.account_id.in_(accounts))
        .group_by(AuditEntry.row_key)
    )


def _row_key(table: Table) -> Any:
    columns = list(table.primary_key.columns)
    if len(columns) == 1:
        return cast(columns[0], Text)
    return cast(func.jsonb_build_array(*columns), Text)
