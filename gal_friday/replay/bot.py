"""The bot: what it does with a candle, all of it in the transaction it is given."""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any

from gal_friday.adapters.candle_rows import CandleRow
from gal_friday.dal.models import (
    EntryType,
    Log,
    Order,
    OrderStatus,
    OrderType,
    RiskVerdict,
    Severity,
    Side,
    Signal,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import ZERO, amount_rounded, canonical, exact, quantity_rounded_down
from gal_friday.replay.books import Books
from gal_friday.replay.progress import Progress
from gal_friday.replay.run import Run
from gal_friday.replay.strategy import Crossing
from gal_friday.services import PortfolioManager, RiskManager
from gal_friday.services.risk.checks import Check, CheckResult

_FIRST_PART = Decimal("0.6")  # of an order filled in two


class Bot:
    """Trades one run within one transaction.

    *progress* is where it stands; *logs* are left to whoever ends the transaction to store.
    """

    def __init__(self, uow: UnitOfWork, run: Run, books: Books, progress: Progress) -> None:
        self.progress = progress
        self.logs: list[Log] = []
        self._uow = uow
        self._run = run
        self._books = books
        self._portfolio = PortfolioManager(run.name)

    async def on_candle(self, candle: CandleRow) -> None:
        """Fill what was ordered before, look at the averages, order what follows from them."""
        before = self.progress
        had_position = self._books.position is not None
        if self._books.order is not None:
            await self._fill(self._books.order, candle)
        averages, crossing = self._run.strategy.after(before.averages, candle.close)
        if crossing is Crossing.UP:
            await self._buy(candle)
        elif crossing is Crossing.DOWN and self._books.position is not None:
            await self._sell(candle, self._books.position.quantity)
        if (had_position and self._books.position is None) or self._ends_hour(candle):
            await self._take_snapshot(candle)
        self.progress = Progress(before.cursor + 1, averages)

    def _ends_hour(self, candle: CandleRow) -> bool:
        end = self._run.closes_at(candle)
        return (end.date(), end.hour) != (candle.timestamp.date(), candle.timestamp.hour)

    async def _fill(self, order: Order, candle: CandleRow) -> None:
        """At the open; every third order in two parts, at the open and at the close."""
        assert order.quantity is not None, "the bot orders by quantity"
        begin, end = (candle.open, candle.timestamp), (candle.close, self._run.closes_at(candle))
        with exact():
            first = quantity_rounded_down(order.quantity * _FIRST_PART, Decimal(1))
            rest = order.quantity - first
        in_two = order.extra["candle"] % 3 == 0 and first
        parts = [(first, *begin), (rest, *end)] if in_two else [(order.quantity, *begin)]
        for number, (quantity, price, at) in enumerate(parts, 1):
            await self._books.fill(number, quantity, price, at)
        self.note(at, "ORDER", "order filled", order=order, fills=len(parts), quantity=order.quantity)

    async def _buy(self, candle: CandleRow) -> None:
        with exact():
            budget = max(self._books.equity(candle.close), ZERO) * self._run.rules.equity_fraction
        quantity = quantity_rounded_down(amount_rounded(budget), candle.close)
        if not quantity:
            at = self._run.closes_at(candle)
            self.note(at, "RISK", "the equity buys less than the smallest quantity", Severity.WARNING)
            return
        await self._act(candle, Side.BUY, quantity, _was_traded(candle))

    async def _sell(self, candle: CandleRow, quantity: Decimal) -> None:
        await self._act(candle, Side.SELL, quantity)

    async def _act(self, candle: CandleRow, side: Side, quantity: Decimal, *checks: Check) -> None:
        at = self._run.closes_at(candle)
        signal = await self._uow.signals.add(self._signal(candle, side))
        decision = await RiskManager(extra_checks=checks, decided_by="replay").decide(
            self._uow,
            signal,
            requested_quantity=quantity,
            reference_price=candle.close,
            at=at,
            config_hash=self._run.config_hash(),
        )
        if decision.decision is RiskVerdict.REJECTED:
            self.note(at, "RISK", "signal rejected", Severity.WARNING, signal=signal, rule=decision.rule)
            return
        assert decision.approved_quantity is not None, "what is approved has a quantity"
        self._books.order = await self._place(signal, decision.approved_quantity, at)

    def _signal(self, candle: CandleRow, side: Side) -> Signal:
        identity = (self._run.name, self._run.trading_pair, str(self.progress.cursor), side.value)
        return Signal(
            account_id=self._run.name,
            strategy_id=self._run.name,
            exchange=self._run.exchange,
            trading_pair=self._run.trading_pair,
            side=side,
            entry_type=EntryType.MARKET,
            proposed_entry_price=candle.close,
            fingerprint=hashlib.sha256("\n".join(identity).encode()).hexdigest(),
        )

    async def _place(self, signal: Signal, quantity: Decimal, at: datetime) -> Order:
        order = await self._uow.orders.add(
            Order(
                account_id=self._run.name,
                strategy_id=self._run.name,
                signal_id=signal.id,
                client_order_id=f"{self._run.name}-{self.progress.cursor}",
                exchange=self._run.exchange,
                trading_pair=self._run.trading_pair,
                side=signal.side,
                order_type=OrderType.MARKET,
                reduce_only=signal.side is Side.SELL,
                quantity=quantity,
                status_at=at,
                extra={
                    "candle": self.progress.cursor,
                    "config_hash": self._run.config_hash(),
                    "exit_reason": "averages crossed downwards",
                },
            )
        )
        await self._uow.signals.mark_executed(signal.id, at=at)
        await self._uow.orders.transition(
            order.id, OrderStatus.NEW, at=at, exchange_order_id=f"{order.client_order_id}-simulated"
        )
        self.note(at, "ORDER", "order placed", signal=signal, order=order, quantity=quantity)
        return order

    async def _take_snapshot(self, candle: CandleRow) -> None:
        """How the account stands, its position valued at the close."""
        at = self._run.closes_at(candle)
        await self._uow.flush()
        await self._portfolio.mark(self._uow, {self._run.trading_pair: candle.close}, at=at)
        await self._portfolio.snapshot(self._uow, at=at)

    def note(
        self,
        at: datetime,
        category: str,
        message: str,
        level: Severity = Severity.INFO,
        *,
        signal: Signal | None = None,
        order: Order | None = None,
        **context: Any,
    ) -> None:
        """Log *message* as of *at*, with the rows concerned."""
        self.logs.append(
            Log(
                log_timestamp=at,
                source_module=__name__,
                log_level=level,
                category=category,
                message=message,
                trading_pair=self._run.trading_pair,
                strategy_id=self._run.name,
                signal_id=signal.id if signal else None,
                order_id=order.id if order else None,
                context={
                    name: canonical(value) if isinstance(value, Decimal) else value
                    for name, value in context.items()
                },
            )
        )


def _was_traded(candle: CandleRow) -> Check:
    """A check that anybody traded in *candle*: at such a price nobody may be there to sell."""
    found = CheckResult(
        "min_volume", ZERO, candle.volume, passed=candle.volume > 0, reason="nothing was traded in the candle"
    )
    return lambda _: found
