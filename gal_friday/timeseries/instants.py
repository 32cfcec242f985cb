"""Nanoseconds since 1970 in UTC, and datetimes, which stop at microseconds."""

from datetime import UTC, datetime, timedelta

from gal_friday.errors import InvalidValue

#: An aware datetime, or nanoseconds since 1970-01-01 in UTC.
Instant = datetime | int

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What InfluxDB can keep: the years 1677 to 2262.
_LIMIT = 2**63 - 2


def nanoseconds(at: Instant) -> int:
    """*at* in nanoseconds since 1970. Raises InvalidValue for a naive datetime, or one out of reach."""
    if type(at) is int:
        ns = at
    elif not isinstance(at, datetime):
        raise InvalidValue(f"a {type(at).__name__} is not a point in time", value=at)
    elif at.tzinfo is not UTC and at.utcoffset() is None:
        raise InvalidValue("a naive datetime names no point in time; give one with a time zone", value=at)
    else:
        since = at - _EPOCH
        ns = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
    if not -_LIMIT <= ns <= _LIMIT:
        raise InvalidValue("out of the years 1677 to 2262", value=at)
    return ns


def moment(ns: int) -> datetime:
    """The microsecond *ns* is in, as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=ns // 1_000)


def span(start: Instant, end: Instant) -> tuple[int, int]:
    """From *start* up to, not including, *end*. Raises InvalidValue where nothing is between them."""
    first, beyond = nanoseconds(start), nanoseconds(end)
    if first >= beyond:
        raise InvalidValue("nothing is between them: give start before end", start=start, end=end)
    return first, beyond
