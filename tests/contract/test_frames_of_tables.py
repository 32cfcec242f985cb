"""A frame has what `find_all` gives, column by column, to the last decimal."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from gal_friday.dal.hot_path import frames
from gal_friday.dal.hot_path.frames import FrameKind
from gal_friday.dal.models import Candle, Fill, Order, OrderStatus
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidFilter
from tests.factories import MINUTE, NOON, a_candle, a_fill, a_strategy, an_order

D = Decimal
AWKWARD = 'a "quoted", comma\nand a new line\\ with \t tab, é and 🙂'


async def some_orders(uow: UnitOfWork) -> Sequence[Order]:
    strategy = await uow.strategies.add(a_strategy())
    return await uow.orders.add_many(
        [
            an_order(strategy, error_message=AWKWARD, reduce_only=True, extra={"a": [1, {"b": None}]}),
            an_order(strategy, error_message="", exchange_order_id=None, quantity=D("0.000000000000000001")),
            an_order(strategy, quantity=D("99999999999999999999.999999999999999999")),
        ]
    )


def plain(value: Any) -> Any:
    """A value as a frame has it."""
    match value:
        case StrEnum() | UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC)
    return value


async def test_a_frame_has_what_entities_have(uow: UnitOfWork) -> None:
    await some_orders(uow)
    entities = await uow.orders.find_all(order_by=Order.quantity)
    table = await uow.orders.frame(order_by=Order.quantity, kind="arrow")
    assert table.num_rows == 3
    names = [name for name in table.column_names if name not in {"commission_by_asset", "extra"}]
    for row, entity in zip(table.to_pylist(), entities, strict=True):
        assert {name: row[name] for name in names} == {name: plain(getattr(entity, name)) for name in names}
    assert [row["extra"] for row in table.to_pylist()].count("{}") == 2


async def test_columns_are_those_asked_for_in_their_order(uow: UnitOfWork) -> None:
    await some_orders(uow)
    columns = [Order.status, Order.id]
    table = await uow.orders.frame(columns=columns, limit=2, kind="arrow")
    assert (table.column_names, table.num_rows) == (["status", "id"], 2)


async def test_rows_are_those_that_meet_the_criteria(uow: UnitOfWork) -> None:
    orders = await some_orders(uow)
    ids = [orders[0].id, orders[2].id]
    table = await uow.orders.frame(Order.id.in_(ids), Order.status == OrderStatus.PENDING_NEW, kind="arrow")
    assert set(table.column("id").to_pylist()) == {str(each) for each in ids}
    none = await uow.orders.frame(Order.status == OrderStatus.FILLED, kind="arrow")
    assert (none.num_rows, none.column_names) == (0, table.column_names)


async def test_what_is_not_sent_yet_is_in_it(uow: UnitOfWork) -> None:
    order = (await some_orders(uow))[0]
    order.error_message = "changed"
    table = await uow.orders.frame(Order.id == order.id, columns=[Order.error_message], kind="arrow")
    assert table.to_pylist() == [{"error_message": "changed"}]


async def test_decimals_are_exact_or_floats(uow: UnitOfWork) -> None:
    await uow.market_data.store_candles([a_candle(volume=D("0.1"), vwap=None)])
    exact = await uow.market_data.frame(kind="arrow")
    floats = await uow.market_data.frame(kind="arrow", exact=False)
    assert exact.column("volume").to_pylist() == [D("0.100000000000000000")]
    assert floats.column("volume").to_pylist() == [0.1]
    assert exact.column("vwap").to_pylist() == floats.column("vwap").to_pylist() == [None]


@pytest.mark.parametrize("kind", ["arrow", "polars", "pandas", "numpy"])
async def test_every_kind_has_the_same_rows(uow: UnitOfWork, kind: FrameKind) -> None:
    await uow.market_data.store_candles([a_candle(timestamp=NOON + step * MINUTE) for step in range(3)])
    frame = await uow.market_data.frame(order_by=Candle.timestamp, kind=kind, exact=False)
    opens = frame["open"].to_pylist() if kind == "arrow" else list(frame["open"])
    assert opens == [100.0, 100.0, 100.0]


@pytest.mark.parametrize("kind", ["arrow", "polars", "pandas", "numpy"])
async def test_rows_read_in_pieces_are_the_same_rows(
    uow: UnitOfWork, kind: FrameKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    await uow.market_data.store_candles(
        a_candle(timestamp=NOON + n * MINUTE, data_source=f'"{n}",\n\\', vwap=D(n) if n % 3 else None)
        for n in range(500)
    )
    asked = [Candle.timestamp, Candle.close, Candle.vwap, Candle.data_source]
    whole = await uow.market_data.frame(columns=asked, order_by=Candle.timestamp, kind=kind)
    monkeypatch.setattr(frames, "BLOCK", 1_000)
    pieces = await uow.market_data.frame(columns=asked, order_by=Candle.timestamp, kind=kind)
    assert str(columns_of(pieces)) == str(columns_of(whole))
    assert len(columns_of(whole)["close"]) == 500


def columns_of(frame: Any) -> dict[str, list[Any]]:
    names = ["timestamp", "close", "vwap", "data_source"]
    values = {name: frame[name] for name in names}
    return {
        name: of_column.to_pylist() if hasattr(of_column, "to_pylist") else list(of_column)
        for name, of_column in values.items()
    }


async def test_a_date_and_a_number_keep_their_types(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    order = await uow.orders.add(an_order(strategy, exchange_order_id="E"))
    await uow.fills.add(a_fill(order, applied_seq=2**62))
    table = await uow.fills.frame(columns=[Fill.applied_seq, Fill.filled_at], kind="arrow")
    row = table.to_pylist()[0]
    assert row["applied_seq"] == 2**62
    assert isinstance(row["filled_at"], date)


async def test_no_such_kind_of_frame_is_refused(uow: UnitOfWork) -> None:
    with pytest.raises(InvalidFilter) as caught:
        await uow.market_data.frame(kind="excel")  # type: ignore[arg-type]
    assert caught.value.facts["kind"] == "excel"
