"""Facts out of several logs, in the order they were heard."""

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from gal_friday.dal.journal.facts import heard_at
from gal_friday.durable_log.log import DurableLog
from gal_friday.durable_log.segments import Record

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Waiting(NamedTuple):
    """A record, the log it waits in, and when it was heard."""

    heard_at: datetime
    log: DurableLog
    record: Record


async def first_of(logs: Sequence[DurableLog], limit: int) -> Sequence[Waiting]:
    """At most *limit* of what waits in *logs*, by the time it was heard; that of one log in its own order.

    Raises what reading a log does.
    """
    found = [(each, await each.read(limit=limit)) for each in logs if each.pending]
    return list(islice(heapq.merge(*(_timed(*each) for each in found), key=attrgetter("heard_at")), limit))


def _timed(log: DurableLog, records: Sequence[Record]) -> Iterator[Waiting]:
    """What says no time, or one before that of its predecessor, comes right after it."""
    latest = _LONG_AGO
    for record in records:
        latest = max(latest, heard_at(record.payload) or _LONG_AGO)
        yield Waiting(latest, log, record)
