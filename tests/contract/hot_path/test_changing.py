"""A change stored by the hot path is the change SQLAlchemy's ORM stores; so is what is no change."""

import copy
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Table, func

from gal_friday.dal.models import Base, Order, OrderStatus
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import DatabaseError, StaleWrite
from tests.contract.hot_path.paths import (
    MODELS,
    Both,
    assert_same,
    examples,
    result_of,
    rows_in,
    state_of,
    stored_row,
)
from tests.contract.hot_path.values import changes_of
from tests.factories import NOON, a_strategy, an_order
from tests.state import undone

CHANGEABLE = [model for model in MODELS if not cast("Table", model.__table__).info["append_only"]]
every_changeable = pytest.mark.parametrize("model", CHANGEABLE, ids=lambda model: model.__tablename__)


def there(model: type[Base], values: Mapping[str, Any]) -> Base:
    return model(**copy.deepcopy(dict(values)))


async def changed_to(
    database: Database,
    model: type[Base],
    values: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    apart: bool,
) -> dict[str, Any]:
    """What becomes of a row that is changed, by an entity of the session or by one *apart* from it."""
    async with undone(database.transaction()) as uow:
        rows = rows_in(model, uow)
        entity = await rows.add(there(model, values))
        if apart:
            uow.session.expunge(entity)
        for name, value in copy.deepcopy(dict(changes)).items():
            setattr(entity, name, value)
        assert await rows.update(entity) is entity
        row = await stored_row(uow.session, entity, given={**values, **changes})
        return {**row, **state_of(entity, session=uow.session)}
    raise AssertionError("unreachable: the block returns or raises")


@every_changeable
@examples
@given(data=st.data(), apart=st.booleans())
async def test_a_change_is_stored_the_same(
    both: Both, model: type[Base], data: st.DataObject, apart: bool
) -> None:
    drawn = data.draw(changes_of(model, keys=False))
    changes = {
        name: value for name, value in drawn.items() if value is not ... and name not in {"row_version", "id"}
    }
    hot, orm = [
        await result_of(changed_to(database, model, both.valid[model], changes, apart=apart))
        for database in both.each
    ]
    assert_same(hot, orm)


@pytest.fixture
async def orders(both: Both) -> AsyncIterator[list[tuple[UnitOfWork, Order]]]:
    """An order by each way, in a unit of work that is undone."""
    async with undone(both.hot.transaction()) as hot, undone(both.orm.transaction()) as orm:
        yield [(uow, await an_order_in(uow)) for uow in (hot, orm)]


async def an_order_in(uow: UnitOfWork) -> Order:
    strategy = await uow.strategies.add(a_strategy())
    return await uow.orders.add(an_order(strategy, extra={"note": ["x"]}))


async def test_what_is_set_to_what_it_was_is_not_sent(orders: list[tuple[UnitOfWork, Order]]) -> None:
    for uow, order in orders:
        order.quantity = Decimal("2.0")
        order.extra = copy.deepcopy(order.extra)
        await uow.orders.update(order)
        assert order.row_version == 1


async def test_what_is_changed_inside_a_document_is_stored_once_it_is_set_anew(
    orders: list[tuple[UnitOfWork, Order]],
) -> None:
    for uow, order in orders:
        order.extra["note"].append("y")
        await uow.orders.update(order)
        assert order.row_version == 1
        order.extra = {"note": ["x", "z"]}
        await uow.orders.update(order)
        await uow.session.refresh(order)
        assert (order.extra, order.row_version) == ({"note": ["x", "z"]}, 2)


async def test_an_expression_of_the_server_can_be_set(orders: list[tuple[UnitOfWork, Order]]) -> None:
    for uow, order in orders:
        order.retry_count = Order.retry_count + 2
        await uow.orders.update(order)
        await uow.session.refresh(order)
        assert (order.retry_count, order.row_version) == (2, 2)
        other = an_order(await uow.strategies.one(order.strategy_id), submitted_at=func.now())
        await uow.orders.add(other)
        await uow.session.refresh(other)
        assert other.submitted_at == other.created_at


async def test_who_changes_what_was_changed_meanwhile_is_told_and_can_store_no_more(both: Both) -> None:
    for database in both.each:
        async with undone(database.transaction()) as uow:
            order = await an_order_in(uow)
            await uow.session.connection()
            order.__dict__["row_version"] = 7
            order.error_message = "slow"
            with pytest.raises(StaleWrite) as caught:
                await uow.orders.update(order)
            assert caught.value.facts == {"table": "orders", "rows_expected": 1, "rows_found": 0}
            with pytest.raises(DatabaseError):
                await uow.orders.count()
            with pytest.raises(DatabaseError):
                async with uow.savepoint():
                    await uow.session.connection()


async def test_moving_an_order_on_gives_the_same_order(orders: list[tuple[UnitOfWork, Order]]) -> None:
    results = []
    for uow, order in orders:
        uow.session.expunge_all()
        moved = await uow.orders.transition(order.id, OrderStatus.NEW, exchange_order_id="OX-7")
        assert (
            await uow.orders.transition(order.id, OrderStatus.CANCELED, at=NOON + timedelta(days=1))
        ) is moved
        row = await stored_row(uow.session, moved, given={})
        varying = {"id", "client_order_id", "strategy_id", "status_at", "submitted_at", "acknowledged_at"}
        results.append(
            {name: row[name] for name in row.keys() - varying} | state_of(moved, session=uow.session)
        )
    assert_same(*results)
