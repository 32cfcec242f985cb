"""Single values of ccxt's structures, read exactly or refused with their place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from gal_friday.errors import NotUnderstood
from gal_friday.money import MONEY_DECIMALS, canonical

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_ID = 100


@dataclass(frozen=True, slots=True)
class Record:
    """One of an exchange's records, and how to speak of it."""

    exchange: str
    kind: str
    fields: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        value = self.fields.get("id")
        return None if value in {None, ""} else str(value)

    def refuse(self, field: str, explanation: str) -> NotUnderstood:
        """The error that says which field of which record is meant, and what it holds."""
        value: Any = self.fields
        for name in field.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return NotUnderstood(
            explanation,
            exchange=self.exchange,
            record=self.kind,
            id=self.id,
            field=field,
            value="none" if value is None else repr(value)[:200],
        )

    def text(self, field: str) -> str | None:
        """An id or a name; None where there is none."""
        value = self.fields.get(field)
        if value is None or value == "":
            return None
        is_name = isinstance(value, str | int) and not isinstance(value, bool)
        if not is_name or len(str(value)) > _LONGEST_ID or not str(value).isprintable():
            raise self.refuse(field, "is no name of at most 100 characters")
        return str(value)

    def amount(self, field: str) -> Decimal | None:
        """A number as money; None where there is none."""
        try:
            return exact_decimal(self.fields.get(field))
        except ValueError as error:
            raise self.refuse(field, str(error)) from None

    def positive(self, field: str) -> Decimal:
        """A number above zero that has to be there."""
        value = self.amount(field)
        if value is None or value <= 0:
            raise self.refuse(field, "has to be more than zero")
        return value

    def time(self, field: str) -> datetime | None:
        """Milliseconds since 1970 as aware UTC; None where there are none."""
        value = self.fields.get(field)
        if value is None:
            return None
        try:
            milliseconds = exact_decimal(value)
            assert milliseconds is not None
            return _EPOCH + timedelta(microseconds=int(milliseconds.scaleb(3)))
        except (ValueError, OverflowError):
            raise self.refuse(field, "is no time in milliseconds") from None


def exact_decimal(value: object) -> Decimal | None:
    """A number as ccxt gives it: text, a whole number, a Decimal, or a float by its shortest exact spelling.

    >>> exact_decimal(57.638), exact_decimal("0.10"), exact_decimal(None)
    (Decimal('57.638'), Decimal('0.1'), None)

    Raises ValueError for what is no number, not finite, or too long for a money column.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("is no number")  # noqa: TRY004 -- one error for whatever is no number
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("is no number") from None
    if not number.is_finite():
        raise ValueError("is not a finite number")
    digits = canonical(number) if -60 < number.adjusted() < 20 else None
    if number and (digits is None or -_exponent(digits) > MONEY_DECIMALS):
        raise ValueError("has more than 20 digits before or 18 after the point")
    return digits if number else Decimal(0)


def plain(value: object) -> Any:
    """*value* as a JSON column can hold it: what JSON has no form for becomes text."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case _:
            return str(value).replace("\0", "\\0").encode(errors="replace").decode()


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # finite
    return exponent
