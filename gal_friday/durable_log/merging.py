"""Records out of several logs, in the order they were made."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from gal_friday.durable_log.log import DurableLog
from gal_friday.durable_log.segments import Record

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

#: When a payload was made, None where it does not say.
TimeOf = Callable[[bytes], datetime | None]


class Waiting(NamedTuple):
    """A record, the log it waits in, and when it was made."""

    made_at: datetime
    log: DurableLog
    record: Record


async def first_of(logs: Sequence[DurableLog], limit: int, time_of: TimeOf) -> Sequence[Waiting]:
    """At most *limit* of what waits in *logs*, by the time it was made; that of one log in its own order.

    Raises what reading a log does.
    """
    found = [(each, await each.read(limit=limit)) for each in logs if each.pending]
    timed = (_timed(log, records, time_of) for log, records in found)
    return list(islice(heapq.merge(*timed, key=attrgetter("made_at")), limit))


def _timed(log: DurableLog, records: Sequence[Record], time_of: TimeOf) -> Iterator[Waiting]:
    """What says no time, or one before that of its predecessor, comes right after it."""
    latest = _LONG_AGO
    for record in records:
        latest = max(latest, time_of(record.payload) or _LONG_AGO)
        yield Waiting(latest, log, record)
