"""The checks, each a pure function of the situation: what is allowed, what it would be, whether it is met."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from gal_friday.dal.models.enums import RiskScope, Side
from gal_friday.money import ZERO, ratio_rounded
from gal_friday.services.risk.books import Book
from gal_friday.services.risk.situation import Limits, Situation, spelled


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found. *value* is None where nobody can tell, which is not passed.

    *largest_quantity* is the quantity, in contracts, that would pass; None where none would.
    """

    check: str
    limit: Decimal | int | None
    value: Decimal | int | None
    passed: bool
    scope: str = "CUSTOM"
    key: str | None = None
    largest_quantity: Decimal | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For a JSON column."""
        return {
            "check": self.check,
            "scope": self.scope,
            "key": self.key,
            "limit": spelled(self.limit),
            "value": spelled(self.value),
            "passed": self.passed,
        }

    def explanation(self) -> str:
        """Why it is not passed, for a person."""
        if self.reason is not None:
            return self.reason
        value = "cannot be told" if self.value is None else f"would be {spelled(self.value)}"
        whose = "" if self.key is None else f" of {self.scope} {self.key}"
        return f"{self.check}{whose} is {spelled(self.limit)}, it {value}"


#: A check of one's own: given the situation, what it found.
Check = Callable[[Situation], CheckResult]


def halt(situation: Situation) -> CheckResult:
    """Nothing new is intended in a halted account, or by a halted strategy."""
    signal = situation.signal
    keys = {RiskScope.ACCOUNT: signal.account_id, RiskScope.STRATEGY: signal.strategy_id}
    scope = next((scope for scope in keys if situation.halts[scope] is not None), RiskScope.ACCOUNT)
    reason = situation.halts[scope]
    return CheckResult(
        "halt",
        None,
        None,
        passed=reason is None,
        scope=scope.value,
        key=keys[scope],
        reason=reason and f"the {scope.value.lower()} is halted: {reason}",
    )


def limit_checks(situation: Situation, limits: Limits) -> Iterator[CheckResult]:
    """The checks *limits* ask for."""
    if limits.max_position_quantity is not None:
        yield _position_quantity(situation, limits, limits.max_position_quantity)
    if limits.max_notional is not None:
        yield _notional(situation, limits, "max_notional", limits.max_notional)
    if limits.max_leverage is not None:
        yield _leverage(situation, limits, limits.max_leverage)
    if limits.max_open_positions is not None:
        yield _open_positions(situation, limits, limits.max_open_positions)
    if limits.max_daily_loss is not None:
        yield _daily_loss(situation, limits, limits.max_daily_loss)
    if limits.max_drawdown is not None:
        yield _drawdown(situation, limits, limits.max_drawdown)


def min_notional(situation: Situation, quantity: Decimal) -> Iterator[CheckResult]:
    """Whether *quantity* is worth what the exchange asks for, where it asks for anything."""
    least = situation.instrument.min_notional
    if least is not None:
        value = quantity * situation.instrument.multiplier * situation.price
        yield CheckResult(
            "min_notional",
            least,
            value,
            passed=value >= least,
            scope="PAIR",
            key=situation.pair.trading_pair,
            reason=f"{situation.pair.exchange} takes orders from {spelled(least)} {situation.currency} on,"
            f" this is {spelled(value)}",
        )


def _position_quantity(situation: Situation, limits: Limits, limit: Decimal) -> CheckResult:
    def measured(book: Book) -> Decimal | None:
        return book.exposure.units

    trading_pair = situation.pair.trading_pair
    others = [book for book in situation.others(limits) if book.pair.trading_pair == trading_pair]
    room = situation.book.units_within
    return _sized(situation, limits, _Size("max_position_quantity", limit, others, measured, room))


def _notional(situation: Situation, limits: Limits, check: str, limit: Decimal) -> CheckResult:
    def measured(book: Book) -> Decimal | None:
        return book.exposure.value

    def room(side: Side, most: Decimal) -> Decimal:
        return situation.book.units_worth(side, situation.price, most)

    others = [book for book in situation.others(limits) if book.currency == situation.currency]
    return _sized(situation, limits, _Size(check, limit, others, measured, room))


def _leverage(situation: Situation, limits: Limits, limit: Decimal) -> CheckResult:
    equity = situation.equity
    found = _notional(situation, limits, "max_leverage", limit * max(equity, ZERO))
    leverage = None
    if isinstance(found.value, Decimal) and equity > 0:
        leverage = ratio_rounded(found.value, equity)
    reason = None if equity > 0 else f"there is no equity in {situation.currency} to lever"
    return replace(found, limit=limit, value=leverage, reason=reason)


@dataclass(frozen=True, slots=True)
class _Size:
    """What *measured* gives for the books covered, added up; *room* is how many units more a rest leaves."""

    check: str
    limit: Decimal
    others: Sequence[Book]
    measured: Callable[[Book], Decimal | None]
    room: Callable[[Side, Decimal], Decimal]


def _sized(situation: Situation, limits: Limits, size: _Size) -> CheckResult:
    rest = _total(size.measured(book) for book in size.others)
    now = _total([rest, size.measured(situation.book)])
    value = _total([rest, size.measured(situation.ordering(situation.quantity))])
    largest = None
    if rest is not None and now is not None and now <= size.limit:
        room = situation.contracts(size.room(situation.side, size.limit - rest))
        largest = min(room, situation.quantity)
    return CheckResult(
        size.check,
        size.limit,
        value,
        passed=value is not None and value <= size.limit,
        scope=limits.scope.value,
        key=limits.key,
        largest_quantity=largest,
    )


def _open_positions(situation: Situation, limits: Limits, limit: int) -> CheckResult:
    others = sum(book.counts() for book in situation.others(limits))
    value = others + situation.ordering(situation.quantity).counts()
    return CheckResult(
        "max_open_positions",
        limit,
        value,
        passed=value <= limit or situation.book.counts(),
        scope=limits.scope.value,
        key=limits.key,
    )


def _daily_loss(situation: Situation, limits: Limits, limit: Decimal) -> CheckResult:
    loss = -situation.day_result(limits)
    return CheckResult(
        "max_daily_loss", limit, loss, passed=loss <= limit, scope=limits.scope.value, key=limits.key
    )


def _drawdown(situation: Situation, limits: Limits, limit: Decimal) -> CheckResult:
    peak, drawdown = situation.peak_equity, situation.drawdown
    part = ratio_rounded(drawdown, peak) if peak > 0 else None
    return CheckResult(
        "max_drawdown",
        limit,
        part if drawdown else ZERO,
        passed=drawdown <= limit * max(peak, ZERO),
        scope=limits.scope.value,
        key=limits.key,
    )


def _total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
