"""Columns as texts: what is quick says the same as a look at each value, and rows loaded are not searched."""

import gc
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table

from gal_friday.dal.hot_path import texts
from gal_friday.dal.hot_path.loading import LESS_OFTEN, collection_held_off, collection_made_rarer
from gal_friday.dal.hot_path.texts import can_be_copied, texts_of
from gal_friday.dal.models import OrderStatus
from gal_friday.dal.models.types import (
    DIALECT,
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
from tests.contract.hot_path.values import fitting, unfit

KINDS: list[Any] = [
    *(
        Money(),
        Cost(),
        Ratio(),
        UtcDateTime(),
        CalendarDate(),
        PlainText(8),
        PlainText(),
        Flag(),
        Identifier(),
    ),
    *(WholeNumber(), LongNumber(), ClosedSet(OrderStatus), Json("object"), Json("array"), Json("any")),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
examples = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)


def column_of(kind: Any) -> "Column[Any]":
    column: Column[Any] = Column("value", kind)
    Table("things", MetaData(), column)
    return column


def one_at_a_time(column: "Column[Any]", values: Sequence[Any], **how: bool) -> list[Any]:
    """The texts of values that are each a column of their own kind, which nothing quick is known of."""
    found: list[Any] = []
    for value in values:
        found += texts_of(column, [value], **how)
    return found


@every_kind
@examples
@given(data=st.data(), is_escaped=st.booleans())
def test_a_column_of_values_has_the_texts_of_each(kind: Any, data: st.DataObject, is_escaped: bool) -> None:
    values = data.draw(st.lists(fitting(kind) | st.none(), max_size=6))
    column = column_of(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_quick", lambda *_: None)
        slowly = one_at_a_time(column, values, is_escaped=is_escaped)
    quickly = list(texts_of(column, values, is_escaped=is_escaped))
    assert list(map(meant, quickly)) == list(map(meant, slowly))


def meant(text: str | None) -> Any:
    """A text as the server takes it: a decimal or a UUID can be written in several ways."""
    if text is None:
        return None
    plain = text.replace("-", "") if len(text) == 36 else text
    return (
        plain.rstrip("0").rstrip(".") or "0" if "." in plain and plain.replace(".", "").isdigit() else plain
    )


@every_kind
@examples
@given(data=st.data())
def test_what_does_not_fit_is_refused_with_its_row(kind: Any, data: st.DataObject) -> None:
    good = data.draw(st.lists(fitting(kind) | st.none(), max_size=3))
    wrong = data.draw(st.sampled_from(unfit(kind)))
    values = [*good, wrong]
    try:
        kind.process_bind_param(wrong, DIALECT)
    except InvalidValue:
        with pytest.raises(InvalidValue) as caught:
            texts_of(column_of(kind), values, first_row=10)
        assert caught.value.facts["row"] == 10 + len(good)
        assert (caught.value.facts["table"], caught.value.facts["column"]) == ("things", "value")
    else:
        assert isinstance(kind, Json)  # of any kind


def test_the_ends_of_time_are_the_infinities_the_driver_takes_them_for() -> None:
    last, first = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    assert list(texts_of(column_of(UtcDateTime()), [last, first])) == ["infinity", "-infinity"]
    assert list(texts_of(column_of(CalendarDate()), [date.max, date.min])) == ["infinity", "-infinity"]


def test_an_array_of_texts_is_not_copied() -> None:
    assert not can_be_copied(column_of(TextArray()))
    assert can_be_copied(*map(column_of, KINDS))


def test_the_collector_is_held_off_until_the_last_block_ends() -> None:
    assert gc.isenabled()
    with collection_held_off():
        with collection_held_off():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off_and_an_error_gives_it_back() -> None:
    gc.disable()
    try:
        with collection_held_off():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ZeroDivisionError), collection_held_off():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_the_collector_looks_less_often_until_the_last_block_ends() -> None:
    before = gc.get_threshold()
    with collection_made_rarer():
        with collection_made_rarer():
            assert gc.get_threshold()[0] == LESS_OFTEN
        assert gc.get_threshold()[0] == LESS_OFTEN
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError), collection_made_rarer():
        raise ZeroDivisionError
    assert gc.get_threshold() == before


@pytest.mark.parametrize("threshold", [0, LESS_OFTEN + 1])
def test_a_collector_that_looks_less_often_already_is_left_alone(threshold: int) -> None:
    before = gc.get_threshold()
    gc.set_threshold(threshold)
    try:
        with collection_made_rarer():
            assert gc.get_threshold()[0] == threshold
        assert gc.get_threshold()[0] == threshold
    finally:
        gc.set_threshold(*before)


def test_what_others_set_meanwhile_stays() -> None:
    before = gc.get_threshold()
    try:
        with collection_made_rarer():
            gc.set_threshold(123)
        assert gc.get_threshold()[0] == 123
    finally:
        gc.set_threshold(*before)
