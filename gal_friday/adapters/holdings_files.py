"""Files that say what an account holds.

JSON: `{"at": "2026-11-20T12:00:00Z", "balances": {"USD": "10000"}, "positions": [{"pair": "BTC/USD",
"side": "LONG", "quantity": "0.5", "entry_price": "60000", "time": "…", "strategy": "…"}]}`.
CSV: the same columns, and `currency` and `balance`; a line is either a balance or a position.
`at`, `time` and `strategy` may be absent.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from gal_friday.adapters.ccxt_values import exact_decimal
from gal_friday.adapters.holdings import HeldPosition, Holdings
from gal_friday.adapters.pairs import canonical_pair
from gal_friday.dal.models.enums import InstrumentKind, PositionSide
from gal_friday.errors import UnreadableFile
from gal_friday.money import ZERO, exact

_POSITION = {"pair", "side", "quantity", "entry_price", "time", "strategy", "kind", "contract_multiplier"}
_BALANCE = {"currency", "balance"}


def read_holdings(path: Path) -> Holdings:
    """What the file says is held, exactly as it is written.

    Raises UnreadableFile naming the file, the entry and the field: neither JSON nor CSV, an unknown column, a
    number that is none, a time without a zone, the same currency twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UnreadableFile(error.strerror or "cannot be opened", file=str(path)) from None
    except UnicodeDecodeError as error:
        raise UnreadableFile("is not UTF-8 text", file=str(path), byte=error.start) from None
    entries, at = _of_json(path, text) if text.lstrip().startswith("{") else (list(_of_csv(path, text)), None)
    moment = at or datetime.now(UTC)
    balances: dict[str, Decimal] = {}
    positions: list[HeldPosition] = []
    for place, entry in entries:
        read = _Entry(path, place, entry)
        if entry.get("currency"):
            if read.text("currency") in balances:
                raise read.refuse("currency", "is given twice")
            balances[read.text("currency")] = read.number("balance")
        else:
            positions.append(read.position(moment))
    with exact():
        held = {currency: amount + ZERO for currency, amount in balances.items() if amount}
    return Holdings(moment, held, positions)


class _Entry:
    """One balance or position of a file."""

    def __init__(self, path: Path, place: str, fields: Mapping[str, Any]) -> None:
        self._path = path
        self._place = place
        self._fields = fields
        columns = _POSITION | _BALANCE
        for unknown in sorted(name for name in fields if name not in columns):
            raise self.refuse(unknown, "is no column; there are " + ", ".join(sorted(columns)))

    def refuse(self, field: str, explanation: str) -> UnreadableFile:
        return UnreadableFile(
            f"{field} {explanation}",
            file=str(self._path),
            entry=self._place,
            value=None if self._fields.get(field) is None else str(self._fields[field])[:80],
        )

    def text(self, field: str) -> str:
        value = self._fields.get(field)
        if not isinstance(value, str) or not value:
            raise self.refuse(field, "is missing")
        return value

    def number(self, field: str) -> Decimal:
        try:
            value = exact_decimal(self._fields.get(field))
        except ValueError as error:
            raise self.refuse(field, str(error)) from None
        if value is None:
            raise self.refuse(field, "is missing")
        return value

    def position(self, at: datetime) -> HeldPosition:
        side = self.text("side").upper()
        if side not in PositionSide.__members__:
            raise self.refuse("side", "is neither LONG nor SHORT")
        kind = str(self._fields.get("kind") or InstrumentKind.SPOT).upper()
        if kind not in InstrumentKind.__members__:
            raise self.refuse("kind", "is none of " + ", ".join(InstrumentKind))
        quantity, entry_price = self.number("quantity"), self.number("entry_price")
        for field, value in (("quantity", quantity), ("entry_price", entry_price)):
            if value <= 0:
                raise self.refuse(field, "has to be more than zero")
        given_time = self._fields.get("time")
        return HeldPosition(
            trading_pair=self._pair(),
            side=PositionSide(side),
            quantity=quantity,
            entry_price=entry_price,
            opened_at=point_in_time(self, "time", given_time) if given_time else at,
            strategy_id=self._fields.get("strategy") or None,
            kind=InstrumentKind(kind),
            contract_multiplier=(
                self.number("contract_multiplier") if self._fields.get("contract_multiplier") else Decimal(1)
            ),
        )

    def _pair(self) -> str:
        pair = self.text("pair")
        if "/" not in pair:  # which part is the base would be a guess
            raise self.refuse("pair", "is no trading pair; write BASE/QUOTE")
        return pair if ":" in pair else canonical_pair(pair)


def point_in_time(entry: _Entry, field: str, value: object) -> datetime:
    """An ISO 8601 time with its zone, in UTC."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise entry.refuse(field, "is no ISO 8601 time") from None
    if moment.utcoffset() is None:
        raise entry.refuse(field, "has no zone; write …Z for UTC")
    return moment.astimezone(UTC)


def _of_json(path: Path, text: str) -> tuple[list[tuple[str, Mapping[str, Any]]], datetime | None]:
    try:
        content = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise UnreadableFile(f"is no JSON: {error}", file=str(path)) from None
    unknown = content.keys() - {"at", "balances", "positions"}
    if unknown:
        raise UnreadableFile(f"{min(unknown)} is none of at, balances, positions", file=str(path))
    balances, positions = content.get("balances", {}), content.get("positions", [])
    if not isinstance(balances, dict) or not isinstance(positions, list):
        raise UnreadableFile("balances is an object, positions a list", file=str(path))
    entries: list[tuple[str, Mapping[str, Any]]] = [
        (f"balances.{currency}", {"currency": currency, "balance": amount})
        for currency, amount in balances.items()
    ]
    for number, position in enumerate(positions):
        if not isinstance(position, dict):
            raise UnreadableFile("a position is an object", file=str(path), entry=f"positions[{number}]")
        entries.append((f"positions[{number}]", position))
    given_at = content.get("at")
    at = None if given_at is None else point_in_time(_Entry(path, "at", {}), "at", given_at)
    return entries, at


def _of_csv(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows: Iterable[dict[str | None, Any]] = csv.DictReader(io.StringIO(text))
    for number, row in enumerate(rows, 2):
        if None in row:
            raise UnreadableFile("has more cells than columns", file=str(path), entry=f"line {number}")
        yield f"line {number}", {str(name).strip(): (cell or "").strip() for name, cell in row.items()}
