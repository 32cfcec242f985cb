"""The fingerprint of an incoming signal: what makes it the same one when it arrives again.

SHA-256, in lower-case hexadecimal, of a JSON array in UTF-8, without whitespace and with only the escapes
JSON demands: the text "gal_friday.signal.1", then account, instrument, type, position or null, price or null,
and time, each as text. A price is written without exponent and trailing zeros, a time in UTC with six digits
of the second: `2026-11-20T12:00:00.000000Z`. Texts count character by character.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gal_friday.dal.detached import column_values
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, SignalLog
from gal_friday.dal.models.types import Money
from gal_friday.errors import InvalidValue
from gal_friday.money import canonical

_FORM = "gal_friday.signal.1"
_TABLE = SignalLog.__tablename__


def signal_fingerprint(signal: SignalLog) -> str:
    """What tells *signal* from every other, however it is spelled.

    A signal that names no account is one of the account 'default'. Raises InvalidValue for a price that is
    not exact, a naive time and a part that is missing.
    """
    return hashlib.sha256(canonical_form(signal).encode()).hexdigest()


def canonical_form(signal: SignalLog) -> str:
    """The text a fingerprint is the hash of. Raises as `signal_fingerprint` does."""
    given = {"account_id": DEFAULT_ACCOUNT_ID, "position": None, "price": None, **column_values(signal)}
    parts = [
        _FORM,
        _text("account_id", given),
        _text("instrument", given),
        _text("signal_type", given),
        None if given["position"] is None else _text("position", given),
        None if given["price"] is None else _price(given["price"]),
        _time(given.get("signal_timestamp")),
    ]
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def _text(column: str, given: Mapping[str, Any]) -> str:
    value = given.get(column)
    if not isinstance(value, str):
        raise InvalidValue("a signal is known by its text", table=_TABLE, column=column, value=value)
    try:
        value.encode()
    except UnicodeEncodeError:
        explanation = "a lone surrogate is not a character"
        raise InvalidValue(explanation, table=_TABLE, column=column, value=value) from None
    return str(value)


def _price(price: Any) -> str:
    try:
        return format(canonical(Money().accept(price)), "f")
    except InvalidValue as error:
        raise InvalidValue(error.explanation, **error.facts, table=_TABLE, column="price") from None


def _time(moment: object) -> str:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        explanation = "a signal is given at a point in time: an aware datetime"
        raise InvalidValue(explanation, table=_TABLE, column="signal_timestamp", value=moment)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
