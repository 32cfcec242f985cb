"""A row stored by the hot path is the row SQLAlchemy's ORM stores, and so is what is refused."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.dal.models import Base
from gal_friday.database import Database
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
from tests.contract.hot_path.values import changed, changes_of, misfits_of
from tests.state import undone

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__tablename__)


async def added(database: Database, model: type[Base], values: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of a row in the database, and of its entity."""
    entity = model(**copy.deepcopy(dict(values)))
    async with undone(database.transaction()) as uow:
        assert await rows_in(model, uow).add(entity) is entity
        assert entity in uow.session
        row = await stored_row(uow.session, entity, given=values)
        return {**row, **state_of(entity, session=uow.session)}
    raise AssertionError("unreachable: the block returns or raises")


@every_model
@examples
@given(data=st.data())
async def test_a_row_is_stored_the_same(both: Both, model: type[Base], data: st.DataObject) -> None:
    values = changed(both.valid[model], data.draw(changes_of(model)))
    hot, orm = [await result_of(added(database, model, values)) for database in both.each]
    assert_same(hot, orm)


@every_model
async def test_the_plain_row_of_every_model_is_stored(both: Both, model: type[Base]) -> None:
    for database in both.each:
        await added(database, model, both.valid[model])


@every_model
@examples
@given(data=st.data())
async def test_what_does_not_fit_a_column_is_refused_the_same(
    both: Both, model: type[Base], data: st.DataObject
) -> None:
    values = changed(both.valid[model], data.draw(misfits_of(model)))
    hot, orm = [await result_of(added(database, model, values)) for database in both.each]
    assert_same(hot, orm)
