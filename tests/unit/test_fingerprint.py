"""The fingerprint of a signal: the same for what is the same, another for what is not."""

import hashlib
import json
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gal_friday.dal.models import SignalLog
from gal_friday.errors import InvalidValue
from gal_friday.state.fingerprint import canonical_form, signal_fingerprint
from tests.factories import NOON, a_signal_log

PAGE = Path(__file__).parents[2] / "docs" / "state-manager.md"

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
PRICES = st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19)
TIMES = st.integers(0, 10**16).map(lambda count: NOON + timedelta(microseconds=count))
SIGNALS = st.fixed_dictionaries(
    {
        "account_id": TEXTS,
        "instrument": TEXTS,
        "signal_type": TEXTS,
        "position": st.none() | TEXTS,
        "price": st.none() | PRICES,
        "signal_timestamp": TIMES,
    }
)


def a_raw_signal(**overrides: Any) -> SignalLog:
    return a_signal_log(**{"price": Decimal(72_000), "position": "Long_1", **overrides})


def by_hand(signal: dict[str, Any]) -> str:
    """The fingerprint as the documentation describes it, without the code under test."""

    def quoted(text: str | None) -> str:
        if text is None:
            return "null"
        escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
        characters = (
            escapes.get(character) or (f"\\u{ord(character):04x}" if character < " " else character)
            for character in text
        )
        return '"' + "".join(characters) + '"'

    price = signal["price"]
    if price is not None:
        whole, _, decimals = f"{price:f}".partition(".")
        price = f"{whole}.{decimals}".rstrip("0").rstrip(".")
        price = "0" if not Decimal(price) else price
    time = signal["signal_timestamp"]
    parts = [
        "gal_friday.signal.1",
        signal["account_id"],
        signal["instrument"],
        signal["signal_type"],
        signal["position"],
        price,
        f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond:06}Z",
    ]
    return hashlib.sha256(f"[{','.join(map(quoted, parts))}]".encode()).hexdigest()


def test_the_worked_example_of_the_documentation_is_true() -> None:
    page = PAGE.read_text(encoding="utf-8")
    form = re.search(r"^    (\[\"gal_friday\.signal\.1\".*\])$", page, re.MULTILINE)
    digest = re.search(r"^    ([0-9a-f]{64})$", page, re.MULTILINE)
    assert form is not None
    assert digest is not None
    assert hashlib.sha256(form[1].encode()).hexdigest() == digest[1]
    _, account_id, instrument, signal_type, position, price, time = json.loads(form[1])
    signal = SignalLog(
        account_id=account_id,
        instrument=instrument,
        signal_type=signal_type,
        position=position,
        price=Decimal(price),
        signal_timestamp=datetime.fromisoformat(time),
    )
    assert canonical_form(signal) == form[1]
    assert signal_fingerprint(signal) == digest[1]


@settings(deadline=None)
@given(SIGNALS)
def test_it_is_what_the_documentation_says(signal: dict[str, Any]) -> None:
    assert signal_fingerprint(SignalLog(**signal)) == by_hand(signal)


@settings(deadline=None)
@given(SIGNALS, st.integers(0, 6), st.integers(-14 * 60, 14 * 60))
def test_the_same_signal_spelled_differently_has_the_same(
    signal: dict[str, Any], zeros: int, offset_minutes: int
) -> None:
    elsewhere = timezone(timedelta(minutes=offset_minutes))
    again = {**signal, "signal_timestamp": signal["signal_timestamp"].astimezone(elsewhere)}
    if signal["price"] is not None:
        sign, digits, exponent = signal["price"].as_tuple()
        again["price"] = Decimal((sign, (*digits, *[0] * zeros), exponent - zeros))
    assert signal_fingerprint(SignalLog(**again)) == signal_fingerprint(SignalLog(**signal))


@settings(deadline=None)
@given(SIGNALS, SIGNALS, st.data())
def test_a_signal_that_differs_in_one_part_has_another(
    signal: dict[str, Any], other: dict[str, Any], data: st.DataObject
) -> None:
    part = data.draw(st.sampled_from(sorted(signal)))
    changed = {**signal, part: other[part]}
    is_the_same = changed[part] == signal[part]
    same_fingerprint = signal_fingerprint(SignalLog(**changed)) == signal_fingerprint(SignalLog(**signal))
    assert same_fingerprint == is_the_same


@pytest.mark.parametrize("price", ["10000", "1E+4", "10000.00", "010000.000000000000000000"])
def test_a_price_has_one_spelling(price: str) -> None:
    expected = signal_fingerprint(a_raw_signal(price=Decimal(10_000)))
    assert signal_fingerprint(a_raw_signal(price=Decimal(price))) == expected
    assert '"10000"' in canonical_form(a_raw_signal(price=Decimal(price)))


def test_parts_do_not_run_into_each_other() -> None:
    first = a_raw_signal(instrument="GOLD", signal_type="MINI_ENTRY")
    second = a_raw_signal(instrument="GOLD_MINI", signal_type="ENTRY")
    quoting = a_raw_signal(instrument='GOLD","MINI', signal_type="ENTRY")
    assert len({signal_fingerprint(signal) for signal in (first, second, quoting)}) == 3


def test_no_position_is_not_an_empty_one() -> None:
    assert signal_fingerprint(a_raw_signal(position=None)) != signal_fingerprint(a_raw_signal(position=""))


def test_what_surrounds_a_signal_is_no_part_of_it() -> None:
    bare = a_raw_signal()
    received = a_raw_signal(received_at=NOON, payload={"raw": 1}, processed_by="engine-1", duplicate_count=4)
    assert signal_fingerprint(received) == signal_fingerprint(bare)


def test_a_signal_that_names_no_account_is_one_of_the_default_account() -> None:
    assert signal_fingerprint(a_raw_signal(account_id="default")) == signal_fingerprint(a_raw_signal())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("price", 72_000.0),
        ("price", Decimal("NaN")),
        ("price", Decimal("1e-19")),
        ("signal_timestamp", datetime(2026, 11, 20, 12)),  # noqa: DTZ001 -- the point of it
        ("signal_timestamp", "2026-11-20T12:00:00Z"),
        ("signal_timestamp", None),
        ("instrument", None),
        ("instrument", "\ud800"),
        ("signal_type", 7),
        ("position", 1),
        ("account_id", None),
    ],
)
def test_what_is_not_exact_has_none(column: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        signal_fingerprint(a_raw_signal(**{column: value}))
    assert caught.value.facts["table"] == "signal_log"
    assert caught.value.facts["column"] == column
