"""Pages of an exchange put together."""

from collections.abc import Sequence
from typing import Any

import pytest

from gal_friday.adapters.exchange_api import Unified
from gal_friday.adapters.exchange_pages import Pages, all_pages

TRADES: list[dict[str, Any]] = [
    {"id": f"T-{number}", "timestamp": 1000 + number * 10} for number in range(23)
]


class Venue:
    """Gives at most five at a time, in one way or another."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.calls = 0
        self.trades = list(TRADES)

    async def fetch(
        self, symbol: str | None, since: int | None, limit: int | None, params: dict[str, Any]
    ) -> Sequence[Unified]:
        self.calls += 1
        until = params.get("until", 10**15)
        if self.way == "a span at a time":
            until = min(until, (since or 0) + 50)
        found = [each for each in self.trades if (since or 0) <= int(each["timestamp"]) <= until]
        match self.way:
            case "oldest first" | "a span at a time":
                return found[:5]
            case "oldest first, reordered":
                return found[:5][::-1]
            case "newest first":
                return found[-5:]
            case "by offset":
                newest_first = found[::-1]
                return newest_first[params["ofs"] : params["ofs"] + 5]
            case _:
                return found[-5:]


@pytest.mark.parametrize(
    ("way", "exchange"),
    [
        ("oldest first", "any"),
        ("oldest first, reordered", "any"),
        ("newest first", "any"),
        ("by offset", "kraken"),
    ],
)
async def test_every_record_is_read_once_whichever_way_the_exchange_pages(way: str, exchange: str) -> None:
    venue = Venue(way)
    found = await all_pages(venue.fetch, exchange=exchange, symbol=None, since=1000)
    assert found == TRADES
    assert venue.calls < 12


async def test_only_what_is_asked_for_is_read() -> None:
    found = await all_pages(Venue("oldest first").fetch, exchange="any", symbol=None, since=1100)
    assert found == TRADES[10:]


async def test_an_exchange_that_answers_for_a_span_only_is_read_span_by_span() -> None:
    venue = Venue("a span at a time")
    found = await all_pages(venue.fetch, exchange="any", symbol=None, since=0, until=1300, window=50)
    assert found == TRADES


async def test_records_that_move_down_while_pages_are_read_hide_none() -> None:
    venue = Venue("by offset")

    async def busy(*asked: Any) -> Sequence[Unified]:
        page = await venue.fetch(*asked)
        if venue.calls == 2:
            venue.trades += [{"id": f"new-{number}", "timestamp": 5000} for number in range(5)]
        return page

    found = await all_pages(busy, exchange="kraken", symbol=None, since=1000)
    assert [each for each in found if str(each["id"]).startswith("T-")] == TRADES


async def test_an_exchange_that_knows_no_offset_ends_all_the_same() -> None:
    venue = Venue("newest first")
    found = await all_pages(venue.fetch, exchange="kraken", symbol=None, since=1000)
    assert found == TRADES[-5:]
    assert venue.calls == 3


async def test_without_any_there_are_none() -> None:
    assert await all_pages(Venue("oldest first").fetch, exchange="any", symbol=None, since=9999) == []


def test_what_has_no_id_is_kept_as_often_as_one_page_has_it() -> None:
    alike = {"id": None, "order": "O", "amount": 1, "price": 2, "timestamp": 5}
    pages = Pages()
    assert pages.add([alike, alike, {**alike, "price": 3}])
    assert not pages.add([alike])
    assert len(pages.records()) == 3


def test_what_is_told_later_replaces_what_was_told() -> None:
    pages = Pages()
    pages.add([{"id": "O", "status": "open", "timestamp": 5}])
    assert pages.add([{"id": "O", "status": "closed", "timestamp": 5}])
    assert [each["status"] for each in pages.records()] == ["closed"]


def test_records_without_a_time_come_first() -> None:
    pages = Pages()
    pages.add([{"id": "1", "timestamp": 5}, {"id": "2", "timestamp": None}])
    assert [each["id"] for each in pages.records()] == ["2", "1"]
