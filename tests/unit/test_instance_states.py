"""Entities made of records: SQLAlchemy takes them for loaded ones, though their states are made on demand."""

import copy
import pickle
from uuid import UUID

import pytest
from sqlalchemy import inspect
from sqlalchemy.orm.base import DEFAULT_STATE_ATTR

from gal_friday.dal.hot_path.rows import rows_of
from gal_friday.dal.models import Base, Fill, Order

ORDER_ID = UUID(int=7)


@pytest.fixture
def read() -> Order:
    columns = Order.__table__.columns
    order: Order = rows_of(Order).entity(
        dict.fromkeys(columns.keys()) | {"id": ORDER_ID, "status": "NEW", "quantity": "1.50"}
    )
    return order


def test_an_entity_that_is_only_looked_at_has_no_state(read: Order) -> None:
    assert (read.id, read.status, str(read.quantity)) == (ORDER_ID, "NEW", "1.50")
    assert DEFAULT_STATE_ATTR not in vars(read)


def test_it_is_one_loaded_by_a_session_since_closed(read: Order) -> None:
    state = inspect(read)
    assert state.detached
    assert state.identity == (ORDER_ID,)
    assert state.mapper is inspect(Order)
    assert inspect(read) is state
    assert not state.modified


def test_what_is_changed_on_it_is_known(read: Order) -> None:
    read.exchange_order_id = "E1"
    history = inspect(read).attrs.exchange_order_id.history
    assert (history.added, history.deleted) == (["E1"], [None])


def test_copies_are_loaded_ones_as_well(read: Order) -> None:
    copies: list[Order] = [copy.copy(read), copy.deepcopy(read), pickle.loads(pickle.dumps(read))]
    for other in copies:
        assert inspect(other).identity == (ORDER_ID,)
        assert inspect(other).obj() is other
        other.exchange_order_id = "E2"
        assert read.exchange_order_id is None


def test_a_new_entity_is_new() -> None:
    order = Order()
    assert inspect(order).transient
    assert inspect(order).key is None


def test_classes_have_no_state() -> None:
    assert inspect(Base, raiseerr=False) is None
    assert not hasattr(Fill, DEFAULT_STATE_ATTR)
