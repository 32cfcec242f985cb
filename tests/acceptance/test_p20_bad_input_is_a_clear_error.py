"""P20: bad input is a clear error and nothing is written.

Every column of every table is given what does not belong there, over and over: each time there is a typed
error, nothing is written and the session goes on; or the value is stored and comes back exactly as it was.
"""

import string
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, func, inspect, select, text

from gal_friday.dal.models import Base, Order, OrderStatus, Position, Signal
from gal_friday.dal.models.types import (
    CalendarDate,
    ClosedSet,
    ExactNumeric,
    Flag,
    Identifier,
    Json,
    PlainText,
    TextArray,
    UtcDateTime,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidFilter, PersistenceError
from tests.conftest import FIRST_VERSION
from tests.valid_rows import a_row_of

#: 39 tables: 11,700 cases in all.
CASES_PER_TABLE = 300

# What is refused is refused by the columns' types before anything is sent; one server version is enough.
one_version = pytest.mark.parametrize("any_postgres_server", FIRST_VERSION, indirect=True)

MODELS = sorted((mapper.class_ for mapper in Base.registry.mappers), key=lambda model: model.__tablename__)

INJECTIONS = st.sampled_from(
    [
        "'; DROP TABLE orders; --",
        "' OR '1'='1",
        '"; DELETE FROM fills; --',
        "$1",
        "%s",
        ":name",
        "\\'; --",
        "NULL",
    ]
)
ODD_NUMBERS = st.one_of(
    st.sampled_from([Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity")]),
    st.decimals(places=19, min_value=-10, max_value=10, allow_nan=False),
    st.decimals(min_value=Decimal("1e20"), max_value=Decimal("1e60"), allow_nan=False),
    st.decimals(places=18, min_value=-(10**19), max_value=10**19, allow_nan=False),
    st.floats(),
    st.booleans(),
    st.integers(min_value=-(10**45), max_value=10**45),
    INJECTIONS,
)
ODD_TIMES = st.one_of(
    st.datetimes(),
    st.datetimes(timezones=st.timezones(), min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),  # noqa: DTZ001
    st.dates(),
    st.integers(),
    INJECTIONS,
)
ODD_TEXTS = st.one_of(
    INJECTIONS,
    st.text(max_size=40).map(lambda value: value + "\x00"),
    st.text(max_size=40).map(lambda value: value + "\ud800"),
    st.text(min_size=1, max_size=200),
    st.text(alphabet=string.printable, min_size=129, max_size=2_000),
    st.binary(max_size=20),
    st.integers(),
)
ODD_JSON = st.one_of(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.text(max_size=20)
        | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.dictionaries(st.integers(), st.integers(), min_size=1, max_size=2),
    st.sets(st.integers(), max_size=2),
    st.builds(lambda value: {"price": value}, st.decimals()),
)
ANYTHING = st.one_of(ODD_NUMBERS, ODD_TEXTS, ODD_TIMES, ODD_JSON)


ODD_VALUES: list[tuple[tuple[type[Any], ...], st.SearchStrategy[Any]]] = [
    ((ExactNumeric,), ODD_NUMBERS),
    ((UtcDateTime, CalendarDate), ODD_TIMES),
    ((PlainText, ClosedSet, Identifier), ODD_TEXTS),
    ((Json,), ODD_JSON),
    ((TextArray,), st.lists(ODD_TEXTS, max_size=3) | ODD_TEXTS),
    ((Flag,), st.integers() | ODD_TEXTS),
    ((object,), st.integers(min_value=-(2**70), max_value=2**70) | ODD_TEXTS | st.floats()),
]


def odd_values(column: "Column[Any]") -> st.SearchStrategy[Any]:
    return next(values for kinds, values in ODD_VALUES if isinstance(column.type, kinds))


def meant(value: Any) -> Any:
    """What *value* reads as once stored as JSON, where a large float comes back as the same whole number."""
    match value:
        case Decimal() | date() | UUID():
            return str_of(value)
        case float() | int() if not isinstance(value, bool):
            return float(value)
        case dict():
            return {key: meant(item) for key, item in value.items()}
        case list() | tuple():
            return [meant(item) for item in value]
        case _:
            return value


def str_of(value: Decimal | date | UUID) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


@one_version
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__tablename__)
@settings(
    max_examples=CASES_PER_TABLE,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    database=None,
)
@given(data=st.data())
async def test_every_column_refuses_what_it_cannot_keep(
    model: type[Base], uow: UnitOfWork, data: st.DataObject
) -> None:
    attributes = [
        attribute for attribute in inspect(model).column_attrs if attribute.columns[0].computed is None
    ]
    attribute = data.draw(st.sampled_from(attributes), label="column")
    column = attribute.columns[0]
    assert isinstance(column, Column)
    value = data.draw(st.one_of(odd_values(column), ANYTHING), label="value")
    undo = await uow.session.begin_nested()
    try:
        entity = await a_row_of(model, uow)
        rows_before = await uow.session.scalar(select(func.count()).select_from(model))
        setattr(entity, attribute.key, value)
        error = await error_of_storing(entity, uow)
        assert await uow.session.scalar(text("SELECT true")), "the session is still usable"
        if error is None:
            await assert_stored_as_given(entity, attribute.key, value, uow)
        else:
            assert type(error) is not PersistenceError
            assert str(error)
            assert await uow.session.scalar(select(func.count()).select_from(model)) == rows_before
    finally:
        await undo.rollback()
        uow.session.expunge_all()


async def error_of_storing(entity: Base, uow: UnitOfWork) -> PersistenceError | None:
    """The error that storing *entity* meets, everything else undone; an error not ours is raised on."""
    try:
        async with uow.savepoint():
            uow.session.add(entity)
            await uow.flush()
    except PersistenceError as error:
        return error
    return None


async def assert_stored_as_given(entity: Base, attribute: str, value: Any, uow: UnitOfWork) -> None:
    await uow.session.refresh(entity, [attribute])
    stored = getattr(entity, attribute)
    column = inspect(type(entity)).column_attrs[attribute].columns[0]
    if value is None:
        assert stored is None or column.default is not None or column.server_default is not None
    elif isinstance(column.type, Json | TextArray):
        assert meant(stored) == meant(value)
    elif isinstance(value, datetime):
        assert stored == value.astimezone(UTC)
        assert stored.tzinfo is UTC
    else:
        assert stored == value


NO_CLAUSES_ON_ORDERS: dict[str, Any] = {
    "text": "status = 'NEW'",
    "injection": "1=1; DROP TABLE orders",
    "true": True,
    "false, as `not Position.is_active` gives": False,
    "another table's column": Signal.status == "NEW",
    "another table's comparison": Position.quantity > 0,
    "none": None,
    "dictionary": {"status": "NEW"},
}


@pytest.mark.parametrize("criterion", NO_CLAUSES_ON_ORDERS.values(), ids=NO_CLAUSES_ON_ORDERS)
async def test_a_filter_that_is_no_clause_on_the_table_is_an_error(uow: UnitOfWork, criterion: Any) -> None:
    orders = uow.orders
    for ask in (orders.find_all, orders.count, orders.exists, orders.find_one_by, orders.page):
        with pytest.raises(InvalidFilter):
            await ask(criterion)
    assert await uow.session.scalar(text("SELECT true"))


NO_COLUMNS_OF_ORDERS: dict[str, Any] = {
    "text": "created_at",
    "injection": "created_at; DROP TABLE orders",
    "another table's column": Position.opened_at,
    "number": 1,
}


@pytest.mark.parametrize("order_by", NO_COLUMNS_OF_ORDERS.values(), ids=NO_COLUMNS_OF_ORDERS)
async def test_an_ordering_that_is_no_column_of_the_table_is_an_error(uow: UnitOfWork, order_by: Any) -> None:
    with pytest.raises(InvalidFilter):
        await uow.orders.find_all(order_by=order_by)


async def test_an_unknown_column_does_not_exist_in_python() -> None:
    with pytest.raises(AttributeError):
        Order.statsu  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(TypeError):
        Order(statsu=OrderStatus.NEW)
