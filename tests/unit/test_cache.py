"""The L1 cache: what it gives, what it keeps, and what comes too late."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect

from gal_friday.dal.cache import L1Cache, Moment
from gal_friday.dal.models import PortfolioPosition, PortfolioState
from tests.factories import NOON, a_portfolio_position

KEY = "P1"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_row(version: int = 1, **overrides: Any) -> PortfolioPosition:
    values: dict[str, Any] = {"account_id": "default", "position_id": KEY, "created_at": NOON}
    return a_portfolio_position(**{**values, "row_version": version, **overrides})


async def version_in(cache: L1Cache[PortfolioPosition], key: str = KEY) -> int | None:
    row = await cache.get(key)
    return None if row is None else row.row_version


async def test_what_was_put_is_given_back() -> None:
    cache = L1Cache[PortfolioPosition]()
    assert await cache.get(KEY) is None
    await cache.put(KEY, a_row(lots=7, entry_price=Decimal("1.10")), since=cache.moment())
    row = await cache.get(KEY)
    assert row is not None
    assert (row.lots, row.entry_price, row.row_version) == (7, Decimal("1.10"), 1)
    assert inspect(row).detached
    assert not inspect(row).modified


async def test_changing_what_was_put_does_not_change_the_cache() -> None:
    cache = L1Cache[PortfolioPosition]()
    row = a_row(lots=7)
    await cache.put(KEY, row, since=cache.moment())
    row.lots = 8
    kept = await cache.get(KEY)
    assert kept is not None
    assert kept.lots == 7


async def test_changing_what_was_given_does_not_change_the_cache() -> None:
    cache = L1Cache[PortfolioPosition]()
    await cache.put(KEY, a_row(lots=7), since=cache.moment())
    given_out = await cache.get(KEY)
    assert given_out is not None
    given_out.lots = 8
    kept = await cache.get(KEY)
    assert kept is not None
    assert kept.lots == 7


async def test_a_document_inside_a_row_is_copied_to_its_depth() -> None:
    cache = L1Cache[PortfolioState]()
    document: dict[str, Any] = {"stops": [1, 2]}
    row = PortfolioState(account_id="default", currency="USD", state=document, row_version=1, created_at=NOON)
    await cache.put("USD", row, since=cache.moment())
    document["stops"].append(3)
    first = await cache.get("USD")
    assert first is not None
    first.state["stops"].clear()
    second = await cache.get("USD")
    assert second is not None
    assert second.state == {"stops": [1, 2]}


async def test_the_least_recently_used_row_makes_room() -> None:
    cache = L1Cache[PortfolioPosition](capacity=2)
    for name in ("A", "B"):
        await cache.put(name, a_row(position_id=name), since=cache.moment())
    await cache.get("A")
    await cache.put("C", a_row(position_id="C"), since=cache.moment())
    assert [await version_in(cache, name) for name in ("A", "B", "C")] == [1, None, 1]
    assert cache.stats().evicted == 1


async def test_a_row_grows_too_old_counted_from_before_it_was_read() -> None:
    clock = Clock()
    cache = L1Cache[PortfolioPosition](max_age_seconds=5, clock=clock)
    since = cache.moment()
    clock.now = 4  # the database took its time
    await cache.put(KEY, a_row(), since=since)
    assert await version_in(cache) == 1
    clock.now = 5
    assert await version_in(cache) is None
    assert asdict(cache.stats()) == {
        "size": 0, "hits": 1, "misses": 1, "expired": 1, "evicted": 0, "refused": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("max_age_seconds", "kept"), [(None, 1), (0, None)])
async def test_no_limit_keeps_for_ever_and_zero_never(
    max_age_seconds: float | None, kept: int | None
) -> None:
    clock = Clock()
    cache = L1Cache[PortfolioPosition](max_age_seconds=max_age_seconds, clock=clock)
    await cache.put(KEY, a_row(), since=cache.moment())
    clock.now = 1e9 if max_age_seconds is None else 0
    assert await version_in(cache) == kept


async def test_a_row_read_earlier_does_not_replace_a_later_version() -> None:
    cache = L1Cache[PortfolioPosition]()
    since = cache.moment()
    await cache.put(KEY, a_row(2), since=since)
    await cache.put(KEY, a_row(1), since=since)
    assert await version_in(cache) == 2
    assert cache.stats().refused == 1


async def test_a_row_read_before_a_write_was_told_is_not_kept_after_it() -> None:
    cache = L1Cache[PortfolioPosition]()
    since = cache.moment()
    await cache.put(KEY, a_row(2), since=cache.moment(), written=True)
    await cache.put(KEY, a_row(1), since=since)
    assert await version_in(cache) == 2


async def test_a_row_read_before_a_write_is_not_kept_even_where_the_written_one_made_room() -> None:
    cache = L1Cache[PortfolioPosition](capacity=1)
    since = cache.moment()
    await cache.put(KEY, a_row(2), since=cache.moment(), written=True)
    await cache.put("other", a_row(), since=cache.moment(), written=True)
    await cache.put(KEY, a_row(1), since=since)
    assert await version_in(cache) is None


@pytest.mark.parametrize("forgetting", ["discard", "clear"])
async def test_a_row_read_before_it_was_forgotten_is_not_kept(forgetting: str) -> None:
    cache = L1Cache[PortfolioPosition]()
    await cache.put(KEY, a_row(1), since=cache.moment())
    since = cache.moment()
    await (cache.discard(KEY) if forgetting == "discard" else cache.clear())
    assert await version_in(cache) is None
    await cache.put(KEY, a_row(1), since=since)
    assert await version_in(cache) is None
    await cache.put(KEY, a_row(2), since=cache.moment())
    assert await version_in(cache) == 2


async def test_forgetting_one_row_leaves_the_others_and_those_on_their_way() -> None:
    cache = L1Cache[PortfolioPosition]()
    await cache.put("A", a_row(position_id="A"), since=cache.moment())
    since = cache.moment()
    await cache.discard(KEY)
    await cache.put("B", a_row(position_id="B"), since=since)
    assert [await version_in(cache, name) for name in ("A", "B")] == [1, 1]


async def test_of_two_writes_told_in_the_wrong_order_the_later_version_stays() -> None:
    cache = L1Cache[PortfolioPosition]()
    first, second = cache.moment(), cache.moment()
    await cache.put(KEY, a_row(3), since=second, written=True)
    await cache.put(KEY, a_row(2), since=first, written=True)
    assert await version_in(cache) == 3


async def test_a_row_stored_anew_replaces_the_one_removed_though_its_versions_begin_again() -> None:
    cache = L1Cache[PortfolioPosition]()
    await cache.put(KEY, a_row(7), since=cache.moment())
    anew = a_row(1, created_at=NOON + timedelta(seconds=1))
    await cache.put(KEY, anew, since=cache.moment())
    assert await version_in(cache) == 1


class World:
    """Three rows that are written, removed, stored anew and read in ways that overlap as they like.

    A row's state is a number; they only grow.
    """

    def __init__(self, capacity: int) -> None:
        self.cache = L1Cache[PortfolioPosition](capacity=capacity, max_age_seconds=None)
        self._stored: dict[str, int] = {}
        self._state = 0
        self._untold: list[tuple[str, int, Moment, bool]] = []
        self._reads: list[tuple[str, Moment]] = []
        self._rows_on_their_way: list[tuple[str, Moment, int]] = []
        self.told: dict[str, int] = {}

    async def write(self, number: int, *, is_removal: bool = False) -> None:
        key = "ABC"[number % 3]
        self._state += 1
        self._stored.pop(key, None)
        if not is_removal:
            self._stored[key] = self._state
        self._untold.append((key, self._state, self.cache.moment(), is_removal))

    async def remove(self, number: int) -> None:
        await self.write(number, is_removal=True)

    async def tell(self, number: int) -> None:
        if self._untold:
            key, state, since, is_removal = self._untold.pop(number % len(self._untold))
            if is_removal:
                await self.cache.discard(key)
            else:
                await self.cache.put(key, self._row(key, state), since=since, written=True)
            self.told[key] = max(self.told.get(key, 0), state)

    async def begin_to_read(self, number: int) -> None:
        self._reads.append(("ABC"[number % 3], self.cache.moment()))

    async def read(self, number: int) -> None:
        if self._reads:
            key, since = self._reads.pop(number % len(self._reads))
            if key in self._stored:
                self._rows_on_their_way.append((key, since, self._stored[key]))

    async def put(self, number: int) -> None:
        if self._rows_on_their_way:
            rows = self._rows_on_their_way
            key, since, state = rows.pop(number % len(rows))
            await self.cache.put(key, self._row(key, state), since=since)

    async def forget_all(self, _: int) -> None:
        await self.cache.clear()

    async def shown(self, key: str) -> int | None:
        row = await self.cache.get(key)
        return None if row is None else (row.created_at - NOON) // timedelta(seconds=1)

    @staticmethod
    def _row(key: str, state: int) -> PortfolioPosition:
        return a_row(position_id=key, created_at=NOON + state * timedelta(seconds=1))


STEPS = [World.write, World.remove, World.tell, World.begin_to_read, World.read, World.put, World.forget_all]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=40), st.integers(1, 3))
async def test_no_order_of_reads_and_writes_makes_it_show_what_is_older_than_what_it_was_told(
    steps: list[tuple[Callable[[World, int], Awaitable[None]], int]], capacity: int
) -> None:
    world = World(capacity)
    for step, number in steps:
        await step(world, number)
        for key, state in world.told.items():
            shown = await world.shown(key)
            assert shown is None or shown >= state
