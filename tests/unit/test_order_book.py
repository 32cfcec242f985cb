"""The order book: its levels, what follows from them, and which of its updates are kept."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.order_book import Level, OrderBook
from gal_friday.timeseries.points import Measured, Point
from gal_friday.timeseries.sampling import EveryInterval, EveryNth, EveryUpdate, OnChange, Sampling

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
BIDS: Sequence[Level] = [(Decimal("99.5"), 3), (99, 1.5), (98, 1)]
ASKS: Sequence[Level] = [(Decimal("100.5"), 1), (101, 2)]


def a_book(bids: Sequence[Level] = BIDS, asks: Sequence[Level] = ASKS, **options: Any) -> OrderBook:
    return OrderBook("kraken", "BTC/USD", NOON, bids, asks, **options)


def test_a_book_is_written_with_its_levels_and_what_follows_from_them() -> None:
    book = a_book(depths=(1, 2, 5))
    assert book.measurement == "market_data_l2"
    assert book.tags() == {"exchange": "kraken", "trading_pair": "BTC/USD"}
    assert book.fields() == {
        "is_snapshot": True,
        "bid_price_level_0": 99.5,
        "bid_volume_level_0": 3.0,
        "bid_price_level_1": 99.0,
        "bid_volume_level_1": 1.5,
        "bid_price_level_2": 98.0,
        "bid_volume_level_2": 1.0,
        "ask_price_level_0": 100.5,
        "ask_volume_level_0": 1.0,
        "ask_price_level_1": 101.0,
        "ask_volume_level_1": 2.0,
        "spread": 1.0,
        "mid_price": 100.0,
        "wap": (99.5 * 1 + 100.5 * 3) / 4,
        "imbalance_1": (3 - 1) / 4,
        "imbalance_2": (4.5 - 3) / 7.5,
        "imbalance_5": (5.5 - 3) / 8.5,
    }


def test_what_follows_is_from_all_levels_however_many_are_kept() -> None:
    fields = a_book(levels=1, is_snapshot=False).fields()
    assert [name for name in fields if "level" in name] == [
        *["bid_price_level_0", "bid_volume_level_0", "ask_price_level_0", "ask_volume_level_0"]
    ]
    assert fields["is_snapshot"] is False
    assert fields["imbalance_5"] == (5.5 - 3) / 8.5
    assert list(a_book(levels=0).fields()) == ["is_snapshot", "spread", "mid_price", "wap", "imbalance_5"]


def test_what_needs_an_empty_side_is_left_out() -> None:
    assert list(a_book(asks=[], levels=0).fields()) == ["is_snapshot", "imbalance_5"]
    assert a_book(asks=[]).imbalance(5) == 1.0
    assert a_book(bids=[]).imbalance(5) == -1.0
    empty = a_book(bids=[], asks=[])
    assert empty.fields() == {"is_snapshot": True}
    for name in ("spread", "mid_price", "wap"):
        with pytest.raises(InvalidValue, match="empty"):
            getattr(empty, name)
    with pytest.raises(InvalidValue, match="empty"):
        empty.imbalance(1)


@given(st.lists(st.decimals("0.01", "1000", places=2), min_size=2, max_size=20, unique=True), st.data())
def test_derived_values_stay_within_their_bounds(prices: list[Decimal], data: st.DataObject) -> None:
    volumes = st.floats(1e-6, 1e6)
    prices.sort()
    split = data.draw(st.integers(1, len(prices) - 1))
    bids = [(price, data.draw(volumes)) for price in prices[:split][::-1]]
    asks = [(price, data.draw(volumes)) for price in prices[split:]]
    book = a_book(bids, asks)
    assert book.spread == float(prices[split] - prices[split - 1]) > 0
    assert float(prices[split - 1]) <= book.wap <= float(prices[split]) * (1 + 1e-12)
    assert float(prices[split - 1]) <= book.mid_price <= float(prices[split])
    assert -1 <= book.imbalance(5) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bids": [(101, 1)]}, "crossed"),
        ({"bids": [(Decimal("100.5"), 1)]}, "crossed"),
        ({"bids": [(99, 1), (99.5, 1)]}, "begin with the best"),
        ({"asks": [(101, 1), (101, 1)]}, "begin with the best"),
        ({"asks": [(101, 0)]}, "without volume"),
        ({"asks": [(101, -1.0)]}, "without volume"),
        ({"asks": [(float("nan"), 1)]}, "not a finite number"),
        ({"asks": [(Decimal("Infinity"), 1)]}, "not a finite number"),
        ({"asks": [(101, "1")]}, "not a number"),
        ({"levels": -1}, "number of levels"),
        ({"depths": (0,)}, "at least one level"),
    ],
)
def test_what_is_no_book_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        a_book(**options)


def updates(*numbers: float, host: str = "a", every: timedelta = timedelta(milliseconds=100)) -> list[Point]:
    step = every // timedelta(microseconds=1) * 1_000
    return [Point("m", {"host": host}, {"x": x, "n": n}, n * step) for n, x in enumerate(numbers)]


def kept(policy: Sampling, points: Sequence[Measured]) -> list[object]:
    return [point.fields()["n"] for point in points if policy.takes(point)]


def test_every_update_is_every_update() -> None:
    assert kept(EveryUpdate(), updates(1, 1, 2)) == [0, 1, 2]


def test_every_nth_counts_each_series_apart() -> None:
    policy = EveryNth(3)
    assert kept(policy, updates(1, 1, 1, 1)) == [0, 3]
    assert kept(policy, updates(1, 1, host="b")) == [0]
    assert kept(policy, updates(1, 1, 1)) == [2]


def test_on_change_compares_with_the_last_one_kept() -> None:
    assert kept(OnChange(["x"]), updates(1, 1, 2, 2, 1)) == [0, 2, 4]
    assert kept(OnChange(), updates(1, 1, 1)) == [0, 1, 2]
    assert kept(OnChange(["missing"]), updates(1, 2, 3)) == [0]


def test_an_interval_keeps_the_first_of_each_and_survives_a_clock_set_back() -> None:
    policy = EveryInterval(timedelta(milliseconds=250))
    assert kept(policy, updates(*range(10))) == [0, 3, 5, 8]
    assert kept(policy, updates(*range(3))) == [0]


def test_a_policy_that_keeps_nothing_is_refused() -> None:
    for make in (
        lambda: EveryNth(0),
        lambda: EveryInterval(timedelta(0)),
        lambda: EveryInterval(timedelta(microseconds=-1)),
        lambda: OnChange([]),
        lambda: OnChange("price"),
    ):
        with pytest.raises(InvalidValue):
            make()
