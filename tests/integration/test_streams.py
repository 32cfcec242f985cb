"""Streams: entities of their own, in the transaction they began in; what is changed on one is stored."""

from contextlib import aclosing

import pytest
from sqlalchemy import text
from sqlalchemy.orm import make_transient

from gal_friday.dal.models import Strategy
from gal_friday.database import Database
from gal_friday.errors import DatabaseError, InvalidFilter, InvalidValue, StaleWrite
from tests.factories import a_strategy

BY_OTHERS = text("UPDATE strategies SET description = 'other' WHERE strategy_id = :id")


@pytest.fixture
async def ids(database: Database) -> list[str]:
    stored = await database.strategies.add_many(a_strategy(strategy_id=f"s{n}") for n in range(3))
    return [strategy.strategy_id for strategy in stored]


async def descriptions(database: Database) -> dict[str, str | None]:
    return {each.strategy_id: each.description for each in await database.strategies.find_all()}


async def test_a_change_that_comes_too_late_leaves_the_transaction_as_it_was(
    database: Database, ids: list[str]
) -> None:
    async with database.transaction() as uow:
        await uow.strategies.add(a_strategy(strategy_id="before"))
        with pytest.raises(StaleWrite):  # noqa: PT012 -- raised at its end
            async for strategy in uow.strategies.stream(Strategy.strategy_id.in_(ids), batch_size=1):
                await uow.session.execute(BY_OTHERS, {"id": strategy.strategy_id})
                strategy.description = "mine"
        await uow.strategies.add(a_strategy(strategy_id="after"))
    assert {"before", "after"} <= (await descriptions(database)).keys()


async def test_a_value_that_is_refused_leaves_the_transaction_as_it_was(
    database: Database, ids: list[str]
) -> None:
    async with database.transaction() as uow:
        await uow.strategies.add(a_strategy(strategy_id="before"))
        with pytest.raises(InvalidValue):  # noqa: PT012 -- raised at its end
            async for strategy in uow.strategies.stream(Strategy.strategy_id.in_(ids)):
                strategy.description = "\x00"
        await uow.strategies.add(a_strategy(strategy_id="after"))
    assert {"before", "after"} <= (await descriptions(database)).keys()


async def test_one_whose_row_the_unit_of_work_holds_can_be_updated(
    database: Database, ids: list[str]
) -> None:
    async with database.transaction() as uow:
        held = await uow.strategies.find_all()
        async for strategy in uow.strategies.stream():
            strategy.description = "streamed"
            await uow.strategies.update(strategy)
        assert {each.description for each in held} == {None}
    assert await descriptions(database) == dict.fromkeys(ids, "streamed")


async def test_a_copy_made_of_one_is_stored_when_it_is_added_only(database: Database, ids: list[str]) -> None:
    async with database.transaction() as uow:
        async for strategy in uow.strategies.stream():
            make_transient(strategy)
            strategy.strategy_id += " copied"
    assert (await descriptions(database)).keys() == set(ids)


async def test_a_stream_ends_with_its_transaction(database: Database, ids: list[str]) -> None:
    assert ids
    async with database.transaction() as uow:
        stream = uow.strategies.stream(batch_size=1)
        await anext(stream)
    async with aclosing(stream):
        with pytest.raises(DatabaseError, match="is over"):
            await anext(stream)


async def test_a_batch_has_at_least_one_row(database: Database) -> None:
    with pytest.raises(InvalidFilter, match="at least one row"):
        await anext(database.strategies.stream(batch_size=0))


async def test_a_session_that_has_sent_nothing_streams(database: Database, ids: list[str]) -> None:
    async with database.transaction() as uow:
        await uow.session.commit()
        assert [each.strategy_id async for each in uow.strategies.stream()] == ids
