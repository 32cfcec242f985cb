"""Column types that store a value exactly as it is or refuse it.

PostgreSQL would round an over-long decimal, take NaN for a number and a naive time for a local one, each
without a word. These types raise InvalidValue instead, before anything is sent.
"""

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, Date, DateTime, Dialect, Integer, Numeric, String, Text, types
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from gal_friday.errors import InvalidValue

#: For putting values through these types without a statement.
DIALECT = PGDialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped

JsonKind = Literal["object", "array", "any"]


class ExactNumeric(TypeDecorator[Decimal]):
    """NUMERIC(precision, scale) that refuses what it could not give back unchanged."""

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale, asdecimal=True)
        self.precision = precision
        self.scale = scale

    def accept(self, value: Any) -> Decimal:
        """*value* as the column keeps it. Raises InvalidValue for what it could not give back unchanged."""
        if type(value) is Decimal and self._fits(value):
            return value
        if type(value) is int and self._fits(Decimal(value)):
            return Decimal(value)
        raise InvalidValue(self._problem(value), value=value)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else self.accept(value)

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        return self

    def _fits(self, value: Decimal) -> bool:
        if not value.is_finite():
            return False
        if not value:
            return True
        _, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)  # finite
        surplus = -self.scale - exponent  # decimals beyond the column's: only zeros may stand there
        return value.adjusted() < self.precision - self.scale and (surplus <= 0 or not any(digits[-surplus:]))

    def _problem(self, value: object) -> str:
        if not isinstance(value, Decimal | int) or isinstance(value, bool):
            return f"a {type(value).__name__} is not exact; give a Decimal"
        if isinstance(value, Decimal) and not value.is_finite():
            return "not a finite number"
        return f"does not fit {self.precision - self.scale} digits before and {self.scale} after the point"


class Money(ExactNumeric):
    """NUMERIC(38, 18): an amount, a price or a quantity."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(38, 18)


class Cost(ExactNumeric):
    """NUMERIC(56, 36): an exact sum of price × quantity."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(56, 36)


class Ratio(ExactNumeric):
    """NUMERIC(20, 8): a proportion or a statistic."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(20, 8)


class UtcDateTime(TypeDecorator[datetime]):
    """TIMESTAMPTZ that takes aware datetimes only and gives back UTC."""

    impl = DateTime
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(timezone=True)

    def process_bind_param(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise InvalidValue(f"a {type(value).__name__} is not a point in time", value=value)
        if value.utcoffset() is None:
            raise InvalidValue(
                "a naive datetime names no point in time; give one with a time zone", value=value
            )
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise InvalidValue("beyond the years 1 to 9999, counted in UTC", value=value) from None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


class CalendarDate(TypeDecorator[date]):
    """DATE that refuses datetimes, which would lose their time of day."""

    impl = Date
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> date | None:
        if value is not None and (not isinstance(value, date) or isinstance(value, datetime)):
            raise InvalidValue(f"a {type(value).__name__} is not a date", value=value)
        return value


class PlainText(TypeDecorator[str]):
    """VARCHAR(length) or TEXT holding exactly the characters given."""

    impl = Text
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__()
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return String(self.length) if self.length else Text()

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise InvalidValue(f"a {type(value).__name__} is not text", value=value)
        if problem := _text_problem(value):
            raise InvalidValue(problem, value=value)
        if self.length is not None and len(value) > self.length:
            raise InvalidValue(f"{len(value)} characters are more than {self.length}", value=value)
        return value


class ClosedSet(TypeDecorator[StrEnum]):
    """VARCHAR holding the values of one StrEnum; its CHECK is declared with the table (models_base.py)."""

    impl = String
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        self.enum = enum
        super().__init__(max(20, *(len(member) for member in enum)))

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None or type(value) is self.enum:
            return value
        try:
            return self.enum(value).value
        except ValueError:
            accepted = ", ".join(self.enum)
            raise InvalidValue(f"not one of {accepted}", value=value, enum=self.enum.__name__) from None

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.enum(value)


class Json(TypeDecorator[Any]):
    """JSONB of one kind; decimals, times and ids inside are stored as their exact text.

    Its CHECK on `jsonb_typeof` is declared with the table (models_base.py).
    """

    impl = JSONB
    cache_ok = True

    def __init__(self, kind: JsonKind = "object") -> None:
        super().__init__(none_as_null=True)
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        try:
            return _of_kind(self.kind, value)
        except InvalidValue as error:
            error.argument = value
            raise


class TextArray(TypeDecorator[list[str]]):
    """TEXT[] of plain text."""

    impl = ARRAY(Text)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> list[str] | None:
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise InvalidValue("give a list of texts", value=value)
        for item in value:
            if problem := _text_problem(item):
                raise InvalidValue(problem, value=value)
        return list(value)


class AnyWholeNumber(TypeDecorator[int]):
    """What whole numbers share."""

    impl = Integer
    cache_ok = True
    bits = 32

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        if value is None:
            return None
        if type(value) is not int:
            raise InvalidValue(f"a {type(value).__name__} is not a whole number", value=value)
        if not -(1 << self.bits - 1) <= value < 1 << self.bits - 1:
            raise InvalidValue(f"does not fit {self.bits} bits", value=value)
        return value


class WholeNumber(AnyWholeNumber):
    """INTEGER."""

    cache_ok = True


class LongNumber(AnyWholeNumber):
    """BIGINT."""

    impl = BigInteger
    cache_ok = True
    bits = 64


class Flag(TypeDecorator[bool]):
    """BOOLEAN that takes True and False only."""

    impl = types.Boolean
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bool | None:
        if value is not None and type(value) is not bool:
            raise InvalidValue(f"a {type(value).__name__} is neither True nor False", value=value)
        return value


class Identifier(TypeDecorator[UUID]):
    """UUID."""

    impl = types.Uuid
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> UUID | None:
        if value is not None and not isinstance(value, UUID):
            raise InvalidValue(f"a {type(value).__name__} is not a UUID", value=value)
        return value


class InternetAddress(TypeDecorator[IPv4Address | IPv6Address]):
    """INET holding one address, without a network."""

    impl = INET
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> IPv4Address | IPv6Address | None:
        if value is None:
            return None
        if not isinstance(value, str | IPv4Address | IPv6Address):
            raise InvalidValue(f"a {type(value).__name__} is not an internet address", value=value)
        try:
            address = ip_address(value)
        except ValueError:
            raise InvalidValue("not an internet address", value=value) from None
        if isinstance(address, IPv6Address) and address.scope_id:
            raise InvalidValue("PostgreSQL stores no scope of an address", value=value)
        return address


class Xid8(types.UserDefinedType[int]):
    """PostgreSQL's xid8."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


class TransactionId(TypeDecorator[int]):
    """xid8: a transaction's id, 64 bits without a sign, never wrapping around."""

    impl = Xid8
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        if value is not None and type(value) is not int:
            raise InvalidValue(f"a {type(value).__name__} is not a transaction id", value=value)
        if value is not None and not 0 <= value < 1 << 64:
            raise InvalidValue("does not fit 64 bits without a sign", value=value)
        return value


def dumps(value: Any) -> str:
    """JSON for PostgreSQL, compact, refusing NaN and Infinity."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> Any:
    """What PostgreSQL has kept as JSON."""
    return {} if text == "{}" else json.loads(text)  # most documents of a row are empty


def _text_problem(text: str) -> str | None:
    if "\x00" in text:
        return "PostgreSQL stores no NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "a lone surrogate is not a character"
    return None


def _of_kind(kind: JsonKind, value: Any) -> Any:
    if (kind == "object" and not isinstance(value, dict)) or (
        kind == "array" and not isinstance(value, list | tuple)
    ):
        raise InvalidValue(f"a {type(value).__name__} is not a JSON {kind}")
    return _jsonable(value, "$")


def _jsonable(value: Any, path: str) -> Any:
    """*value* as JSON keeps it; *path* says where in the document it stands, as JSONPath does."""
    match value:
        case dict():
            return {_json_key(key, path): _jsonable(item, f"{path}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [_jsonable(item, f"{path}[{index}]") for index, item in enumerate(value)]
        case None | bool() | int():
            return value
        case _:
            return _json_scalar(value, path)


def _json_scalar(value: Any, path: str) -> str | float:
    match value:
        case str() if problem := _text_problem(value):
            raise InvalidValue(problem, at=path, value=value)
        case Decimal() if not value.is_finite():
            raise InvalidValue("JSON has no NaN and no Infinity", at=path, value=value)
        case float() if not math.isfinite(value):
            raise InvalidValue("JSON has no NaN and no Infinity", at=path, value=value)
        case datetime() if value.utcoffset() is None:
            raise InvalidValue("a naive datetime names no point in time", at=path, value=value)
        case float():
            return value
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.astimezone(UTC).isoformat()
        case str() | date() | UUID():
            return str(value)
        case _:
            raise InvalidValue(f"JSON has no form for a {type(value).__name__}", at=path, value=value)


def _json_key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise InvalidValue("a JSON object's keys are text", at=path, value=key)
    if problem := _text_problem(key):
        raise InvalidValue(problem, at=path, value=key)
    return str(key)
