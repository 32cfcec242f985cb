"""Values for columns: ordinary ones, those at the edge of what a column keeps, and those beyond."""

import string
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Column

from gal_friday.dal.models import Base
from gal_friday.dal.models.types import (
    CalendarDate,
    ClosedSet,
    ExactNumeric,
    Flag,
    Identifier,
    InternetAddress,
    Json,
    LongNumber,
    PlainText,
    TextArray,
    TransactionId,
    UtcDateTime,
    WholeNumber,
)
from tests.contract.hot_path.paths import settable

#: What a format with tabs and backslashes might stumble over, and what is wide in UTF-8.
CHARACTERS = "\t\n\r\\\"'\\N.{}[],; \x01\x7f\x85\u2028ÄßИ中\u200b🚀" + string.ascii_letters + string.digits
ZONES = [
    UTC,
    timezone(timedelta(0)),
    timezone(timedelta(hours=5, minutes=45)),
    timezone(timedelta(hours=-11, minutes=-30, seconds=-17)),
    timezone(timedelta(hours=14)),
]


def texts(length: int | None) -> st.SearchStrategy[str]:
    longest = 40 if length is None else length
    return st.one_of(
        st.text(CHARACTERS, max_size=min(longest, 12)),
        st.sampled_from([text for text in ("", r"\N", r"\.", "NULL", "\\", "\t") if len(text) <= longest]),
        st.just("🚀" * longest),
    )


def decimals(kind: ExactNumeric) -> st.SearchStrategy[Decimal]:
    largest = Decimal((0, (9,) * kind.precision, -kind.scale))
    smallest = Decimal((0, (1,), -kind.scale))
    edges = [
        largest,
        largest.copy_negate(),
        smallest,
        smallest.copy_negate(),
        Decimal("-0"),
        Decimal("-0.00"),
        Decimal("0E+9"),
    ]
    edges += [Decimal("1E+3"), Decimal("1.5E+1"), Decimal("1.2500000000000000000000000000000000000000000")]
    whole = st.integers(-(10 ** (kind.precision - kind.scale)) + 1, 10 ** (kind.precision - kind.scale) - 1)
    parts = st.tuples(st.integers(0, 10**kind.precision - 1), st.integers(0, kind.scale), st.booleans())
    made = parts.map(lambda part: Decimal((int(part[2]), Decimal(part[0]).as_tuple().digits, -kind.scale)))
    return st.one_of(st.sampled_from(edges), made, whole.map(Decimal), st.integers(0, 1000).map(Decimal))


def times() -> st.SearchStrategy[datetime]:
    zoned = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.sampled_from(ZONES))  # noqa: DTZ001 -- hypothesis adds the zone
    edges = [
        datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999998, tzinfo=UTC),
    ]
    return zoned | st.sampled_from(edges)


JSON_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    texts(None),
    st.decimals(allow_nan=False, allow_infinity=False, places=8),
    times(),
)
DOCUMENTS = st.recursive(
    JSON_SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(8), inner, max_size=3),
    max_leaves=6,
)


def documents(kind: Json) -> st.SearchStrategy[Any]:
    if kind.kind == "array":
        return st.lists(DOCUMENTS, max_size=3)
    objects = st.dictionaries(texts(8), DOCUMENTS, max_size=3)
    return objects if kind.kind == "object" else objects | DOCUMENTS


FITTING: list[tuple[type[Any], Callable[[Any], st.SearchStrategy[Any]]]] = [
    (ExactNumeric, decimals),
    (UtcDateTime, lambda _: times()),
    (CalendarDate, lambda _: st.dates(date(1, 1, 2), date(9999, 12, 30))),
    (PlainText, lambda kind: texts(kind.length)),
    (ClosedSet, lambda kind: st.sampled_from([*kind.enum, *map(str, kind.enum)])),
    (Json, documents),
    (TextArray, lambda _: st.lists(texts(None), max_size=3) | st.just(("a", "b"))),
    (Flag, lambda _: st.booleans()),
    (Identifier, lambda _: st.uuids()),
    (InternetAddress, lambda _: st.sampled_from(["127.0.0.1", ip_address("::1"), ip_address("10.0.0.255")])),
    (TransactionId, lambda _: st.integers(0, (1 << 63) - 1)),
    (WholeNumber, lambda _: st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(0, 10)),
    (LongNumber, lambda _: st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 10)),
]


def fitting(kind: Any) -> st.SearchStrategy[Any]:
    """Values a column of this type keeps; a type that is not in the table fails."""
    return next(values for known, values in FITTING if isinstance(kind, known))(kind)


#: West of Greenwich the last moment there is lies beyond it, counted in UTC.
BEYOND_THE_LAST = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))


class Strange:
    """What no column takes."""

    def __repr__(self) -> str:
        return "<strange>"


UNFIT: list[tuple[type[Any], list[Any]]] = [
    (ExactNumeric, [0.1, float("nan"), True, "1", *map(Decimal, ("NaN", "sNaN", "-Infinity"))]),
    (UtcDateTime, [datetime(2026, 1, 1), date(2026, 1, 1), "2026-01-01", 0, BEYOND_THE_LAST]),  # noqa: DTZ001 -- naive
    (CalendarDate, [datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01"]),
    (PlainText, ["a\x00b", "\ud800", 5]),
    (ClosedSet, ["no such member", "", 5]),
    (Json, [{"a": float("nan")}, {"a": Strange()}, {1: 2}, ["\x00"], "\udfff"]),
    (TextArray, ["abc", [1], ["\x00"], ["\ud800"], {"a": 1}]),
    (Flag, [4711, "true"]),
    (Identifier, ["not an id", 5]),
    (InternetAddress, ["10.0.0.0/8", "x", "fe80::1%eth0"]),
    (TransactionId, [-1, 1 << 64, "1", True]),
    (WholeNumber, [1 << 31, -(1 << 31) - 1, 1.0, "1", True]),
    (LongNumber, [1 << 63, -(1 << 63) - 1, 10**400, 1.0, "1", True]),
]


def unfit(kind: Any) -> list[Any]:
    """Values a column of this type refuses."""
    found = [Strange(), b"\x00", *next(values for known, values in UNFIT if isinstance(kind, known))]
    if isinstance(kind, ExactNumeric):
        found += [Decimal((0, (1,), -kind.scale - 1)), Decimal((0, (1,), kind.precision - kind.scale))]
    if isinstance(kind, PlainText) and kind.length is not None:
        found.append("x" * (kind.length + 1))
    return found


def changes_of(model: type[Base], *, keys: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """Some columns of a row with other values, None and not given (...) among them."""
    columns = {name: column for name, column in settable(model).items() if keys or not column.primary_key}

    def value(column: "Column[Any]") -> st.SearchStrategy[Any]:
        fits = fitting(column.type)
        return st.one_of(fits, fits, fits, st.none(), st.just(...))

    names = st.lists(st.sampled_from(sorted(columns)), max_size=4, unique=True)
    return names.flatmap(lambda some: st.fixed_dictionaries({name: value(columns[name]) for name in some}))


def misfits_of(model: type[Base]) -> st.SearchStrategy[dict[str, Any]]:
    """One column of a row with a value it refuses."""
    pairs = [(name, value) for name, column in settable(model).items() for value in unfit(column.type)]
    return st.sampled_from(pairs).map(lambda pair: dict([pair]))


def changed(valid: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a row with some of them changed, and those left out for which ... is given."""
    return {name: value for name, value in {**valid, **changes}.items() if value is not ...}
