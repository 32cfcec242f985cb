"""What is read by the hot path are the objects SQLAlchemy's ORM gives, and one of each in a unit of work."""

import contextlib
from typing import Any

import pytest
from sqlalchemy import inspect

from gal_friday.dal.models import Base, Order, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, DatabaseError, InvalidValue
from tests.contract.hot_path.paths import (
    MODELS,
    Both,
    assert_same,
    attributes_of,
    rows_in,
    rows_outside,
    state_of,
)
from tests.factories import a_strategy, an_order
from tests.state import given_values, undone

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__tablename__)


@every_model
async def test_a_row_is_read_the_same_by_every_question(both: Both, model: type[Base]) -> None:
    answers = [await asked_everything(database, model, both.valid[model]) for database in both.each]
    assert_same(*answers)


async def asked_everything(database: Database, model: type[Base], values: Any) -> dict[str, Any]:
    async with undone(database.transaction()) as uow:
        rows = rows_in(model, uow)
        entity = await rows.add(model(**values))
        identity = inspect(entity).identity
        assert identity is not None
        key = [
            inspect(model).get_property_by_column(column).class_attribute == value
            for column, value in zip(inspect(model).primary_key, identity, strict=True)
        ]
        assert await rows.one(identity) is entity
        assert await rows.find_all(*key) == [entity]
        uow.session.expunge_all()
        read = await rows.one(identity)
        assert read is not entity
        assert await rows.get(identity) is read
        assert await rows.find_one_by(*key) is read
        assert (await rows.page(*key)).items == [read]
        assert (await rows.count(*key), await rows.exists(*key)) == (1, True)
        uow.session.expire(read)
        assert await rows.find_all(*key) == [read]
        assert given_values(read).keys() == attributes_of(model).keys()
        kept = {name for name, column in attributes_of(model).items() if values.get(name) is not None}
        return {
            **{f"value of {name}": repr(getattr(read, name)) for name in kept},
            **state_of(read, session=uow.session),
        }
    raise AssertionError("unreachable: the block returns or raises")


@every_model
async def test_what_is_not_there_is_not_found_in_either_way(both: Both, model: type[Base]) -> None:
    nowhere = inspect(model).primary_key[0].is_(None)
    for database in both.each:
        async with undone(database.transaction()) as uow:
            rows = rows_in(model, uow)
            assert await rows.find_all(nowhere) == []
            assert (await rows.count(nowhere), await rows.exists(nowhere)) == (0, False)
        assert await rows_outside(model, database).find_one_by(nowhere) is None


async def a_stored_order(uow: UnitOfWork) -> Order:
    strategy = await uow.strategies.add(a_strategy())
    order: Order = await uow.orders.add(an_order(strategy))
    return order


async def test_what_was_changed_and_not_sent_is_sent_before_a_question_and_not_overwritten(
    both: Both,
) -> None:
    for database in both.each:
        async with undone(database.transaction()) as uow:
            order = await a_stored_order(uow)
            order.error_message = "slow"
            assert await uow.orders.find_all(Order.error_message == "slow") == [order]
            assert (order.error_message, order.row_version) == ("slow", 2)
            uow.session.add(an_order(await uow.strategies.one(order.strategy_id)))
            assert await uow.orders.count(Order.strategy_id == order.strategy_id) == 2
            with uow.session.no_autoflush:
                order.error_message = "slower"
                assert (await uow.orders.one(order.id)).error_message == "slower"


async def test_what_others_changed_is_seen_once_an_entity_is_expired(both: Both) -> None:
    for database in both.each:
        async with undone(database.transaction()) as uow:
            order = await a_stored_order(uow)
            connection = await uow.session.connection()
            await connection.execute(
                Order.__table__.update().where(Order.id == order.id).values(retry_count=7)  # type: ignore[attr-defined]  # a Table
            )
            assert (await uow.orders.one(order.id)).retry_count == 0
            assert (await uow.orders.find_all(Order.id == order.id))[0].retry_count == 0
            order_id = order.id
            uow.session.expire(order)
            assert await uow.orders.find_all(Order.id == order_id) == [order]
            assert order.retry_count == 7


async def test_a_row_deleted_in_the_unit_of_work_is_gone(both: Both) -> None:
    for database in both.each:
        async with undone(database.transaction()) as uow:
            strategy = await uow.strategies.add(a_strategy())
            await uow.session.delete(strategy)
            assert await uow.strategies.find_all(Strategy.strategy_id == strategy.strategy_id) == []
            assert await uow.strategies.get(strategy.strategy_id) is None


async def test_what_a_savepoint_undid_is_new_again_in_either_way(both: Both) -> None:
    for database in both.each:
        strategy = a_strategy()
        async with undone(database.transaction()) as uow:
            given = given_values(strategy)
            for _ in range(2):
                with contextlib.suppress(ZeroDivisionError):
                    async with uow.savepoint():
                        await uow.strategies.add(strategy)
                        strategy.name = "changed"
                        await uow.strategies.update(strategy)
                        raise ZeroDivisionError
                assert inspect(strategy).transient
                assert given_values(strategy) == given
            await uow.strategies.add(strategy)
            with contextlib.suppress(ZeroDivisionError):
                async with uow.savepoint():
                    strategy.name = "changed"
                    await uow.strategies.update(strategy)
                    raise ZeroDivisionError
            await uow.session.refresh(strategy)
            assert (strategy.name, strategy.row_version) == (given["name"], 1)
        assert inspect(strategy).transient
        assert given_values(strategy) == given
        await database.strategies.add(strategy)
        assert await database.strategies.exists(Strategy.strategy_id == strategy.strategy_id)


async def test_after_a_write_that_failed_nothing_more_is_done_in_either_way(both: Both) -> None:
    for database in both.each:
        for wrong, kind in ((a_strategy(version=5), InvalidValue), (a_strategy(), AlreadyExists)):
            with pytest.raises(DatabaseError, match="voided"):  # noqa: PT012 -- raised at its end
                async with database.transaction() as uow:
                    if kind is AlreadyExists:
                        await uow.strategies.add(a_strategy(strategy_id=wrong.strategy_id))
                    with pytest.raises(kind):
                        await uow.strategies.add(wrong)
                    for ask in (uow.strategies.count, uow.strategies.find_all):
                        with pytest.raises(DatabaseError):
                            await ask()
                    with pytest.raises(DatabaseError):
                        async with uow.savepoint():
                            raise AssertionError("the block is not come to")
            assert not await database.strategies.exists(Strategy.strategy_id == wrong.strategy_id)
            assert inspect(wrong).transient
