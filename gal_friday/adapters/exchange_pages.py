"""Pages of an exchange put together: every record once, whichever way the exchange pages."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gal_friday.adapters.exchange_api import Unified

#: A page: symbol, since in milliseconds, limit, params.
Fetch = Callable[[str | None, int | None, int | None, dict[str, Any]], Awaitable[Sequence[Unified]]]

#: Exchanges that give the newest records first and older ones by an offset, under this parameter.
OFFSET_PARAMETERS: Mapping[str, str] = {"kraken": "ofs"}

_PAGES_WITHOUT_NEWS = 2


class Pages:
    """Records of several pages; those with an id once, those without as often as one page has them alike."""

    def __init__(self) -> None:
        self._by_id: dict[tuple[object, ...], Unified] = {}
        self._nameless: dict[tuple[object, ...], list[Unified]] = {}

    def add(self, page: Sequence[Unified]) -> bool:
        """Take a page; whether there was anything new in it."""
        known = len(self)
        alike: Counter[tuple[object, ...]] = Counter()
        changed = False
        for record in page:
            if record.get("id") not in {None, ""}:
                # What is told later is the newer; trades of different orders may share an id.
                key: tuple[object, ...] = (record.get("symbol"), record.get("order"), record["id"])
                changed |= self._by_id.get(key) != record
                self._by_id[key] = record
                continue
            key = tuple(
                record.get(name) for name in ("symbol", "order", "side", "amount", "price", "timestamp")
            )
            alike[key] += 1
            if alike[key] > len(self._nameless.setdefault(key, [])):
                self._nameless[key].append(record)
        return changed or len(self) > known

    def __len__(self) -> int:
        return len(self._by_id) + sum(map(len, self._nameless.values()))

    def records(self) -> list[Unified]:
        """All of them, oldest first."""
        nameless = [record for alike in self._nameless.values() for record in alike]
        return sorted([*self._by_id.values(), *nameless], key=_time_of)


async def all_pages(
    fetch: Fetch,
    *,
    exchange: str,
    symbol: str | None,
    since: int,
    until: int | None = None,
    window: int | None = None,
) -> list[Unified]:
    """Every record from *since* on (up to *until* where given), oldest first; in milliseconds.

    Where the exchange pages by offset, page after page until an empty one. Elsewhere forward from the newest
    time seen and back from the oldest one, each overlapping what is known by that instant, until nothing new
    comes: so exchanges that give the oldest first and those that give the newest first are both read whole.
    An exchange that answers for a limited span only is read in spans of *window*, which needs *until*.
    """
    pages = Pages()
    if window is not None and until is not None:
        for start in range(since, until, window):
            await _read(pages, fetch, exchange, (symbol, start, min(start + window, until)))
    else:
        await _read(pages, fetch, exchange, (symbol, since, None))
    return pages.records()


async def _read(pages: Pages, fetch: Fetch, exchange: str, what: tuple[str | None, int, int | None]) -> None:
    symbol, since, until = what
    ending = {} if until is None else {"until": until}
    if (offset_parameter := OFFSET_PARAMETERS.get(exchange)) is not None:
        offset = pages_without_news = 0
        # One page without news may be what new records have moved down; two are an exchange without offsets.
        while pages_without_news < _PAGES_WITHOUT_NEWS and (
            page := await fetch(symbol, since, None, {**ending, offset_parameter: offset})
        ):
            pages_without_news = 0 if pages.add(page) else pages_without_news + 1
            offset += len(page)
        return
    page = await fetch(symbol, since, None, dict(ending))
    pages.add(page)
    oldest = page
    while page and (newest := max(map(_time_of, page))) >= since:
        page = await fetch(symbol, newest, None, dict(ending))
        if not pages.add(page):
            break
    while oldest and (earliest := min(map(_time_of, oldest))) > since:
        oldest = await fetch(symbol, since, None, {"until": earliest})
        if not pages.add(oldest):
            break


def _time_of(record: Unified) -> int:
    time = record.get("timestamp")
    return int(time) if isinstance(time, int | float) else 0
